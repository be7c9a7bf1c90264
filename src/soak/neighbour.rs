//! Others who use the server: waiting until they are gone, and finding them in a sample.
//!
//! A server that does not tell what it works on is taken to work for this program alone.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::backend::Backend;
use super::hold::Hold;
use super::meter::Meter;
use super::target::{REMINDER, TargetRunner};
use crate::analysis::foreign::{self, Poll, Watched};
use crate::domain::{Look, Occupancy, SchedulerState};

/// How often a server that others use is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a server must have been idle before it counts as free: people pause between
/// two questions.
const QUIET: Duration = Duration::from_secs(5);
/// A server may hold on to an answer of ours for a moment after its end.
const SETTLE: Duration = Duration::from_millis(50);
const SETTLE_LOOKS: u32 = 10;
/// How often it is looked at while a sample runs. A look costs the server next to nothing.
const POLL_EVERY: Duration = Duration::from_millis(500);

impl<B: Backend> TargetRunner<B> {
    /// Waits until the server is free, as far as the schedule cares. The lane is kept: who
    /// uses the server uses the hardware of all its targets.
    pub(super) async fn yield_to_others(&mut self) -> Result<(), Hold> {
        while self.must_yield().await {
            self.await_others().await?;
        }
        Ok(())
    }

    fn is_yielding(&self) -> bool {
        self.schedule().yield_to_foreign_load
    }

    /// Whether others use the server, where that matters to the schedule.
    pub(super) async fn must_yield(&mut self) -> bool {
        self.is_yielding() && self.others_use_it(Look::Around).await
    }

    /// Waits until others are gone, or until something else holds the target.
    async fn await_others(&mut self) -> Result<(), Hold> {
        tracing::info!(target = %self.progress.id, "others use the server; waiting until they are gone");
        let (mut permission, mut hint) = (self.permission(), self.control.listen());
        while self.is_yielding() {
            if let Some(hold) = permission.hold() {
                return Err(hold);
            }
            self.enter_state(SchedulerState::Yielding).await;
            tokio::select! {
                () = self.others_are_gone() => break,
                () = permission.change(&mut hint, REMINDER) => {}
            }
        }
        tracing::info!(target = %self.progress.id, "others are gone; going on");
        Ok(())
    }

    async fn look(&self, how: Look) -> Option<Occupancy> {
        // A server that does not answer now will be found out by the next request.
        self.backend.occupancy(how).await.ok().flatten()
    }

    /// Looks at the server while nothing of ours is in flight.
    async fn others_use_it(&mut self, how: Look) -> bool {
        let before = self.progress.last_look.take();
        let mut looks = 1;
        loop {
            let Some(seen) = self.look(how).await else { return false };
            let is_used = foreign::is_used_by_others(before.as_ref(), &seen);
            if before.as_ref().is_some_and(|before| foreign::began_anew(before, &seen)) {
                self.progress.confirmed_at = None;
            }
            // What lingers of ours, or is still being noted down: Ollama stamps a use a moment
            // after its end.
            let may_be_ours = before.is_none() && looks < SETTLE_LOOKS;
            let is_settled = !is_used && (seen.uses.is_empty() || looks > 1);
            if is_settled || !may_be_ours {
                self.progress.last_look = Some(seen);
                return is_used;
            }
            looks += 1;
            sleep(SETTLE).await;
        }
    }

    /// The look before or after a batch: as soon as nothing of ours lingers, or else as it is.
    pub(super) async fn settled_look(&mut self) -> Option<Occupancy> {
        self.others_use_it(Look::Around).await;
        self.progress.last_look.clone()
    }

    /// Returns when the server has been idle for a while.
    async fn others_are_gone(&mut self) {
        let mut quiet_since = Instant::now();
        while quiet_since.elapsed() < QUIET {
            sleep(LOOK_EVERY).await;
            // Once a second: as careful of the server's own figures as during a sample.
            if self.others_use_it(Look::During).await {
                quiet_since = Instant::now();
            }
        }
    }
}

/// Looks at the server while a batch runs; never returns by itself.
pub(super) async fn poll<B: Backend>(backend: &B, meter: &Meter, mut watched: Option<&mut Watched>) {
    loop {
        // What ended a moment ago may still be in the server.
        let ended = meter.ended();
        sleep(SETTLE).await;
        if let Ok(Some(occupancy)) = backend.occupancy(Look::During).await {
            let own = meter.started().saturating_sub(ended);
            if let Some(watched) = &mut watched {
                watched.note(Poll { occupancy, own: u32::try_from(own).unwrap_or(u32::MAX) });
            }
        }
        sleep(POLL_EVERY).await;
    }
}
