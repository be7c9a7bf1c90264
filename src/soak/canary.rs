//! The cold path: now and then the model is unloaded, to see how long it takes to load.
//!
//! A canary is no sample. Its request counts in the totals of requests and tokens and in the
//! budget, and in nothing else.

use std::time::Duration;

use tokio::time::Instant;

use super::backend::Backend;
use super::clock::later;
use super::meter::cost_of;
use super::target::{Halt, TargetRunner, Trouble};
use crate::client::Timeline;
use crate::domain::event::RequestEnd;
use crate::domain::slots::SlotsPlan;
use crate::domain::{Canary, Cost, Happening, RequestFailure, SchedulerState};

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
        self.progress.last_look = None;
        let booked_at = self.book(Cost::of_introduction(&self.plan.request, self.prompt_tokens())).await;
        let permission = self.permission();
        let outcome = tokio::select! {
            outcome = self.cold_start() => outcome.map_err(Halt::from),
            hold = permission.withdrawn() => Err(hold.into()),
        };
        let spent = outcome.as_ref().map_or(Cost::default(), |(_, cost)| *cost);
        self.settle(booked_at, spent).await;
        match outcome? {
            (Some(canary), _) => self.publish(Happening::CanaryEnded(canary)).await,
            (None, _) => tracing::warn!(
                target = %self.progress.id,
                "the canary sees nothing: this server cannot be told to unload its model"
            ),
        }
        // The server was started anew, or may have been.
        let identified = self.identify().await?;
        self.row_left(&identified.identity).map_or(Ok(()), |_| Err(Halt::ServerChanged))
    }

    fn canary_is_due(&self) -> bool {
        let Some(every) = self.schedule().canary_every else { return false };
        self.progress.canary_at.is_none_or(|last| later(last, every) <= self.bus.now())
    }

    /// Unloads the model and sends a request; `None` where nothing can be unloaded.
    async fn cold_start(&self) -> Result<(Option<Canary>, Cost), Trouble> {
        let mut began = Instant::now();
        let mut started = None;
        match (&self.plan.slots, self.progress.row) {
            (SlotsPlan::Server { ready_timeout, .. }, Some(row)) if self.plan.slots.runs_the_server() => {
                self.switch(row.workers, began + *ready_timeout).await?;
                started = Some(began.elapsed());
            }
            _ => match self.backend.unload().await {
                Ok(false) => return Ok((None, Cost::default())),
                Ok(true) => began = Instant::now(),
                Err(failure) => return Err(trouble(&failure)),
            },
        }
        let Some(request) = self.requests(1, self.plan.request.warmup_tokens(), &[0, 1]).pop() else {
            return Ok((None, Cost::default()));
        };
        self.publish(Happening::RequestStarted).await;
        let (timeline, timeouts) = (Timeline::start(), self.timeouts(self.plan.request.timeout));
        let record = self.backend.generate(&request, &timeline, Duration::ZERO, timeouts).await;
        let before_it = began.elapsed().saturating_sub(record.ended);
        self.publish(Happening::RequestEnded(RequestEnd::of(&record, true))).await;
        if let Some(failure) = &record.failure {
            return Err(trouble(failure));
        }
        let cost = cost_of(std::slice::from_ref(&record), self.prompt_tokens());
        let first_token =
            record.time_to_first_token().map(|first| first + started.map_or(Duration::ZERO, |_| before_it));
        let canary = first_token.map(|first_token| Canary {
            load_seconds: started.or(record.timings.load).map(|load| load.as_secs_f64()),
            time_to_first_token_seconds: first_token.as_secs_f64(),
        });
        Ok((canary, cost))
    }
}

fn trouble(failure: &RequestFailure) -> Trouble {
    let is_away = failure.kind.is_out_of_reach();
    Trouble { reason: format!("canary: {failure}"), is_away, is_refused: false }
}
