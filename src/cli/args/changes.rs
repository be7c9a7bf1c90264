//! What can be typed for the commands that look for changes.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

use super::{ConfigArgs, StorageArgs, within};

#[derive(Clone, Debug, PartialEq, clap::Args)]
pub struct CompareArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    #[command(flatten)]
    pub storage: StorageArgs,
    /// Target to compare epochs of [default: each]
    #[arg(long, value_name = "NAME")]
    pub target: Option<String>,
    /// Epoch to compare with [default: the target's baseline]
    #[arg(long, value_name = "NUMBER")]
    pub baseline: Option<i64>,
    /// Epoch to compare [default: the newest that was measured]
    #[arg(long, value_name = "NUMBER")]
    pub current: Option<i64>,
    /// How to print it
    #[arg(id = "comparison_format", long = "format", value_name = "FORMAT", default_value = "table")]
    pub format: CompareFormat,
    /// Least regression that is too much, as a ratio: 3% or 0.03
    #[arg(long, value_name = "RATIO", default_value = "3%", value_parser = ratio)]
    pub fail_on: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CompareFormat {
    Table,
    Json,
}

#[derive(Clone, Debug, PartialEq, clap::Args)]
pub struct BaselineArgs {
    #[command(subcommand)]
    pub command: BaselineCommand,
    #[command(flatten)]
    pub place: BaselinePlace,
}

/// Where the history is, and which target is meant.
#[derive(Clone, Debug, PartialEq, clap::Args)]
pub struct BaselinePlace {
    /// Configuration file
    #[arg(long = "config.file", env = "LLMSOAK_CONFIG_FILE", hide_env_values = true, global = true)]
    #[arg(value_name = "FILE", default_value = "llmsoak.yml")]
    pub config_file: PathBuf,
    /// Folder of the history, in place of the configured one
    #[arg(long = "storage.path", env = "LLMSOAK_STORAGE_PATH", hide_env_values = true, global = true)]
    #[arg(value_name = "DIR")]
    pub storage_path: Option<PathBuf>,
    /// Target that is meant [default: the one that the history has]
    #[arg(long, value_name = "NAME", global = true)]
    pub target: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
pub enum BaselineCommand {
    /// List the epochs, and what each is
    List,
    /// Hold the running epoch against this one from now on; alarms end
    Pin {
        /// Epoch, as the list numbers it
        #[arg(value_name = "NUMBER")]
        epoch: i64,
    },
    /// Have the baseline chosen again
    Unpin,
    /// Take the level as it is now; alarms end
    Accept,
}

#[derive(Clone, Debug, PartialEq, clap::Args)]
pub struct BacktestArgs {
    /// File of recorded cycles, a JSON object a line; - for stdin
    #[arg(long, value_name = "FILE")]
    pub input: PathBuf,
    /// File to write the events to, a JSON object a line [default: stdout]
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Least change to tell, as a ratio: 1% or 0.01
    #[arg(long, value_name = "RATIO", default_value = "1%", value_parser = ratio)]
    pub minimum_effect: f64,
    /// False alarms to put up with in 1,000 cycles
    #[arg(long, value_name = "RATE", default_value = "0.5", value_parser = within(0.001..=100.0))]
    pub false_alarms: f64,
}

/// A part of a whole, below one half: `1%` and `0.01` are the same.
pub(super) fn ratio(text: &str) -> Result<f64, String> {
    let (number, unit) = text.strip_suffix('%').map_or((text, 1.0), |number| (number, 0.01));
    let ratio = number.parse().ok().map(|number: f64| number * unit).filter(|ratio| (0.0..0.5).contains(ratio));
    ratio.ok_or_else(|| "must be a ratio from 0% to below 50%, such as 1% or 0.01".to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::{Args, Command};
    use super::*;

    fn read(line: &str) -> Result<Command, String> {
        let line = std::iter::once("llmsoak").chain(line.split_whitespace());
        <Args as clap::Parser>::try_parse_from(line).map(|args| args.command).map_err(|error| error.to_string())
    }

    #[test]
    fn a_comparison_has_a_limit_of_three_percent() {
        let Ok(Command::Compare(args)) = read("compare --baseline 3 --format json --log.format json") else {
            panic!("is a command")
        };
        assert_eq!((args.baseline, args.current, args.format), (Some(3), None, CompareFormat::Json));
        assert!((args.fail_on - 0.03).abs() < 1e-12, "{args:?}");
        assert!(read("compare --fail-on 60%").is_err_and(|error| error.contains("must be a ratio from 0%")));
    }

    #[test]
    fn an_order_takes_its_place_before_or_after_it() {
        for line in ["baseline pin 3 --target a", "baseline --target a pin 3"] {
            let Ok(Command::Baseline(args)) = read(line) else { panic!("{line} is a command") };
            assert_eq!(args.command, BaselineCommand::Pin { epoch: 3 }, "{line}");
            assert_eq!(args.place.target.as_deref(), Some("a"), "{line}");
        }
        assert!(read("baseline").is_err());
    }

    #[test]
    fn a_limit_of_once_needs_a_comparison() {
        assert!(read("once --fail-on 3%").is_err_and(|error| error.contains("--compare")));
        assert!(matches!(read("once --compare"), Ok(Command::Once(args)) if args.compare));
    }
}
