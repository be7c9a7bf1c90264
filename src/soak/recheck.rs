//! Whether the server is still the one that the running epoch is of.
//!
//! A cycle begins with a look at who the server is; one that changes later is found out
//! here, after a sample. A look is a few small GETs between two samples, and the questions to
//! what surrounds the server: it delays the next one by as much and is in the figures of none.
//! It is not taken after every sample, so those that were published since the last look may be
//! of a server that had changed by then: at most [`LOOK_EVERY`] and a sample of them, and none
//! where the change showed. A server that restarts shows it, for its requests break or its
//! count of tokens begins anew.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::backend::Backend;
use super::target::TargetRunner;
use crate::analysis::foreign::Watched;
use crate::domain::{FailureKind, InvalidReason, RequestRecord};

/// The longest time in which samples are published under an identity that nobody confirms.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// Who does not tell in time who it is, is asked again after the next sample.
const LOOK_TIMEOUT: Duration = Duration::from_secs(5);

impl<B: Backend> TargetRunner<B> {
    /// Looks at the server after a sample, where that is due: why the sample is of no epoch,
    /// if the running one is over.
    pub(super) async fn epoch_left(
        &mut self,
        records: &[RequestRecord],
        watched: Option<&Watched>,
    ) -> Option<InvalidReason> {
        // No later sample would tell of a change in the last one of a cycle.
        let is_last = self.progress.pending.len() <= 1;
        let shows_restart = records.iter().any(has_broken) || watched.is_some_and(Watched::began_anew);
        let is_confirmed = self.progress.confirmed_at.is_some_and(|at| at.elapsed() < LOOK_EVERY);
        if is_confirmed && !is_last && !shows_restart {
            return None;
        }
        // Only an answer confirms.
        self.progress.confirmed_at = None;
        let asked = timeout(LOOK_TIMEOUT, self.backend.identify());
        let (answer, seen) = tokio::join!(asked, self.surroundings.look());
        let identified = answer.ok()?.ok()?;
        self.progress.gpu_share = identified.identity.gpu_share;
        let epoch = self.progress.epoch.clone()?;
        let workers = self.progress.row.map_or(0, |row| row.workers);
        let facts = self.facts_of(&identified.identity, workers, &seen);
        let left = epoch.left_for(&facts, &self.load(&identified).facts());
        let left = left.or_else(|| self.row_left(&identified.identity));
        if left.is_none() {
            self.progress.confirmed_at = Some(Instant::now());
        }
        left
    }
}

fn has_broken(record: &RequestRecord) -> bool {
    let failure = record.failure.as_ref();
    failure.is_some_and(|failure| {
        // A proxy may end the answer of a server that died as if it were whole.
        matches!(failure.kind, FailureKind::Reset | FailureKind::Truncated) || failure.kind.is_out_of_reach()
    })
}
