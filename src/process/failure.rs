//! How a program that was run ended, and why that is a failure.
//!
//! Messages name the program and never its arguments or environment, which may hold secrets.

use std::fmt;
use std::io;
use std::time::Duration;

use signal_hook::low_level::signal_name;

use crate::domain::duration;

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Code(i32),
    /// The number of the signal that ended it.
    Signal(i32),
    /// A signal ended its supervisor, and what was below went with it.
    Unsupervised(i32),
}

/// What shells, and the supervisor, add to the number of a signal to make an exit code of it.
pub(super) const SIGNAL_BASE: i32 = 128;

impl Ending {
    pub fn is_success(self) -> bool {
        self == Self::Code(0)
    }

    /// What a supervisor's exit code says of its program.
    pub(super) fn from_code(code: i32) -> Self {
        let signal = code.checked_sub(SIGNAL_BASE).filter(|&number| signal_name(number).is_some());
        signal.map_or(Self::Code(code), Self::Signal)
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |number| signal_name(number).unwrap_or("unknown");
        match *self {
            Self::Code(code) => write!(f, "ended with exit code {code}"),
            Self::Signal(number) => write!(f, "was ended by signal {number} ({})", named(number)),
            Self::Unsupervised(number) => {
                write!(f, "was ended after its supervisor got signal {number} ({})", named(number))
            }
        }
    }
}

/// Why a program did not run, or not as it should.
#[derive(Debug, thiserror::Error)]
pub enum ProcessFailure {
    #[error("cannot start {program}: {source}{}", hint(source))]
    NotStarted { program: String, source: io::Error },
    /// llmsoak could not start itself as a supervisor.
    #[error("cannot start the supervisor of {program}: {source}")]
    Supervisor { program: String, source: io::Error },
    /// It ended, and should not have, or should have ended well.
    #[error("{program} {ending}{}", quoted(output))]
    Ended {
        program: String,
        ending: Ending,
        /// Its last lines, oldest first.
        output: Vec<String>,
    },
    /// It ended well and had nothing to say to what it was asked.
    #[error("{program} wrote nothing to stdout")]
    Silent { program: String },
    #[error("{program} did not end within {} and was ended{}", duration::show(*after), quoted(output))]
    TimedOut {
        program: String,
        after: Duration,
        /// Its last lines, oldest first.
        output: Vec<String>,
    },
}

fn hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::NotFound => "\n  hint: install it, or give its path",
        io::ErrorKind::PermissionDenied => "\n  hint: give the path of a file that may be executed",
        _ => "",
    }
}

fn quoted(output: &[String]) -> String {
    if output.is_empty() { String::new() } else { format!("; it said last: {}", output.join(" / ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(failure: &ProcessFailure, expected: &str) {
        assert_eq!(failure.to_string(), expected);
    }

    #[test]
    fn failures_name_the_program_and_what_it_said() {
        let program = || "ollama".to_owned();
        let ended = |ending, output: &[&str]| ProcessFailure::Ended {
            program: program(),
            ending,
            output: output.iter().map(|&line| line.to_owned()).collect(),
        };
        check(&ended(Ending::Code(0), &[]), "ollama ended with exit code 0");
        check(
            &ended(Ending::Signal(9), &["no memory", "bye"]),
            "ollama was ended by signal 9 (SIGKILL); it said last: no memory / bye",
        );
        check(&ended(Ending::Unsupervised(15), &[]), "ollama was ended after its supervisor got signal 15 (SIGTERM)");
        let late = ProcessFailure::TimedOut { program: program(), after: Duration::from_secs(90), output: vec![] };
        check(&late, "ollama did not end within 1m30s and was ended");
        let missing = |source: io::ErrorKind| ProcessFailure::NotStarted { program: program(), source: source.into() };
        check(
            &missing(io::ErrorKind::NotFound),
            "cannot start ollama: entity not found\n  hint: install it, or give its path",
        );
        check(
            &missing(io::ErrorKind::PermissionDenied),
            "cannot start ollama: permission denied\n  hint: give the path of a file that may be executed",
        );
    }

    #[test]
    fn exit_codes_are_those_of_shells() {
        let cases =
            [(0, Ending::Code(0)), (128, Ending::Code(128)), (137, Ending::Signal(9)), (255, Ending::Code(255))];
        for (code, expected) in cases {
            assert_eq!(Ending::from_code(code), expected, "{code}");
        }
    }
}
