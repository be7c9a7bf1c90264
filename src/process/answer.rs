//! A question: a command of the user's whose first line of output is the answer.
//!
//! It leaves nothing behind, and the log has nothing of what it writes: it is asked again and
//! again.

use std::path::Path;
use std::time::Duration;

use tokio::time::timeout;

use super::child::Supervised;
use super::failure::ProcessFailure;
use super::supervisor::Leave;
use crate::domain::slots::CommandLine;

/// Runs a command to its end, and returns the first line of its stdout that shows anything:
/// trimmed, of bounded length, without colours and control characters.
///
/// `supervisor` is llmsoak's executable. What the command started is ended with it, at the
/// latest when this future is dropped.
///
/// # Errors
/// Where it cannot be started, ends with another code than 0, writes nothing, or has not ended
/// after `limit`.
pub async fn answer_of(supervisor: &Path, line: &CommandLine, limit: Duration) -> Result<String, ProcessFailure> {
    let mut asked = Supervised::start(supervisor, line, None, Leave::Nobody).await?;
    let program = asked.program.clone();
    match timeout(limit, asked.ended()).await {
        Ok(ending) if ending.is_success() => {
            let answer = asked.output.first_line().await;
            answer.map(|line| line.trim().to_owned()).ok_or(ProcessFailure::Silent { program })
        }
        Ok(ending) => Err(ProcessFailure::Ended { program, ending, output: asked.output.last_lines().await }),
        Err(_) => {
            asked.stop().await;
            Err(ProcessFailure::TimedOut { program, after: limit, output: asked.output.last_lines().await })
        }
    }
}
