//! A model server that runs as a child of llmsoak.
//!
//! When to start one, whether it answers and what its end means for the target is decided
//! above.

use std::path::Path;

use super::child::Supervised;
use super::failure::{Ending, ProcessFailure};
use super::supervisor::Leave;
use super::tree;
use crate::domain::slots::CommandLine;

/// A running server. Dropped, it ends within seconds, with all that it started.
#[derive(Debug)]
pub struct ServerProcess {
    child: Supervised,
}

impl ServerProcess {
    /// Starts a server; returns when its program runs, which is long before it answers.
    ///
    /// `supervisor` is llmsoak's executable, `name` the target whose server it is, for the log. To
    /// be called in a tokio runtime with I/O, as all below.
    ///
    /// # Errors
    /// Where the program, or llmsoak's own executable, cannot be started.
    pub async fn start(supervisor: &Path, line: &CommandLine, name: &str) -> Result<Self, ProcessFailure> {
        Supervised::start(supervisor, line, Some(name), Leave::Nobody).await.map(|child| Self { child })
    }

    /// Waits until it has ended, and says why, with its last lines. Cancel-safe; may be asked
    /// again.
    pub async fn ended(&mut self) -> String {
        let ending = self.child.ended().await;
        let output = self.child.output.last_lines().await;
        self.why(ending, output)
    }

    /// Why it has ended, if it has, with its last lines: those are waited for, so that the end
    /// may be told half a second late.
    pub fn has_ended(&mut self) -> Option<String> {
        let ending = self.child.has_ended()?;
        let output = self.child.output.last_lines_if_all()?;
        Some(self.why(ending, output))
    }

    fn why(&self, ending: Ending, output: Vec<String>) -> String {
        ProcessFailure::Ended { program: self.child.program.clone(), ending, output }.to_string()
    }

    /// Ends it with all that it started, by force after a grace, and returns when that is done: at
    /// most after [`super::STOP`].
    /// Cancel-safe: what was begun goes on.
    pub async fn stop(&mut self) {
        self.child.stop().await;
    }

    /// The programs and arguments of all that it started, itself included, in no order; none when it has
    /// ended.
    pub fn command_lines_below(&self) -> Vec<Vec<String>> {
        self.child.command_lines()
    }
}

/// The slots of the one Ollama on this machine, whoever started it, as they stand in its
/// runner's arguments; `None` where no runner tells, or where there are several servers.
///
/// From 0.30 on Ollama starts `llama-server` with `-np`, before 0.11.5 a runner with
/// `--parallel`; the releases between tell their runner elsewhere.
pub fn slots_of_local_ollama() -> Option<u32> {
    let is_server = |line: &Vec<String>| {
        line.first().is_some_and(|program| program.rsplit('/').next() == Some("ollama"))
            && line.iter().any(|word| word == "serve")
    };
    let servers = tree::all().into_iter().filter(|member| member.command_line().as_ref().is_some_and(is_server));
    let [server] = servers.collect::<Vec<_>>()[..] else { return None };
    parallel_of(tree::below(server.pid()).into_iter().filter_map(tree::Member::command_line))
}

/// The slots that stand in the one of these command lines that names any.
pub fn parallel_of(lines: impl IntoIterator<Item = Vec<String>>) -> Option<u32> {
    lines.into_iter().find_map(|line| parallel_argument(&line))
}

/// The number of parallel slots in the arguments of llama.cpp's server, or of Ollama's
/// runner, which is made of it. The last one counts.
fn parallel_argument(arguments: &[String]) -> Option<u32> {
    let following = arguments.iter().skip(1).map(Some).chain([None]);
    let values = arguments.iter().zip(following).filter_map(|(argument, next)| match argument.as_str() {
        "--parallel" | "-np" => next.map(String::as_str),
        other => other.strip_prefix("--parallel="),
    });
    values.last()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: Option<u32>) {
        let arguments: Vec<String> = line.split(' ').map(str::to_owned).collect();
        assert_eq!(parallel_argument(&arguments), expected, "{line}");
    }

    #[test]
    fn slots_stand_in_the_arguments() {
        check("ollama runner --model m --ctx-size 8192 --parallel 4 --port 1", Some(4));
        check("llama-server --parallel=16", Some(16));
        check("llama-server -np 2 -c 4096", Some(2));
        check("llama-server -np 2 --parallel 3", Some(3));
        check("llama-server --parallel 3 -np -1", None);
        check("llama-server --parallel", None);
        check("llama-server --parallelism 3", None);
        check("", None);
    }
}
