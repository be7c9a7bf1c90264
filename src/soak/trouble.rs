//! What a target does about a server that fails: it waits, longer each time; a run of a few cycles
//! gives up in the end.

use std::time::Duration;

use tokio::time::sleep;

use super::backend::Backend;
use super::hold::Hold;
use super::target::{Halt, TargetRunner};
use crate::domain::{Happening, SchedulerState};

/// The pause after the first failure to reach the server; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// So many changes of a server before a cycle is complete bring no pause.
const CHANGES_AT_ONCE: u32 = 3;

/// Why a target cannot be measured now.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) reason: String,
    /// Whether the server did not even answer.
    pub(super) is_away: bool,
    /// Whether it refused the requests as they are.
    pub(super) is_refused: bool,
}

impl Trouble {
    pub(super) fn away(reason: String) -> Self {
        Self { reason, is_away: true, is_refused: false }
    }
}

/// The pause after so many failures in a row before this one.
fn pause_after(times: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << times.min(6)).min(LONGEST_PAUSE)
}

impl<B: Backend> TargetRunner<B> {
    /// Why a run of a few cycles ends without them; a daemon never gives up.
    pub(super) fn reason_to_give_up<'a>(&self, halt: &'a Halt) -> Option<&'a str> {
        let patience = self.limits.patience?;
        match halt {
            Halt::Trouble(trouble) if self.progress.troubles >= patience => Some(&trouble.reason),
            Halt::ServerChanged if self.progress.restless >= patience => Some("the server keeps changing"),
            Halt::Hold(Hold { state: SchedulerState::OverBudget, until: None }) => {
                Some("the budget is too small for what is left")
            }
            _ => None,
        }
    }

    /// Waits where a server changes again and again before a cycle is complete, longer each time: two
    /// servers behind one address would be an epoch each time that the other one answers.
    pub(super) async fn let_settle(&mut self) {
        let rests = self.progress.restless.checked_sub(CHANGES_AT_ONCE);
        self.progress.restless += 1;
        if let Some(times) = rests {
            tracing::warn!(target = %self.progress.id, "the server keeps changing; is it one server?");
            self.enter_state(SchedulerState::WaitingForServer).await;
            sleep(pause_after(times)).await;
        }
    }

    /// Waits after a failure, longer with each one in a row.
    pub(super) async fn wait_out(&mut self, trouble: Trouble) {
        let wait = pause_after(self.progress.troubles);
        let is_first = self.progress.troubles == 0;
        self.progress.troubles += 1;
        self.progress.is_introduced &= !trouble.is_away && !trouble.is_refused;
        if trouble.is_away {
            self.surroundings.let_go();
            // One that does not answer is started anew, one that others started may have other slots.
            self.progress.row = None;
            let end = self.backend.server_end().await.map(|end| format!("the server ended: {end}"));
            self.publish(Happening::Away { reason: end.unwrap_or(trouble.reason), is_first }).await;
        } else {
            tracing::warn!(target = %self.progress.id, reason = trouble.reason, "no request succeeded");
        }
        self.enter_state(SchedulerState::WaitingForServer).await;
        sleep(wait).await;
    }
}
