//! What can be typed: commands, flags, their environment variables and their defaults.
//!
//! Long flags have dots, as those of Prometheus servers. A flag that a container would
//! set has an environment variable; a secret has neither. Nothing here reads a file or
//! starts anything: the types say what was asked for, in values that are sound by
//! themselves.

use std::ffi::OsString;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use super::source::SourceArgs;

mod changes;
mod history;

pub use super::listen::ListenAddress;
pub use changes::{BacktestArgs, BaselineArgs, BaselineCommand, BaselinePlace, CompareArgs, CompareFormat};
pub use history::{ExportArgs, ExportFormat, ExportTable, ImportArgs, ReportArgs, ReportLanguage};

/// A Prometheus-instrumented soak exporter for LLM inference servers.
#[derive(Clone, Debug, PartialEq, Parser)]
#[command(name = "llmsoak", version, max_term_width = 100, arg_required_else_help = true)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    pub log: LogArgs,
}

#[derive(Clone, Debug, PartialEq, Subcommand)]
pub enum Command {
    /// Ask a server what it is and write a configuration that fits it
    Init(InitArgs),
    /// Measure without end; serve metrics, pages and reports
    Run(RunArgs),
    /// Show the whole product against a simulated server, with nothing else installed
    Demo(DemoArgs),
    /// Measure a few cycles, then write the report
    Once(OnceArgs),
    /// Serve a simulated inference server
    Sim(SimArgs),
    /// Validate the configuration and print what a cycle will take
    Check(CheckArgs),
    /// Write a report from the history
    Report(ReportArgs),
    /// Bring an old report, or an export, into the history
    Import(ImportArgs),
    /// Write the history out
    Export(ExportArgs),
    /// Compare two epochs: what changed, by how much, how surely
    Compare(CompareArgs),
    /// Say what the running epoch is held against, or change it
    Baseline(BaselineArgs),
    /// Replay recorded cycles through the detector of changes, one at a time, as if live
    Backtest(BacktestArgs),
    /// Print shell completions
    Completions {
        /// Shell to complete for
        shell: Shell,
    },
    /// Run a program, and end it when stdin closes
    #[command(hide = true)]
    Supervise(SuperviseArgs),
}

#[derive(Clone, Debug, PartialEq, clap::Args)]
#[command(next_help_heading = "Logging")]
pub struct LogArgs {
    /// Least severe messages to log
    #[arg(long = "log.level", global = true, env = "LLMSOAK_LOG_LEVEL", hide_env_values = true)]
    #[arg(value_name = "LEVEL", default_value = "info")]
    pub level: LogLevel,
    /// How log lines are written, to stderr
    #[arg(long = "log.format", global = true, env = "LLMSOAK_LOG_FORMAT", hide_env_values = true)]
    #[arg(value_name = "FORMAT", default_value = "logfmt")]
    pub format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Logfmt,
    Json,
}

/// The configuration file, for commands that cannot do without one.
#[derive(Clone, Debug, PartialEq, clap::Args)]
pub struct ConfigArgs {
    /// Configuration file
    #[arg(long = "config.file", env = "LLMSOAK_CONFIG_FILE", hide_env_values = true)]
    #[arg(value_name = "FILE", default_value = "llmsoak.yml")]
    pub file: PathBuf,
}

#[derive(Clone, Debug, PartialEq, clap::Args)]
pub struct StorageArgs {
    /// Folder of the history and the reports, in place of the configured one
    #[arg(long = "storage.path", env = "LLMSOAK_STORAGE_PATH", hide_env_values = true)]
    #[arg(value_name = "DIR")]
    pub path: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, clap::Args)]
pub struct WebArgs {
    /// Address to serve on, as host:port or :port; may be repeated
    #[arg(long = "web.listen-address", env = "LLMSOAK_WEB_LISTEN_ADDRESS", hide_env_values = true)]
    #[arg(value_name = "ADDRESS", default_value = "127.0.0.1:11499", value_delimiter = ',')]
    pub listen_addresses: Vec<ListenAddress>,
    /// File with TLS and users of the pages, in the format of Prometheus' exporters
    #[arg(long = "web.config.file", env = "LLMSOAK_WEB_CONFIG_FILE", hide_env_values = true)]
    #[arg(value_name = "FILE")]
    pub config_file: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, clap::Args)]
pub struct InitArgs {
    /// Server to ask, such as http://127.0.0.1:11434
    pub url: String,
    /// Model to measure [default: one that is loaded, else the first]
    #[arg(long = "target.model", env = "LLMSOAK_TARGET_MODEL", hide_env_values = true, value_name = "MODEL")]
    pub model: Option<String>,
    /// File with the server's API key
    #[arg(long = "target.api-key-file", env = "LLMSOAK_TARGET_API_KEY_FILE", hide_env_values = true)]
    #[arg(value_name = "FILE")]
    pub api_key_file: Option<PathBuf>,
    /// File to write; - for stdout
    #[arg(long = "config.file", env = "LLMSOAK_CONFIG_FILE", hide_env_values = true)]
    #[arg(value_name = "FILE", default_value = "llmsoak.yml")]
    pub file: PathBuf,
    /// Overwrite the file if it is there
    #[arg(long)]
    pub force: bool,
}

/// What a variable says of a flag that has no value.
fn is_on(word: &str) -> Result<bool, String> {
    match word.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        // Compose files leave a variable empty that nobody set.
        "false" | "no" | "off" | "0" | "" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}

#[derive(Clone, Debug, PartialEq, clap::Args)]
pub struct RunArgs {
    #[command(flatten)]
    pub source: SourceArgs,
    #[command(flatten)]
    pub storage: StorageArgs,
    #[command(flatten)]
    pub web: WebArgs,
    /// Take orders by POST: /-/reload, /-/pause, /-/resume
    #[arg(long = "web.enable-lifecycle", env = "LLMSOAK_WEB_ENABLE_LIFECYCLE", hide_env_values = true)]
    #[arg(value_parser = is_on)]
    pub takes_orders: bool,
}

#[derive(Clone, Debug, PartialEq, clap::Args)]
pub struct DemoArgs {
    /// Folder of the history and the reports [default: a fresh temporary one]
    #[arg(long = "storage.path", env = "LLMSOAK_STORAGE_PATH", hide_env_values = true)]
    #[arg(value_name = "DIR")]
    pub storage_path: Option<PathBuf>,
    #[command(flatten)]
    pub web: WebArgs,
}

#[derive(Clone, Debug, PartialEq, clap::Args)]
pub struct OnceArgs {
    #[command(flatten)]
    pub source: SourceArgs,
    #[command(flatten)]
    pub storage: StorageArgs,
    /// Cycles to measure
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub cycles: u32,
    /// Compare with the baseline afterwards, and exit 4 or 5 as `llmsoak compare` does
    #[arg(long)]
    pub compare: bool,
    /// With --compare: least regression that is too much, as a ratio: 3% or 0.03
    #[arg(long, value_name = "RATIO", default_value = "3%", value_parser = changes::ratio, requires = "compare")]
    pub fail_on: f64,
}

#[derive(Clone, Debug, PartialEq, clap::Args)]
pub struct CheckArgs {
    #[command(flatten)]
    pub source: SourceArgs,
    /// Ask the servers, and send each a request to learn how long a cycle will take
    #[arg(long)]
    pub probe: bool,
    /// With --probe: ask, but send no request
    #[arg(long, requires = "probe")]
    pub no_requests: bool,
    /// Print the JSON Schema of configuration files instead
    #[arg(long)]
    pub schema: bool,
}

#[derive(Clone, Debug, PartialEq, clap::Args)]
pub struct SimArgs {
    // No environment variable: it would move the exporter onto the same port.
    /// Address to serve on, as host:port or :port; may be repeated
    #[arg(long = "web.listen-address", value_name = "ADDRESS", default_value = "127.0.0.1:11500")]
    #[arg(value_delimiter = ',')]
    pub listen_addresses: Vec<ListenAddress>,
    /// Server's API to imitate
    #[arg(long, value_name = "API", default_value = "llama.cpp")]
    pub api: SimApi,
    /// Server's speed to imitate
    #[arg(long, value_name = "NAME", default_value = "reference")]
    pub profile: SimProfile,
    /// How many times faster than the profile
    #[arg(long, value_name = "FACTOR", default_value = "1", value_parser = within(0.001..=10_000.0))]
    pub speed: f64,
    /// Requests worked on at once
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub slots: u32,
    /// Requests worked on at once at most, whatever --slots asks for
    #[arg(long, value_name = "N", default_value_t = 65_536, hide_default_value = true, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub most_slots: u32,
    /// Spread of step times, as a ratio
    #[arg(long, value_name = "RATIO", default_value = "0.01", value_parser = within(0.0..=1.0))]
    pub noise: f64,
    /// Seed of all that is random
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,
    /// Answer as no real server does: no contention, equal lengths, one token a chunk
    #[arg(long)]
    pub ideal: bool,
    /// Ratio of requests to answer with status 500
    #[arg(long = "fault.http-500", value_name = "RATIO", default_value = "0", value_parser = within(0.0..=1.0))]
    pub fault_http_500: f64,
    /// Ratio of answers to cut off in the middle
    #[arg(long = "fault.truncate", value_name = "RATIO", default_value = "0", value_parser = within(0.0..=1.0))]
    pub fault_truncate: f64,
}

#[derive(Clone, Debug, PartialEq, clap::Args)]
pub struct SuperviseArgs {
    /// Let run what the program leaves behind when it ends well
    #[arg(long)]
    pub leave_descendants: bool,
    /// Program and its arguments
    #[arg(last = true, required = true, value_name = "PROGRAM")]
    pub command: Vec<OsString>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SimApi {
    #[value(name = "llama.cpp")]
    LlamaCpp,
    Ollama,
    Vllm,
    #[value(name = "openai")]
    OpenAi,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SimProfile {
    Reference,
    Tiny,
}

/// A parser of numbers within bounds; clap has one for whole numbers only.
fn within(bounds: RangeInclusive<f64>) -> impl Fn(&str) -> Result<f64, String> + Clone {
    move |text| {
        let number = text.parse().ok().filter(|number| bounds.contains(number));
        number.ok_or_else(|| format!("must be a number from {} to {}", bounds.start(), bounds.end()))
    }
}

/// Reads the command line, or says how the program ends: after help and version well, on
/// stdout; after a usage error with 1, on stderr.
pub fn parse(line: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Args, ExitCode> {
    Args::try_parse_from(line).map_err(|error| {
        // Whoever closed the pipe has seen enough.
        let _ = error.print();
        exit_code(&error)
    })
}

/// Clap's own is 2, which `once` has for "no valid sample".
fn exit_code(error: &clap::Error) -> ExitCode {
    if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use clap::CommandFactory;

    use super::*;

    fn read(line: &str) -> Result<Args, clap::Error> {
        Args::try_parse_from(std::iter::once("llmsoak").chain(line.split_whitespace()))
    }

    /// The command that a line comes to.
    fn check(line: &str, expected: &Command) {
        let args = read(line).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(&args.command, expected, "{line}");
    }

    /// What is said first about a line that is no command.
    fn check_refused(line: &str, expected: &str) {
        let error = read(line).expect_err(line);
        assert_eq!(exit_code(&error), ExitCode::FAILURE, "{line}");
        assert_eq!(error.to_string().lines().next(), Some(expected), "{line}");
    }

    fn address(text: &str) -> ListenAddress {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn run(source: SourceArgs, storage_path: Option<&str>, listen: &[&str]) -> Command {
        Command::Run(RunArgs {
            source,
            storage: StorageArgs { path: storage_path.map(PathBuf::from) },
            web: WebArgs { listen_addresses: listen.iter().map(|text| address(text)).collect(), config_file: None },
            takes_orders: false,
        })
    }

    fn file(path: &str) -> SourceArgs {
        SourceArgs::File(PathBuf::from(path))
    }

    #[test]
    fn a_run_has_a_file_or_a_target() {
        let local = &["127.0.0.1:11499"];
        check("run", &run(file("llmsoak.yml"), None, local));
        check("run --config.file=a.yml", &run(file("a.yml"), None, local));
        check("run --target.url=http://h --target.model m", &{
            let source = SourceArgs::Target { url: "http://h".into(), model: Some("m".into()), api_key_file: None };
            run(source, None, local)
        });
        check(
            "run --storage.path d --web.listen-address=:80 --web.listen-address [::1]:81,h:82",
            &run(file("llmsoak.yml"), Some("d"), &[":80", "[::1]:81", "h:82"]),
        );
    }

    #[test]
    fn the_log_is_set_before_or_after_the_command() {
        for line in ["--log.level debug --log.format=json demo", "demo --log.level debug --log.format=json"] {
            let log = read(line).expect(line).log;
            assert_eq!(log, LogArgs { level: LogLevel::Debug, format: LogFormat::Json }, "{line}");
        }
    }

    #[test]
    fn a_simulated_server_has_sound_defaults() {
        let defaults = SimArgs {
            listen_addresses: vec![address("127.0.0.1:11500")],
            api: SimApi::LlamaCpp,
            profile: SimProfile::Reference,
            speed: 1.0,
            slots: 50,
            most_slots: 65_536,
            noise: 0.01,
            seed: 1,
            ideal: false,
            fault_http_500: 0.0,
            fault_truncate: 0.0,
        };
        check("sim", &Command::Sim(defaults.clone()));
        let faulty = SimArgs { fault_http_500: 0.5, seed: 7, ideal: true, api: SimApi::OpenAi, ..defaults };
        check("sim --fault.http-500=0.5 --seed 7 --ideal --api openai", &Command::Sim(faulty));
    }

    #[test]
    fn a_backtest_takes_ratios_and_rates() {
        let backtest = |output: Option<&str>, minimum_effect: f64, false_alarms: f64| {
            let output = output.map(PathBuf::from);
            Command::Backtest(BacktestArgs { input: PathBuf::from("a"), output, minimum_effect, false_alarms })
        };
        check("backtest --input a", &backtest(None, 0.01, 0.5));
        check("backtest --input a --output - --minimum-effect 3% --false-alarms 2", &backtest(Some("-"), 0.03, 2.0));
        check("backtest --input a --minimum-effect 0.25", &backtest(None, 0.25, 0.5));
        check_refused(
            "backtest --input a --minimum-effect 3",
            "error: invalid value '3' for '--minimum-effect <RATIO>': \
             must be a ratio from 0% to below 50%, such as 1% or 0.01",
        );
    }

    #[test]
    fn usage_errors_name_the_flag() {
        check_refused(
            "run --config.file=a --target.url=http://h",
            "error: the argument '--config.file <FILE>' cannot be used with '--target.url <URL>'",
        );
        check_refused("check --no-requests", "error: the following required arguments were not provided:");
        check_refused(
            "run --target.model=m",
            "error: '--target.model' is of the server that '--target.url <URL>' names",
        );
        check_refused("once --cycles 0", "error: invalid value '0' for '--cycles <N>': 0 is not in 1..=10000");
        check_refused("sim --noise 2", "error: invalid value '2' for '--noise <RATIO>': must be a number from 0 to 1");
        check_refused(
            "sim --speed nan",
            "error: invalid value 'nan' for '--speed <FACTOR>': must be a number from 0.001 to 10000",
        );
        check_refused(
            "run --web.listen-address=::1:80",
            "error: invalid value '::1:80' for '--web.listen-address <ADDRESS>': must be host:port, [ipv6]:port or :port",
        );
        check_refused("soak", "error: unrecognized subcommand 'soak'");
    }

    #[test]
    fn help_and_version_end_well() {
        for line in ["--help", "run --help", "--version", "help sim"] {
            let error = read(line).expect_err(line);
            assert_eq!(exit_code(&error), ExitCode::SUCCESS, "{line}");
        }
        assert_eq!(read("--version").expect_err("is no command").to_string(), "llmsoak 0.1.0\n");
    }

    #[test]
    fn every_command_helps() {
        let mut root = Args::command().term_width(100);
        root.build();
        let mut pages = root.render_help().to_string();
        for command in root.get_subcommands_mut().filter(|command| command.get_name() != "help") {
            let page = command.render_help();
            write!(pages, "\n=== {}\n\n{page}", command.get_name()).expect("a string grows");
        }
        insta::assert_snapshot!(pages);
    }
}
