//! A hook: a command of the user's that does something and ends.
//!
//! It may leave a daemon behind, as `systemctl`, `docker` or `nohup server &` do; one that is
//! to outlive llmsoak should write to a file of its own.

use std::path::Path;
use std::time::Duration;

use tokio::time::timeout;

use super::child::Supervised;
use super::failure::ProcessFailure;
use super::supervisor::Leave;
use crate::domain::slots::CommandLine;

/// Runs a command to its end. What it left running stays if it ended well, and is ended with it if
/// it failed, took too long, or this future is dropped.
///
/// `supervisor` is llmsoak's executable, `name` stands in the log beside what the command
/// writes.
///
/// # Errors
/// Where it cannot be started, ends with another code than 0, or has not ended after `limit`.
pub async fn run_hook(
    supervisor: &Path,
    line: &CommandLine,
    limit: Duration,
    name: &str,
) -> Result<(), ProcessFailure> {
    let mut hook = Supervised::start(supervisor, line, Some(name), Leave::Descendants).await?;
    let ended = timeout(limit, hook.ended()).await;
    match ended {
        Ok(ending) if ending.is_success() => Ok(()),
        Ok(ending) => {
            let output = hook.output.last_lines().await;
            Err(ProcessFailure::Ended { program: hook.program.clone(), ending, output })
        }
        Err(_) => {
            hook.stop().await;
            let output = hook.output.last_lines().await;
            Err(ProcessFailure::TimedOut { program: hook.program.clone(), after: limit, output })
        }
    }
}
