//! What keeps a target from measuring for a while: the user, the hour, the budget, others
//! who use the server, and the rest between two samples.
//!
//! A target that is held gives its lane away and begins anew afterwards, for the server may
//! be another one by then.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::backend::Backend;
use super::budget::Cost;
use super::bus::Bus;
use super::clock::later;
use super::control::{Control, Hint};
use super::meter::Meter;
use super::target::{REMINDER, TargetRunner};
use crate::domain::plan::{Prompts, SchedulePlan};
use crate::domain::{Cell, Happening, RequestRecord, SchedulerState, Spent};

/// The smallest share of its time that a lane may be kept busy.
const LEAST_DUTY: f64 = 0.001;

/// The longest wait for a time of day: the clock may be set, and a machine may sleep.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// Why nothing may be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hold {
    pub(super) state: SchedulerState,
    /// When it ends by itself, as far as that is known.
    pub(super) until: Option<Timestamp>,
}

impl Hold {
    pub(super) fn until(state: SchedulerState, until: Option<Timestamp>) -> Self {
        Self { state, until }
    }
}

/// What the user and the hour have to say.
#[derive(Clone, Debug)]
pub(super) struct Permission {
    target: Arc<str>,
    control: Control,
    schedule: watch::Receiver<Arc<SchedulePlan>>,
    bus: Bus,
}

impl Permission {
    fn hold(&self) -> Option<Hold> {
        let now = self.bus.now();
        if let Some(pause) = self.control.pause_of(&self.target, now) {
            return Some(Hold::until(SchedulerState::Paused, pause.until));
        }
        let windows = &self.schedule.borrow().windows;
        let is_closed = !windows.is_open(now);
        is_closed.then(|| Hold::until(SchedulerState::OutsideWindow, windows.next_change(now)))
    }

    /// Returns when what runs has to stop.
    pub(super) async fn withdrawn(mut self) -> Hold {
        let mut hint = self.control.listen();
        loop {
            if let Some(hold) = self.hold() {
                return hold;
            }
            let closes = self.schedule.borrow().windows.next_change(self.bus.now());
            let wait = self.wait_for(closes);
            self.change(&mut hint, wait).await;
        }
    }

    /// Waits until the user says something, the schedule changes, or `wait` has passed.
    async fn change(&mut self, hint: &mut Hint, wait: Duration) {
        tokio::select! {
            () = hint.heard() => {}
            Ok(()) = self.schedule.changed() => {}
            () = sleep(wait) => {}
        }
    }

    /// How long to wait for a time, before looking at the clock again.
    fn wait_for(&self, until: Option<Timestamp>) -> Duration {
        let left = until.map(|until| until.duration_since(self.bus.now()));
        left.map_or(REMINDER, |left| Duration::try_from(left).unwrap_or_default().min(LONGEST_WAIT))
    }
}

impl<B: Backend> TargetRunner<B> {
    pub(super) fn permission(&self) -> Permission {
        let (control, mut schedule) = (self.control.clone(), self.schedule.clone());
        // From here on, a change is one.
        schedule.mark_unchanged();
        Permission { target: self.progress.id.name.clone(), control, schedule, bus: self.bus.clone() }
    }

    /// Whether a cycle, or what is left of one, may be begun now.
    pub(super) fn may_begin_cycle(&self) -> Result<(), Hold> {
        match self.progress.pending.front() {
            Some(&cell) => self.hold_of(cell).map_or(Ok(()), Err),
            None => self.permission().hold().map_or(Ok(()), Err),
        }
    }

    /// Whether a cell may be measured now.
    pub(super) async fn may_begin(&mut self, cell: Cell) -> Result<(), Hold> {
        if let Some(hold) = self.hold_of(cell) {
            return Err(hold);
        }
        self.yield_to_others().await
    }

    fn hold_of(&self, cell: Cell) -> Option<Hold> {
        self.permission().hold().or_else(|| self.window_too_short(cell)).or_else(|| self.over_budget(cell))
    }

    /// A sample that the end of the window would cut short is not begun, unless no window is
    /// long enough for it.
    fn window_too_short(&self, cell: Cell) -> Option<Hold> {
        let schedule = self.schedule();
        let now = self.bus.now();
        let closes = schedule.windows.next_change(now)?;
        let took = *self.progress.took.get(&cell)?;
        if later(now, took) <= closes {
            return None;
        }
        let opens = schedule.windows.next_change(closes)?;
        let fits_then = schedule.windows.next_change(opens).is_none_or(|end| later(opens, took) <= end);
        fits_then.then(|| Hold::until(SchedulerState::OutsideWindow, Some(opens)))
    }

    fn over_budget(&self, cell: Cell) -> Option<Hold> {
        let now = self.bus.now();
        let at = self.progress.ledger.affordable_at(self.cost(cell), now)?;
        (at > now).then(|| Hold::until(SchedulerState::OverBudget, Some(at)))
    }

    /// The most that a sample of a cell costs, warm-ups included; a prompt of the user's own
    /// counts four bytes a token.
    fn cost(&self, cell: Cell) -> Cost {
        let request = &self.plan.request;
        let warmups = u64::from(cell.concurrency()) * u64::from(self.schedule().warmup_requests);
        let requests = u64::from(cell.batch) + warmups;
        let prompt = match &request.prompts {
            Prompts::BuiltIn { tokens } => u64::from(*tokens),
            Prompts::Lines { lines, .. } => lines.iter().map(|line| line.len() as u64 / 4 + 1).max().unwrap_or(0),
        };
        let output = u64::from(cell.batch) * u64::from(request.output_tokens);
        let warmup_output = warmups * u64::from(request.warmup_tokens());
        Cost { requests, tokens: requests * prompt + output + warmup_output }
    }

    /// Those of the cells that the budget allows at all.
    pub(super) fn affordable(&self, cells: Vec<Cell>) -> Vec<Cell> {
        let now = self.bus.now();
        let (affordable, beyond): (Vec<Cell>, Vec<Cell>) =
            cells.into_iter().partition(|&cell| self.progress.ledger.affordable_at(self.cost(cell), now).is_some());
        if !beyond.is_empty() {
            let cells = beyond.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            tracing::warn!(target = %self.progress.id, cells, "the budget is too small for these cells; they are left out");
        }
        affordable
    }

    /// Notes what a sample took of the budget. Of requests that were given up, all that was
    /// asked of them.
    pub(super) async fn spend(&mut self, meter: &Meter) {
        let lost = meter.started().saturating_sub(meter.ended());
        let asked = self.cost(Cell::new(1, 1));
        let cost = Cost { requests: meter.started(), tokens: meter.tokens() + lost * asked.tokens };
        self.enter_spending(cost).await;
    }

    /// Notes what single requests took of the budget.
    pub(super) async fn spend_on(&mut self, records: &[RequestRecord]) {
        let tokens = records.iter().map(|record| record.tokens.output + record.tokens.prompt.unwrap_or(0)).sum();
        self.enter_spending(Cost { requests: records.len() as u64, tokens }).await;
    }

    async fn enter_spending(&mut self, cost: Cost) {
        if self.progress.ledger.is_kept() {
            let at = self.bus.now();
            self.progress.ledger.spend(Spent { at, requests: cost.requests, tokens: cost.tokens });
            self.history.spend(self.progress.id.clone(), at, cost.requests, cost.tokens).await;
        }
    }

    /// Waits until nothing holds the target any more.
    pub(super) async fn sit_out(&mut self, mut hold: Hold) {
        self.drop_running(hold.state.as_str()).await;
        let (mut permission, mut hint) = (self.permission(), self.control.listen());
        loop {
            self.enter_state_until(hold.state, hold.until).await;
            if hold.state == SchedulerState::Yielding {
                // The user, the hour and the schedule may have their say meanwhile.
                tokio::select! {
                    () = self.others_are_gone() => return,
                    () = permission.change(&mut hint, REMINDER) => {}
                }
            } else {
                let wait = permission.wait_for(hold.until);
                permission.change(&mut hint, wait).await;
            }
            match self.may_begin_cycle() {
                Err(next) => hold = next,
                Ok(()) if hold.state == SchedulerState::Yielding && self.schedule().yield_to_foreign_load => {}
                Ok(()) => return,
            }
        }
    }

    /// Tells that the running sample is given up, if one is.
    pub(super) async fn drop_running(&mut self, reason: &'static str) {
        if let Some(cell) = self.progress.running.take() {
            self.publish(Happening::SampleDropped { cell, reason }).await;
        }
    }

    /// The rest between two samples: the configured one, or what the duty limit asks for.
    pub(super) async fn rest(&mut self) {
        let schedule = self.schedule();
        let idle_share = 1.0 / schedule.max_duty.clamp(LEAST_DUTY, 1.0) - 1.0;
        let rest = schedule.pause_between_samples.max(self.progress.was_busy.mul_f64(idle_share));
        if !rest.is_zero() {
            self.pause_until(Instant::now() + rest).await;
        }
    }

    /// Waits until the next cycle may start. A user's pause is told meanwhile.
    pub(super) async fn await_next_cycle(&mut self) {
        while let Some(starts) = self.next_cycle_start() {
            match self.may_begin_cycle() {
                Err(hold) => self.sit_out(hold).await,
                Ok(()) => self.pause_until(starts).await,
            }
        }
    }

    fn next_cycle_start(&self) -> Option<Instant> {
        let starts = self.progress.last_cycle_began? + self.schedule().cycle_interval;
        (starts > Instant::now()).then_some(starts)
    }

    /// Waits, but no longer than until the user says something or the schedule changes.
    async fn pause_until(&self, end: Instant) {
        let (mut permission, mut hint) = (self.permission(), self.control.listen());
        let left = end.saturating_duration_since(Instant::now());
        self.enter_state_until(SchedulerState::Pausing, Some(later(self.bus.now(), left))).await;
        permission.change(&mut hint, left).await;
    }
}
