//! What surrounds a server: the machine under it, the user's commands and labels.
//!
//! Together with what the server tells of itself it is the identity of an epoch. Nothing here
//! may stop a soak or hold it up for long: every question has a time, what has no answer is
//! unknown, and a command that answered once and fails now is taken to answer the same.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::domain::Facts;
use crate::domain::plan::EnvironmentPlan;
use crate::domain::slots::CommandLine;
use crate::environment::{Machine, Watch};
use crate::process::{ProcessFailure, answer_of};

/// The most that a command may take. One that reaches another machine needs a second or two.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(5);
/// One that took longer is not asked again before so long: a soak waits for what it asks.
const REST_OF_A_SLOW_ONE: Duration = Duration::from_secs(60);

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
    /// Not to be asked before then.
    rests_until: Option<Instant>,
}

impl Surroundings {
    /// Those of a target. `machine` is this one, where the target's server runs on it: of
    /// another machine only commands and labels tell. `supervisor` is llmsoak's own executable.
    pub fn new(target: &str, plan: &EnvironmentPlan, machine: Option<Machine>, supervisor: &Path) -> Self {
        let question = |(key, line): (&String, &CommandLine)| {
            let (target, supervisor) = (target.to_owned(), supervisor.to_owned());
            Arc::new(Question { target, key: key.clone(), line: line.clone(), supervisor, state: Mutex::default() })
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
        if self.state().rests_until.is_none_or(|until| until <= Instant::now()) {
            let answer = answer_of(&self.supervisor, &self.line, COMMAND_TIMEOUT).await;
            self.note(answer);
        }
        Some((self.key.clone(), self.state().last.clone()?))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, answer: Result<String, ProcessFailure>) {
        let mut state = self.state();
        let is_slow = matches!(answer, Err(ProcessFailure::TimedOut { .. }));
        state.rests_until = is_slow.then(|| Instant::now() + REST_OF_A_SLOW_ONE);
        match answer {
            Ok(answer) => {
                if state.is_failing {
                    tracing::info!(target = self.target, fact = self.key, "the command answers again");
                }
                (state.last, state.is_failing) = (Some(answer), false);
            }
            Err(error) if !state.is_failing => {
                let last = state.last.as_deref().unwrap_or("unknown");
                tracing::warn!(target = self.target, fact = self.key, %error, last, "the command fails; its last answer stays");
                state.is_failing = true;
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn facts(pairs: &[(&str, &str)]) -> Facts {
        pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    #[tokio::test]
    async fn what_a_command_is_asked_for_is_nobody_elses_word() {
        let line = CommandLine { program: "version".to_owned(), arguments: Vec::new(), environment: BTreeMap::new() };
        let commands = [("server_version".to_owned(), line)].into();
        let plan = EnvironmentPlan { commands, labels: facts(&[("rack", "r12")]), ..EnvironmentPlan::default() };
        // A supervisor that cannot be started: the command has no answer yet.
        let surroundings = Surroundings::new("t", &plan, None, Path::new("/nowhere"));
        let seen = surroundings.look().await;
        assert_eq!(seen, facts(&[("rack", "r12")]));
        let told = facts(&[("server", "ollama"), ("server_version", "0.12.9")]);
        assert_eq!(surroundings.identity(told, &seen), facts(&[("rack", "r12"), ("server", "ollama")]));
        let told = facts(&[("server_version", "0.12.9")]);
        let seen = facts(&[("server_version", "0.12.9-patched")]);
        assert_eq!(surroundings.identity(told, &seen), seen);
        assert_eq!(Surroundings::default().identity(seen.clone(), &Facts::new()), seen);
    }
}
