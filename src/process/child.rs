//! A program below a supervisor, as llmsoak sees it.
//!
//! Dropping it ends the program: the socket closes. What it does not do is say what an end means: a
//! server should not end, a hook should.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::failure::{Ending, ProcessFailure};
use super::output::Output;
use super::supervisor::{Leave, Told};
use super::{FORCE, STARTUP, STOP, tree};
use crate::domain::slots::CommandLine;

/// The most bytes of a [`Told`].
const MOST_TOLD_BYTES: u64 = 64;

#[derive(Debug)]
pub(super) struct Supervised {
    supervisor: Child,
    /// Closing it ends the program; `None` when that is done.
    lifeline: Option<UnixStream>,
    /// The program's process group; `None` when nobody can be left in it: its number may then be another's.
    group: Option<Pid>,
    pub(super) program: String,
    pub(super) output: Output,
}

impl Supervised {
    /// Starts `llmsoak supervise`, which starts the program, and waits until it runs. The log
    /// has what it writes under `name`, where there is one.
    pub(super) async fn start(
        supervisor: &Path,
        line: &CommandLine,
        name: Option<&str>,
        leave: Leave,
    ) -> Result<Self, ProcessFailure> {
        let program = line.program.clone();
        let started = spawn(supervisor, line, name, leave)
            .map(|(child, lifeline, output)| (child, BufReader::new(lifeline), output));
        let failed = |source| ProcessFailure::Supervisor { program: line.program.clone(), source };
        let (supervisor, mut lifeline, output) = started.map_err(failed)?;
        let mut told = String::new();
        let mut bounded = (&mut lifeline).take(MOST_TOLD_BYTES);
        timeout(STARTUP, bounded.read_line(&mut told))
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(failed)?;
        match Told::read(&told) {
            Some(Told::Started(group)) => {
                Ok(Self { supervisor, lifeline: Some(lifeline.into_inner()), group: Some(group), program, output })
            }
            Some(Told::NotStarted(number)) => {
                Err(ProcessFailure::NotStarted { program, source: io::Error::from_raw_os_error(number) })
            }
            None => Err(failed(io::ErrorKind::UnexpectedEof.into())),
        }
    }

    /// Waits for the end. Cancel-safe.
    pub(super) async fn ended(&mut self) -> Ending {
        let status = self.supervisor.wait().await;
        self.ending(status.ok())
    }

    /// How it ended, if it has.
    pub(super) fn has_ended(&mut self) -> Option<Ending> {
        let status = self.supervisor.try_wait().ok()?;
        status.map(|status| self.ending(Some(status)))
    }

    fn ending(&mut self, status: Option<ExitStatus>) -> Ending {
        let group = self.group.take();
        if let Some(code) = status.and_then(|status| status.code()) {
            return Ending::from_code(code);
        }
        // Nobody else ends them now.
        if let Some(group) = group {
            let _ = kill_process_group(group, Signal::KILL);
        }
        Ending::Unsupervised(status.and_then(|status| status.signal()).unwrap_or_default())
    }

    /// Ends the program and all below it, and returns when they have ended.
    pub(super) async fn stop(&mut self) {
        self.lifeline = None;
        if timeout(STOP, self.ended()).await.is_ok() {
            return;
        }
        // The supervisor is stopped, or waits for what even SIGKILL does not end.
        if let (Some(supervisor), Some(group)) = (self.id(), self.group) {
            tree::signal_below(supervisor, group, Signal::KILL);
            let _ = kill_process(supervisor, Signal::KILL);
        }
        let _ = timeout(FORCE, self.ended()).await;
    }

    /// The supervisor's process, while it runs.
    fn id(&self) -> Option<Pid> {
        self.supervisor.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw)
    }

    /// The command lines of all that run below the supervisor, in no order.
    pub(super) fn command_lines(&self) -> Vec<Vec<String>> {
        let members = self.id().map(tree::below).unwrap_or_default();
        members.into_iter().filter_map(tree::Member::command_line).collect()
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        // If its supervisor is gone nobody hears the socket close.
        let _ = self.has_ended();
    }
}

fn spawn(
    supervisor: &Path,
    line: &CommandLine,
    name: Option<&str>,
    leave: Leave,
) -> io::Result<(Child, UnixStream, Output)> {
    let (lifeline, its_end) = std::os::unix::net::UnixStream::pair()?;
    lifeline.set_nonblocking(true)?;
    let (output, stdout, stderr) = Output::follow(name)?;
    let mut command = Command::new(supervisor);
    command.arg0("llmsoak").arg("supervise");
    if leave == Leave::Descendants {
        command.arg("--leave-descendants");
    }
    command.arg("--").arg(&line.program).args(&line.arguments).envs(&line.environment);
    // A group of its own: Ctrl-C is for llmsoak, which decides.
    command.process_group(0).stdin(Stdio::from(OwnedFd::from(its_end))).stdout(stdout).stderr(stderr);
    Ok((command.spawn()?, UnixStream::from_std(lifeline)?, output))
}
