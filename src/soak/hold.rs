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
use super::bus::Bus;
use super::clock::later;
use super::control::{Control, Hint};
use super::progress::Running;
use super::target::{REMINDER, TargetRunner};
use crate::domain::plan::SchedulePlan;
use crate::domain::{Cell, Cost, Happening, SchedulerState, Spent};

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
    pub(super) fn hold(&self) -> Option<Hold> {
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
    pub(super) async fn change(&mut self, hint: &mut Hint, wait: Duration) {
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

    fn hold_of(&self, cell: Cell) -> Option<Hold> {
        self.permission().hold().or_else(|| self.window_too_short(cell)).or_else(|| self.over_budget(self.cost(cell)))
    }

    /// Whether a cell may be measured now, as far as it does not depend on others.
    pub(super) fn may_begin(&self, cell: Cell) -> Result<(), Hold> {
        self.hold_of(cell).map_or(Ok(()), Err)
    }

    /// Whether a first request may be sent now.
    pub(super) fn may_introduce(&self) -> Result<(), Hold> {
        let cost = Cost::of_introduction(&self.plan.request, self.prompt_tokens());
        self.over_budget(cost).map_or(Ok(()), Err)
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

    /// Until when the budget does not allow so much; it may never.
    fn over_budget(&self, cost: Cost) -> Option<Hold> {
        let now = self.bus.now();
        let at = self.progress.ledger.affordable_at(cost, now);
        at.is_none_or(|at| at > now).then(|| Hold::until(SchedulerState::OverBudget, at))
    }

    pub(super) fn cost(&self, cell: Cell) -> Cost {
        Cost::of_sample(cell, &self.plan.request, self.schedule().warmup_requests, self.prompt_tokens())
    }

    /// The planned length of a prompt, or what the server made of it.
    pub(super) fn prompt_tokens(&self) -> u64 {
        self.plan.request.prompt_tokens().max(self.progress.longest_prompt)
    }

    /// Those of the cells that the budget allows at all.
    pub(super) fn affordable(&self, cells: Vec<Cell>) -> Vec<Cell> {
        let now = self.bus.now();
        let is_affordable = |cell: &Cell| self.progress.ledger.affordable_at(self.cost(*cell), now).is_some();
        let (affordable, beyond): (Vec<Cell>, Vec<Cell>) = cells.into_iter().partition(is_affordable);
        if !beyond.is_empty() {
            let cells = beyond.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            tracing::warn!(target = %self.progress.id, cells, "the budget is too small for these cells; they are left out");
        }
        affordable
    }

    /// Books what a sample will cost at most, before it is sent: a program that ends in the
    /// middle, whichever way, has spent it.
    pub(super) async fn book(&mut self, cost: Cost) -> Timestamp {
        let at = self.bus.now();
        self.enter_spending(Spent { at, cost }, None).await;
        at
    }

    /// Enters what was spent in the place of what was booked.
    pub(super) async fn settle(&mut self, booked_at: Timestamp, cost: Cost) {
        self.progress.ledger.strike(booked_at);
        self.enter_spending(Spent { at: self.bus.now(), cost }, Some(booked_at)).await;
    }

    async fn enter_spending(&mut self, spent: Spent, replaced: Option<Timestamp>) {
        self.progress.ledger.enter(spent);
        self.history.spend(self.progress.id.clone(), spent, replaced).await;
    }

    /// Waits until nothing holds the target any more. One that yields is held no longer: it
    /// waits with its lane.
    pub(super) async fn sit_out(&mut self, mut hold: Hold) {
        self.end_running(Some(hold.state.as_str())).await;
        let (mut permission, mut hint) = (self.permission(), self.control.listen());
        let is_over = match hold.state {
            // It waits with its lane.
            SchedulerState::Yielding => true,
            // That of a first request, or of every cell, is no cell's.
            SchedulerState::OverBudget => false,
            // The user may have spoken before this listened.
            _ => self.may_begin_cycle().is_ok(),
        };
        if is_over {
            return;
        }
        // A server of ours holds the hardware.
        self.let_go().await;
        self.surroundings.let_go();
        tracing::info!(target = %self.progress.id, state = %hold.state, "held");
        loop {
            self.enter_state_until(hold.state, hold.until).await;
            let wait = permission.wait_for(hold.until);
            permission.change(&mut hint, wait).await;
            match self.may_begin_cycle() {
                Err(next) => hold = next,
                Ok(()) => break,
            }
        }
        tracing::info!(target = %self.progress.id, "held no longer");
    }

    /// Ends the running sample, if one runs: its cost is settled, its time noted. Told as
    /// dropped for a `reason`, unless it came to its end.
    pub(super) async fn end_running(&mut self, reason: Option<&'static str>) {
        let Some(Running { cell, meter, booked_at, began }) = self.progress.running.take() else { return };
        self.progress.last_busy = Some((Instant::now(), began.elapsed()));
        let took = self.progress.took.entry(cell).or_default();
        // One that was cut short takes so long at least.
        *took = if reason.is_some() { began.elapsed().max(*took) } else { began.elapsed() };
        self.settle(booked_at, meter.cost()).await;
        if let Some(reason) = reason {
            self.publish(Happening::SampleDropped { cell, reason }).await;
        }
    }

    /// The rest after a sample: the configured one, or what the duty limit asks for. With the
    /// lane, whose duty is that of all its targets.
    pub(super) async fn rest(&self) -> Result<(), Hold> {
        while let Some(end) = self.end_of_rest() {
            if let Some(hold) = self.permission().hold() {
                return Err(hold);
            }
            self.pause_until(end).await;
        }
        Ok(())
    }

    fn end_of_rest(&self) -> Option<Instant> {
        let (ended, busy) = self.progress.last_busy?;
        let schedule = self.schedule();
        let idle_share = 1.0 / schedule.max_duty.clamp(LEAST_DUTY, 1.0) - 1.0;
        let end = ended + schedule.pause_between_samples.max(busy.mul_f64(idle_share));
        (end > Instant::now()).then_some(end)
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

    pub(super) fn next_cycle_start(&self) -> Option<Instant> {
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
