//! The cold path: now and then the model is unloaded, to see how long it takes to load.
//!
//! A canary is no sample. Its request counts in the totals of requests and tokens and in the
//! budget, and in nothing else.

use std::time::Duration;

use tokio::time::Instant;

use super::backend::Backend;
use super::clock::later;
use super::target::{Halt, TargetRunner};
use super::trouble::Trouble;
use crate::domain::{Canary, Happening, SchedulerState};

impl<B: Backend> TargetRunner<B> {
    /// Sends a canary where one is due. With the lane, between two samples.
    pub(super) async fn send_canary(&mut self) -> Result<(), Halt> {
        if !self.canary_is_due() {
            return Ok(());
        }
        self.may_introduce()?;
        self.yield_to_others().await?;
        self.enter_state(SchedulerState::Canary).await;
        // Whatever comes of it, the next one is due a span later.
        self.progress.canary_at = Some(self.bus.now());
        let permission = self.permission();
        let unloaded = tokio::select! {
            unloaded = self.make_cold() => unloaded?,
            hold = permission.withdrawn() => return Err(hold.into()),
        };
        let Some(Cold { since, answered }) = unloaded else {
            tracing::warn!(
                target = %self.progress.id,
                "the canary sees nothing: this server cannot be told to unload its model"
            );
            return Ok(());
        };
        let identity = self.identify().await?.identity;
        let before_it = answered.map_or(Duration::ZERO, |_| since.elapsed());
        let record = self.introduce(&identity, SchedulerState::Canary).await?;
        if let Some((record, first_token)) =
            record.and_then(|record| Some((record.timings, record.time_to_first_token()?)))
        {
            let load = record.load.or(answered);
            let canary = Canary {
                load_seconds: load.map(|load| load.as_secs_f64()),
                time_to_first_token_seconds: (before_it + first_token).as_secs_f64(),
            };
            self.publish(Happening::CanaryEnded(canary)).await;
        }
        // It may be another process than before, and tells more with its model loaded.
        let identity = self.identify().await?.identity;
        self.row_left(&identity).map_or(Ok(()), |_| Err(Halt::ServerChanged))
    }

    fn canary_is_due(&self) -> bool {
        let Some(every) = self.schedule().canary_every else { return false };
        let now = self.bus.now();
        // One of a time to come is that of a clock which was ahead.
        self.progress.canary_at.is_none_or(|last| last > now || later(last, every) <= now)
    }

    /// Has the model unloaded; `None` where the server cannot be told to.
    async fn make_cold(&self) -> Result<Option<Cold>, Trouble> {
        if let (Some(ready_timeout), Some(row), true) =
            (self.plan.slots.ready_timeout(), self.progress.row, self.plan.slots.runs_the_server())
        {
            // What the last one takes to end is not the next one's.
            self.backend.release().await;
            let since = Instant::now();
            self.switch(row.workers, since + ready_timeout).await?;
            return Ok(Some(Cold { since, answered: Some(since.elapsed()) }));
        }
        match self.backend.unload().await {
            Ok(can_unload) => Ok(can_unload.then(|| Cold { since: Instant::now(), answered: None })),
            Err(failure) => {
                let is_away = failure.kind.is_out_of_reach();
                Err(Trouble { reason: format!("canary: {failure}"), is_away, is_refused: false })
            }
        }
    }
}

/// A server without its model in memory.
struct Cold {
    since: Instant,
    /// How long after that it answered, if it was started for it.
    answered: Option<Duration>,
}
