//! What surrounds a server: the machine under it, the user's commands and labels.
//!
//! Together with what the server tells of itself it is the identity of an epoch. Nothing here
//! may stop a soak or hold it up for long: every question has a time, what has no answer is
//! unknown, and a command that answered once and fails now is taken to answer the same.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::domain::Facts;
use crate::domain::plan::EnvironmentPlan;
use crate::domain::slots::CommandLine;
use crate::environment::{Machine, Watch};
use crate::process::answer_of;

/// The most that a command may take. One that reaches another machine needs a second or two.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(5);

/// The surroundings of one target's server; by default nothing is known of them.
#[derive(Debug, Default)]
pub struct Surroundings {
    /// Where the server runs on this machine.
    machine: Option<Machine>,
    questions: Vec<Arc<Question>>,
    labels: Facts,
}

/// A command, and what it last answered.
#[derive(Debug)]
struct Question {
    /// Whose it is, for the log.
    target: String,
    /// The fact that it fills.
    key: String,
    line: CommandLine,
    /// llmsoak's own executable.
    supervisor: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: Option<String>,
    /// Whether the log knows that it fails.
    is_failing: bool,
}

impl Surroundings {
    /// Those of a target. `machine` is this one, where the target's server runs on it: of
    /// another machine only commands and labels tell. `supervisor` is llmsoak's own executable.
    pub fn new(target: &str, plan: &EnvironmentPlan, machine: Option<Machine>, supervisor: PathBuf) -> Self {
        let question = |(key, line): (&String, &CommandLine)| {
            let (target, key, line) = (target.to_owned(), key.clone(), line.clone());
            Arc::new(Question { target, key, line, supervisor: supervisor.clone(), state: Mutex::default() })
        };
        Self { machine, questions: plan.commands.iter().map(question).collect(), labels: plan.labels.clone() }
    }

    /// What is to be seen now, asked all at once.
    pub(super) async fn look(&self) -> Facts {
        let mut asked: JoinSet<_> = self.questions.iter().cloned().map(Question::asked).collect();
        let mut facts = match &self.machine {
            Some(machine) => machine.facts().await,
            None => Facts::new(),
        };
        // Whoever asks for something knows better what it is than the machine.
        facts.retain(|key, _| !self.asks_for(key));
        while let Some(answer) = asked.join_next().await {
            facts.extend(answer.ok().flatten());
        }
        facts.extend(self.labels.clone());
        facts
    }

    /// The identity of a server that tells this of itself, in these surroundings. What a command
    /// is asked for is never the server's own word: a command that fails for a while would
    /// otherwise look like a change.
    pub(super) fn identity(&self, mut told: Facts, seen: &Facts) -> Facts {
        told.retain(|key, _| !self.asks_for(key));
        told.extend(seen.clone());
        told
    }

    fn asks_for(&self, key: &str) -> bool {
        self.questions.iter().any(|question| question.key == key)
    }

    /// Reads the conditions from now on, where the machine is known.
    pub(super) async fn watch(&self) -> Option<Watch> {
        self.machine.as_ref()?.watch().await
    }

    /// Lets go of the machine's drivers while nothing is measured, so that they can be replaced.
    pub(super) fn let_go(&self) {
        if let Some(machine) = &self.machine {
            machine.let_go();
        }
    }
}

impl Question {
    /// The fact that the command tells, or last told.
    async fn asked(self: Arc<Self>) -> Option<(String, String)> {
        let answer = answer_of(&self.supervisor, &self.line, COMMAND_TIMEOUT).await;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match answer {
            Ok(answer) => {
                if state.is_failing {
                    tracing::info!(target = self.target, fact = self.key, "the command answers again");
                }
                *state = State { last: Some(answer), is_failing: false };
            }
            Err(error) if !state.is_failing => {
                let last = state.last.as_deref().unwrap_or("unknown");
                tracing::warn!(target = self.target, fact = self.key, %error, last, "the command fails; its last answer stays");
                state.is_failing = true;
            }
            Err(_) => {}
        }
        Some((self.key.clone(), state.last.clone()?))
    }
}
