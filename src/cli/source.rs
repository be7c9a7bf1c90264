//! The configuration file, or one target in its place.
//!
//! What is typed beats what only an environment variable says: a container that always sets
//! `LLMSOAK_CONFIG_FILE` can still be asked to measure another server.

use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Command, FromArgMatches};

use super::args::ConfigArgs;

/// The flags as they come.
#[derive(Clone, Debug, clap::Args)]
struct Flags {
    #[command(flatten)]
    config: ConfigArgs,
    /// Server to measure with default settings, without a configuration file
    #[arg(long = "target.url", env = "LLMSOAK_TARGET_URL", hide_env_values = true, value_name = "URL")]
    target_url: Option<String>,
    /// Model of that server [default: its first]
    #[arg(long = "target.model", env = "LLMSOAK_TARGET_MODEL", hide_env_values = true, value_name = "MODEL")]
    target_model: Option<String>,
    /// File that holds the API key of that server
    #[arg(long = "target.api-key-file", env = "LLMSOAK_TARGET_API_KEY_FILE", hide_env_values = true)]
    #[arg(value_name = "FILE")]
    target_api_key_file: Option<PathBuf>,
}

/// Where the configuration comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceArgs {
    File(PathBuf),
    Target { url: String, model: Option<String>, api_key_file: Option<PathBuf> },
}

impl SourceArgs {
    /// The file, where there is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Target { .. } => None,
        }
    }

    fn settle(flags: Flags, matches: &ArgMatches) -> Result<Self, clap::Error> {
        let from = |id: &str| matches.value_source(id).filter(|_| matches.contains_id(id));
        let is_typed = |id: &str| from(id) == Some(ValueSource::CommandLine);
        let is_set = |id: &str| from(id) == Some(ValueSource::EnvVariable);
        let Flags { config, target_url, target_model: model, target_api_key_file: api_key_file } = flags;
        if is_typed("file") && is_typed("target_url") {
            let text = "the argument '--config.file <FILE>' cannot be used with '--target.url <URL>'\n";
            return Err(clap::Error::raw(ErrorKind::ArgumentConflict, text));
        }
        if is_set("file") && is_set("target_url") {
            let text = "LLMSOAK_CONFIG_FILE and LLMSOAK_TARGET_URL exclude each other\n  hint: unset one of them\n";
            return Err(clap::Error::raw(ErrorKind::ArgumentConflict, text));
        }
        let is_overruled = is_typed("file") || is_set("file") && !is_typed("target_url");
        match target_url.filter(|_| !is_overruled) {
            Some(url) => Ok(Self::Target { url, model, api_key_file }),
            None => match ["target_model", "target_api_key_file"].into_iter().find(|id| is_typed(id)) {
                Some(id) => {
                    let flag = id.replacen('_', ".", 1).replace('_', "-");
                    let text = format!("'--{flag}' is of the server that '--target.url <URL>' names\n");
                    Err(clap::Error::raw(ErrorKind::MissingRequiredArgument, text))
                }
                None => Ok(Self::File(config.file)),
            },
        }
    }
}

impl clap::Args for SourceArgs {
    fn augment_args(command: Command) -> Command {
        Flags::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Flags::augment_args_for_update(command)
    }
}

impl FromArgMatches for SourceArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Self::settle(Flags::from_arg_matches(matches)?, matches)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
