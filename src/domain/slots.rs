//! Whose number the workers are: the client's, or the server's own slots.
//!
//! Plain data and the filling in of command lines; nothing is started here.

use std::collections::BTreeMap;
use std::time::Duration;

use super::named::named;

named! {
    /// Whose number the workers are.
    SlotsMode {
        /// At most so many requests of a batch in flight.
        Client = "client",
        /// So many slots of the server, which is given the whole batch at once.
        Server = "server",
    }
}

/// How a row of the grid gets its workers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SlotsPlan {
    #[default]
    Client,
    Server {
        by: SlotSwitch,
        /// From the start of a switch until the server must answer.
        ready_timeout: Duration,
    },
}

impl SlotsPlan {
    pub fn mode(&self) -> SlotsMode {
        match self {
            Self::Client => SlotsMode::Client,
            Self::Server { .. } => SlotsMode::Server,
        }
    }

    /// From the start of a switch until the server must answer, where there are switches.
    pub fn ready_timeout(&self) -> Option<Duration> {
        match self {
            Self::Client => None,
            Self::Server { ready_timeout, .. } => Some(*ready_timeout),
        }
    }

    pub fn is_server(&self) -> bool {
        self.mode() == SlotsMode::Server
    }

    /// The context that each slot is given, where that is this program's to say.
    pub fn context_per_slot(&self) -> Option<u32> {
        match self {
            Self::Server { by: SlotSwitch::Process(plan), .. } => plan.context_per_slot,
            Self::Server { by: SlotSwitch::Command(_), .. } | Self::Client => None,
        }
    }

    /// Whether this program runs the server itself.
    pub fn runs_the_server(&self) -> bool {
        matches!(self, Self::Server { by: SlotSwitch::Process(_), .. })
    }
}

/// Who gives a server its slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SlotSwitch {
    /// The server runs as a child of this program, and is started again for each row.
    Process(CommandPlan),
    /// A command that sees to it, and ends when it is done.
    Command(CommandPlan),
}

/// A command line in which the workers stand as `{workers}`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandPlan {
    /// The program and its arguments; not empty.
    pub command: Vec<String>,
    /// Added to this program's own.
    pub environment: BTreeMap<String, String>,
    /// Context length of each slot, for `{context}`.
    pub context_per_slot: Option<u32>,
}

/// A command line that is ready to run, without a shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine {
    pub program: String,
    pub arguments: Vec<String>,
    pub environment: BTreeMap<String, String>,
}

impl CommandPlan {
    /// Stands for the number of workers.
    pub const WORKERS: &'static str = "{workers}";
    /// Stands for workers × the context of a slot: the total that some servers divide.
    pub const CONTEXT: &'static str = "{context}";

    /// Whether the workers stand anywhere in it; else every row would be the same.
    pub fn names_the_workers(&self) -> bool {
        self.command.iter().chain(self.environment.values()).any(|text| text.contains(Self::WORKERS))
    }

    /// Whether the total context stands anywhere in it.
    pub fn names_the_context(&self) -> bool {
        self.command.iter().chain(self.environment.values()).any(|text| text.contains(Self::CONTEXT))
    }

    /// The command line of a row; `None` where there is no program in it.
    pub fn for_workers(&self, workers: u32) -> Option<CommandLine> {
        let context = self.context_per_slot.map(|context| u64::from(context) * u64::from(workers));
        let fill = |text: &String| {
            let text = text.replace(Self::WORKERS, &workers.to_string());
            context.map_or_else(|| text.clone(), |context| text.replace(Self::CONTEXT, &context.to_string()))
        };
        let mut words = self.command.iter().map(fill);
        let program = words.next()?;
        let environment = self.environment.iter().map(|(name, value)| (name.clone(), fill(value))).collect();
        Some(CommandLine { program, arguments: words.collect(), environment })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_gets_its_number_in_arguments_and_environment() {
        let plan = CommandPlan {
            command: ["serve", "--slots={workers}", "-c", "{context}", "{other}"].map(str::to_owned).into(),
            environment: [("PARALLEL".to_owned(), "{workers}".to_owned())].into(),
            context_per_slot: Some(512),
        };
        assert!(plan.names_the_workers() && plan.names_the_context());
        let line = plan.for_workers(4).expect("has a program");
        assert_eq!(
            (line.program.as_str(), line.arguments),
            ("serve", ["--slots=4", "-c", "2048", "{other}"].map(str::to_owned).into())
        );
        assert_eq!(line.environment.get("PARALLEL").map(String::as_str), Some("4"));
        assert_eq!(CommandPlan::default().for_workers(1), None);
    }
}
