//! The life of one target: identify, warm up, measure, pause, again.
//!
//! While its server is away it asks again with growing pauses, and a daemon never gives up.
//! What may keep it from measuring for a while is in `hold`; a single cell is measured in
//! `sample`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{OwnedMutexGuard, watch};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::backend::{Backend, not_started};
use super::budget::Ledger;
use super::bus::Bus;
use super::choice::{Chosen, Setting};
use super::clock::later;
use super::control::Control;
use super::daemon::Limits;
use super::hold::Hold;
use super::lag::LagMeter;
use super::lane::Lane;
use super::meter::cost_of;
use super::order::with_reference;
use super::progress::Progress;
use super::surroundings::Surroundings;
use super::trouble::{LONGEST_PAUSE, Trouble};
use crate::client::{Dropped, Identified, Timeline, Timeouts};
use crate::domain::event::RequestEnd;
use crate::domain::plan::{Api, Prompts, ScheduleMode, SchedulePlan, TargetPlan};
use crate::domain::{
    Cell, Cost, Epoch, FailureKind, Grid, Happening, Load, RequestFailure, RequestRecord, SchedulerState,
    ServerIdentity,
};
use crate::process::in_background;
use crate::store::{CycleStart, Sighting, Writer};

/// How often a target that waits says that it still does.
pub(super) const REMINDER: Duration = Duration::from_secs(30);
/// Finding out who the server is takes at most so long.
const IDENTIFY_TIMEOUT: Duration = Duration::from_secs(20);

/// Why the work on a cycle ends before it is complete.
#[derive(Debug)]
pub(super) enum Halt {
    Trouble(Trouble),
    Hold(Hold),
    /// The server is not the one that was met: the epoch is over, or its row.
    ServerChanged,
}

impl From<Trouble> for Halt {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

impl From<Hold> for Halt {
    fn from(hold: Hold) -> Self {
        Self::Hold(hold)
    }
}

/// How a target's life ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// Its cycles are complete.
    Done,
    /// It had no patience left with its server.
    GivenUp,
    /// It was told to.
    Retired,
}

/// One target at work.
#[derive(Debug)]
pub(super) struct TargetRunner<B> {
    pub(super) backend: Arc<B>,
    pub(super) surroundings: Arc<Surroundings>,
    pub(super) plan: Arc<TargetPlan>,
    /// May change while it works.
    pub(super) schedule: watch::Receiver<Arc<SchedulePlan>>,
    pub(super) control: Control,
    pub(super) lane: Arc<Lane>,
    /// The lane, while it is this target's.
    pub(super) held: Option<OwnedMutexGuard<()>>,
    pub(super) bus: Bus,
    pub(super) history: Writer,
    pub(super) lag: LagMeter,
    pub(super) limits: Limits,
    pub(super) progress: Progress,
}

impl<B: Backend> TargetRunner<B> {
    /// Works until the asked cycles are complete, or until it is retired: then the running
    /// sample is dropped whole. What it spent outlives it.
    pub(super) async fn run(mut self, retired: CancellationToken) -> (Ended, Ledger) {
        let ended = retired.run_until_cancelled(self.work()).await.unwrap_or(Ended::Retired);
        self.end_running(Some("stopped")).await;
        self.let_go().await;
        (ended, self.progress.ledger)
    }

    async fn work(&mut self) -> Ended {
        while !self.is_done() {
            let Err(halt) = self.attend().await else { continue };
            if let Some(reason) = self.reason_to_give_up(&halt) {
                tracing::error!(target = %self.progress.id, reason, "given up");
                return Ended::GivenUp;
            }
            match halt {
                Halt::ServerChanged => self.let_settle().await,
                Halt::Hold(hold) => self.sit_out(hold).await,
                Halt::Trouble(trouble) => self.wait_out(trouble).await,
            }
        }
        Ended::Done
    }

    fn is_done(&self) -> bool {
        self.limits.cycles.is_some_and(|cycles| self.progress.completed >= cycles)
    }

    /// Measures what is left of a cycle, or a new one, with the lane to itself.
    async fn attend(&mut self) -> Result<(), Halt> {
        self.enter_state(SchedulerState::Starting).await;
        // What was affordable when the cycle began may have become dearer since.
        let pending = std::mem::take(&mut self.progress.pending);
        self.progress.pending = self.affordable(pending.into()).into();
        self.may_begin_cycle()?;
        // What is seen before a wait may have changed after it.
        self.wait_for_lane().await;
        let outcome = self.work_on_cycle().await;
        self.give_lane_away(&outcome).await;
        outcome?;
        if !self.is_done() {
            self.await_next_cycle().await;
        }
        Ok(())
    }

    async fn work_on_cycle(&mut self) -> Result<(), Halt> {
        self.may_begin_cycle()?;
        // Others of the lane may have used the same server since.
        self.progress.last_look = None;
        self.open_row().await?;
        if self.progress.cycle_began.is_none() {
            self.begin_cycle().await?;
        }
        while let Some(&cell) = self.progress.pending.front() {
            self.rest().await?;
            if self.affordable(vec![cell]).is_empty() {
                self.progress.pending.pop_front();
                continue;
            }
            self.may_begin(cell)?;
            self.change_row(cell).await?;
            self.send_canary().await?;
            self.yield_to_others().await?;
            let outcome = self.measure_cell(cell).await;
            self.take_turns(&outcome);
            outcome?;
        }
        self.end_cycle().await;
        if !self.is_done() {
            self.rest().await?;
        }
        Ok(())
    }

    /// Asks the server who it is, has it introduced where that is due, and enters the epoch.
    /// `workers` are those of the row that is measured next.
    pub(super) async fn meet(&mut self, workers: u32) -> Result<Identified, Halt> {
        let mut identified = self.identify().await?;
        if !self.progress.is_introduced {
            self.may_introduce()?;
            self.yield_to_others().await?;
            self.introduce(&identified.identity, SchedulerState::Warmup).await?;
            // Some servers tell more once the model is loaded.
            identified = self.identify().await?;
            self.progress.is_introduced = true;
        }
        self.enter_epoch(&identified, workers).await?;
        if let Some(Dropped { fields, reason }) = self.progress.dropped.take() {
            self.publish(Happening::FieldsDropped { fields, reason }).await;
        }
        Ok(identified)
    }

    /// Takes the cell off the list, unless it is to be measured again. One that an outage or
    /// the end of a window cut short gets a second try, lest it leave a hole in the cycle; one
    /// at which the server always dies, or for which no window is long enough, must not hold
    /// the cycle up. A user's pause and other users of the server are no fault of the cell.
    fn take_turns(&mut self, outcome: &Result<(), Halt>) {
        let was_cut_short = match outcome {
            // In the new epoch all cells begin anew.
            Ok(()) | Err(Halt::ServerChanged) => false,
            Err(Halt::Hold(hold)) if hold.state != SchedulerState::OutsideWindow => return,
            Err(Halt::Hold(_)) => true,
            Err(Halt::Trouble(trouble)) => trouble.is_away,
        };
        self.progress.is_second_try = was_cut_short && !self.progress.is_second_try;
        if !self.progress.is_second_try {
            self.progress.pending.pop_front();
        }
    }

    pub(super) async fn identify(&mut self) -> Result<Identified, Trouble> {
        let answer = timeout(IDENTIFY_TIMEOUT, self.backend.identify()).await;
        let reason = match answer {
            Ok(Ok(identified)) => {
                self.progress.meet(&identified);
                let identity = Arc::new(identified.identity.clone());
                self.progress.id.model = identity.model.as_str().into();
                self.progress.slots = identity.slots;
                self.progress.gpu_share = identity.gpu_share;
                self.progress.confirmed_at = Some(Instant::now());
                self.publish(Happening::Identified(identity)).await;
                return Ok(identified);
            }
            Ok(Err(failure)) => failure.to_string(),
            Err(_) => format!("no identity within {} s", IDENTIFY_TIMEOUT.as_secs()),
        };
        Err(Trouble::away(reason))
    }

    async fn wait_for_lane(&mut self) {
        let lane = self.lane.clone();
        let waiting = lane.hold();
        tokio::pin!(waiting);
        let mut patience = Duration::ZERO;
        loop {
            if let Ok(held) = timeout(patience, &mut waiting).await {
                self.held = Some(held);
                return;
            }
            // Whoever has the lane has all of the hardware.
            self.let_go().await;
            self.enter_state(SchedulerState::WaitingForLane).await;
            patience = REMINDER;
        }
    }

    /// Lets go of the lane, and before that of a server that this program runs, unless the
    /// next cycle follows at once and nobody else wants the hardware.
    async fn give_lane_away(&mut self, outcome: &Result<(), Halt>) {
        let is_held = match outcome {
            Ok(()) => self.is_done() || self.next_cycle_start().is_some(),
            Err(Halt::Hold(hold)) => hold.state != SchedulerState::Yielding,
            Err(Halt::Trouble(_) | Halt::ServerChanged) => false,
        };
        if is_held || self.lane.is_shared() {
            self.let_go().await;
        }
        self.held = None;
    }

    /// Sends a first request, in a state of its own: loads the model and settles which fields
    /// the server takes. Returns the one that succeeded.
    pub(super) async fn introduce(
        &mut self,
        identity: &ServerIdentity,
        state: SchedulerState,
    ) -> Result<Option<RequestRecord>, Halt> {
        self.enter_state(state).await;
        let request = self.requests(1, self.plan.request.warmup_tokens(), &[0]).pop();
        let Some(request) = request else { return Ok(None) };
        self.publish(Happening::RequestStarted).await;
        self.progress.last_look = None;
        let booked_at = self.book(Cost::of_introduction(&self.plan.request, self.prompt_tokens())).await;
        let (timeline, timeouts) = (Timeline::start(), self.first_timeouts());
        let (mut attempts, dropped) = tokio::select! {
            negotiated = self.backend.negotiate(&request, &timeline, timeouts) => negotiated,
            hold = self.permission().withdrawn() => {
                let failure = RequestFailure::new(FailureKind::Cancelled, hold.state.as_str());
                let given_up = not_started(&request, timeline.now(), failure);
                self.publish(Happening::RequestEnded(RequestEnd::of(&given_up, true))).await;
                return Err(hold.into());
            }
        };
        if let Some(dropped) = &dropped {
            self.progress.left_out.extend(&dropped.fields);
        }
        self.progress.dropped = dropped.or(self.progress.dropped.take());
        for (index, attempt) in attempts.iter().enumerate() {
            if index > 0 {
                self.publish(Happening::RequestStarted).await;
            }
            self.publish(Happening::RequestEnded(RequestEnd::of(attempt, true))).await;
        }
        self.settle(booked_at, cost_of(&attempts, self.prompt_tokens())).await;
        let last = attempts.pop();
        match last.as_ref().and_then(|last| last.failure.as_ref()) {
            None => Ok(last),
            Some(failure) => Err(Halt::Trouble(Trouble {
                reason: format!("{} {}: {failure}", identity.kind, identity.model),
                is_away: failure.kind.is_out_of_reach(),
                is_refused: false,
            })),
        }
    }

    /// The time-outs of a first request: the model may have to be loaded for it.
    fn first_timeouts(&self) -> Timeouts {
        let timeouts = self.timeouts(self.plan.request.timeout);
        let left = self.ready_by().map_or(Duration::ZERO, |by| by.saturating_duration_since(Instant::now()));
        Timeouts { first_token: timeouts.first_token.max(left), total: timeouts.total.max(left), ..timeouts }
    }

    async fn enter_epoch(&mut self, identified: &Identified, workers: u32) -> Result<(), Trouble> {
        let seen = self.surroundings.look().await;
        let (identity, load) = (self.facts_of(&identified.identity, workers, &seen), self.load(identified).facts());
        let sighting = Sighting {
            target: self.progress.id.clone(),
            url: self.plan.connection.url.clone(),
            identity: identity.clone(),
            load: load.clone(),
            at: self.bus.now(),
            running: self.progress.epoch.as_ref().map(|epoch| epoch.id),
        };
        let entered = match self.history.enter_epoch(sighting).await {
            Ok(entered) => entered,
            // A running epoch goes on without its history; a sample needs one to belong to.
            Err(error) if self.progress.epoch.as_ref().is_some_and(|running| running.continues(&identity, &load)) => {
                tracing::error!(target = %self.progress.id, %error, "the epoch is not in the history; measuring goes on");
                return Ok(());
            }
            Err(error) => return Err(Trouble { reason: error.to_string(), is_away: false, is_refused: false }),
        };
        let is_running = self.progress.epoch.as_ref().is_some_and(|running| running.id == entered.epoch.id);
        let epoch = Arc::new(entered.epoch);
        if is_running {
            let known = self.progress.epoch.replace(epoch.clone());
            if known.is_some_and(|known| known.identity != epoch.identity) {
                self.publish(Happening::EpochLearned(epoch)).await;
            }
            return Ok(());
        }
        let grid = Arc::new(self.grid_of(identified.identity.slots));
        let estimates = self.schedule().estimates;
        self.progress.enter(epoch.clone(), grid.clone(), &entered.samples, entered.last_cycle, &estimates);
        let (samples, named, before) = (Arc::new(entered.samples), entered.named, entered.before.map(Arc::new));
        let changes = Arc::new(entered.changes);
        self.publish(Happening::EpochEntered { epoch, grid, samples, named, before, changes }).await;
        Ok(())
    }

    pub(super) fn load(&self, identified: &Identified) -> Load {
        let request = &self.plan.request;
        Load {
            api: if identified.api == Api::Ollama { "ollama" } else { "openai" },
            slots_mode: self.plan.slots.mode(),
            endpoint: request.endpoint,
            prompts: match &request.prompts {
                Prompts::BuiltIn { tokens } => format!("built-in, {tokens} tokens"),
                Prompts::Lines { lines, digest } => format!("file {digest}, {} prompts", lines.len()),
            },
            unique_prefix: request.avoid_prefix_cache,
            output_tokens: request.output_tokens,
            ignore_eos: request.ignore_eos,
            temperature: request.temperature,
            left_out: self.progress.left_out.clone(),
        }
    }

    async fn begin_cycle(&mut self) -> Result<(), Hold> {
        let (Some(grid), Some(epoch)) = (self.progress.grid.clone(), self.progress.epoch.clone()) else {
            return Ok(());
        };
        let (number, seed) = (self.progress.cycle + 1, self.schedule().seed);
        let cells = self.cells_of_cycle(&grid, &epoch, number).await;
        let cells = self.affordable(cells);
        if cells.is_empty() {
            return Err(Hold::until(SchedulerState::OverBudget, None));
        }
        (self.progress.cycle, self.progress.pending) = (number, cells.into());
        self.progress.cycle_began = Some(Instant::now());
        self.progress.last_cycle_began = self.progress.cycle_began;
        self.progress.has_measured = false;
        let cells = self.progress.pending.iter().collect::<BTreeSet<_>>().len();
        let cells = u32::try_from(cells).unwrap_or(u32::MAX);
        let at = self.bus.now();
        let target = self.progress.id.clone();
        self.history.start_cycle(CycleStart { target, epoch: epoch.id, number, grid, seed, at }).await;
        let due_at = self.progress.last_cycle_took.map(|took| later(at, took));
        self.publish(Happening::CycleStarted { cycle: number, cells, due_at }).await;
        Ok(())
    }

    /// The cells that a cycle measures, in its order.
    async fn cells_of_cycle(&self, grid: &Arc<Grid>, epoch: &Epoch, cycle: u64) -> Vec<Cell> {
        let schedule = self.schedule();
        let (mode, estimates) = (schedule.mode, schedule.estimates);
        let (slots_mode, slots) = (self.plan.slots.mode(), epoch.slots());
        let (learned, grid) = (self.progress.learned.clone(), grid.clone());
        let choose = move || Chosen::of(&Setting { grid: &grid, mode, estimates, slots_mode, slots }, &learned, cycle);
        let chosen = match mode {
            ScheduleMode::Full => choose(),
            // Takes long enough to delay others, who may be in the middle of a sample.
            ScheduleMode::Adaptive => {
                in_background(choose).await.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            }
        };
        let cells = self.in_order(chosen.samples().collect(), &schedule, cycle);
        match chosen.reference {
            Some(reference) => with_reference(cells, reference),
            None => cells,
        }
    }

    pub(super) async fn end_cycle(&mut self) {
        let took = self.progress.cycle_began.take().map_or(Duration::ZERO, |began| began.elapsed());
        self.progress.last_cycle_took = Some(took);
        self.progress.completed += 1;
        self.progress.restless = 0;
        self.publish(Happening::CycleEnded { cycle: self.progress.cycle, seconds: took.as_secs_f64() }).await;
    }

    pub(super) fn schedule(&self) -> Arc<SchedulePlan> {
        self.schedule.borrow().clone()
    }

    /// When the running or next sample must have ended, going by the largest cell and a
    /// request's longest time, if it may begin at `from`.
    pub(super) fn sample_due(&self, from: Timestamp, request: Duration) -> Timestamp {
        let schedule = self.schedule();
        let waves = |cell: Cell| cell.batch.div_ceil(cell.concurrency().max(1)) + schedule.warmup_requests;
        let most = self.progress.grid.iter().flat_map(|grid| grid.cells()).map(waves).max().unwrap_or(1);
        let switch = self.plan.slots.ready_timeout().unwrap_or_default();
        let longest = request.saturating_mul(most) + schedule.pause_between_samples + switch;
        later(from, longest + LONGEST_PAUSE + IDENTIFY_TIMEOUT)
    }

    pub(super) async fn enter_state(&self, state: SchedulerState) {
        self.enter_state_until(state, None).await;
    }

    /// `until`: when the state ends, as far as that is known.
    pub(super) async fn enter_state_until(&self, state: SchedulerState, until: Option<Timestamp>) {
        let from = until.unwrap_or(Timestamp::MIN).max(self.bus.now());
        let due_at = Some(self.sample_due(from, self.plan.request.timeout));
        self.publish(Happening::StateChanged { state, until, due_at }).await;
    }

    pub(super) async fn publish(&self, happening: Happening) {
        self.bus.publish(&self.progress.id, happening).await;
    }
}
