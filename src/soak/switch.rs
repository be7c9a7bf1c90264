//! Gives a server its slots: runs it as a child for each row, or has a hook see to it.
//!
//! It does not wait until the server answers, and does not ask what it then has.

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::Mutex;

use crate::domain::plan::TargetPlan;
use crate::domain::slots::{SlotSwitch, SlotsPlan};
use crate::process::{ProcessFailure, ServerProcess, parallel_argument, run_hook};

/// How one target's server is given its slots, and the server itself where it is a child.
#[derive(Debug)]
pub struct Switch {
    by: SlotSwitch,
    /// The most that a hook takes.
    limit: Duration,
    /// llmsoak's own executable.
    supervisor: PathBuf,
    /// Whose server it is, for the log.
    target: String,
    server: Mutex<Option<ServerProcess>>,
}

impl Switch {
    /// The switch of a target; `None` where the slots are the server's own affair.
    pub fn new(plan: &TargetPlan, supervisor: PathBuf) -> Option<Self> {
        let SlotsPlan::Server { by, ready_timeout } = &plan.slots else { return None };
        let (target, server) = (plan.name.clone(), Mutex::new(None));
        Some(Self { by: by.clone(), limit: *ready_timeout, supervisor, target, server })
    }

    pub(super) fn runs_the_server(&self) -> bool {
        matches!(self.by, SlotSwitch::Process(_))
    }

    /// Starts the server for a row, or runs the hook to its end. What ran before has to be
    /// stopped.
    pub(super) async fn give(&self, workers: u32) -> Result<(), ProcessFailure> {
        let (SlotSwitch::Process(plan) | SlotSwitch::Command(plan)) = &self.by;
        // A plan always names a program.
        let Some(line) = plan.for_workers(workers) else { return Ok(()) };
        if self.runs_the_server() {
            let started = ServerProcess::start(&self.supervisor, &line, &self.target).await?;
            *self.server.lock().await = Some(started);
            return Ok(());
        }
        run_hook(&self.supervisor, &line, self.limit, &self.target).await
    }

    /// Why the server has ended, if it is a child and has.
    pub(super) async fn server_end(&self) -> Option<String> {
        self.server.lock().await.as_mut()?.has_ended()
    }

    /// Ends the server with all that it started, if it is a child.
    pub(super) async fn stop(&self) {
        if let Some(server) = self.server.lock().await.take() {
            server.stop().await;
        }
    }

    /// The slots that stand in the arguments of a process that the child started, which are
    /// those that it was really given: Ollama tells of them nowhere else.
    pub(super) async fn slots_of_runner(&self) -> Option<u32> {
        let lines = self.server.lock().await.as_ref()?.command_lines_below();
        lines.iter().find_map(|line| parallel_argument(line))
    }
}
