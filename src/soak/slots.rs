//! The server's own slots: each row of the grid gets a server of its own.
//!
//! A switch is over when the server answers a first request, which loads the model. Then it
//! is asked how many slots it has: what it was told to have is never taken as what it has.
//! Whoever holds the lane may switch; who gives it away lets go of a server that this program
//! runs, for it holds on to the hardware.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::backend::Backend;
use super::order::{arranged, by_rows};
use super::target::{Halt, TargetRunner};
use super::trouble::Trouble;
use crate::client::Identified;
use crate::domain::plan::SchedulePlan;
use crate::domain::{Cell, Facts, Grid, Happening, InvalidReason, SchedulerState, ServerIdentity};

/// How often a server that is not ready is asked.
const READY_POLL: Duration = Duration::from_millis(200);
/// How long a server that another program restarts may still show its old slots.
const SETTLE: Duration = Duration::from_secs(5);
/// One answer of a server that may not be ready.
const LOOK_TIMEOUT: Duration = Duration::from_secs(5);

/// After so many failures in a row to open a row, a cycle goes on without it: a server may have
/// no memory for so many slots.
const TRIES: u32 = 2;

/// The row that the server has slots for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) workers: u32,
    /// What the server told, as far as it did.
    pub(super) reported: Option<u32>,
    /// When its switch began, until the server was met with it.
    began: Option<Instant>,
}

impl<B: Backend> TargetRunner<B> {
    /// Meets the server with the slots of a row, or as it is where they are its own affair.
    pub(super) async fn open_row(&mut self) -> Result<(), Halt> {
        let Some(ready_timeout) = self.plan.slots.ready_timeout() else { return self.meet(0).await.map(drop) };
        let workers = self.row_to_open();
        let opened = self.open_row_of(workers, ready_timeout).await;
        match &opened {
            Ok(()) => _ = self.progress.failed_rows.remove(&workers),
            Err(Halt::Trouble(_)) => self.note_failed_row(workers).await,
            Err(Halt::Hold(_) | Halt::ServerChanged) => {}
        }
        opened
    }

    async fn open_row_of(&mut self, workers: u32, ready_timeout: Duration) -> Result<(), Halt> {
        if self.progress.row.is_none_or(|row| row.workers != workers) {
            self.let_others_finish().await?;
            self.progress.row = None;
            self.progress.is_introduced = false;
            let began = Instant::now();
            let permission = self.permission();
            tokio::select! {
                switched = self.switch(workers, began + ready_timeout) => switched?,
                hold = permission.withdrawn() => return Err(hold.into()),
            }
            self.progress.row = Some(Row { workers, reported: None, began: Some(began) });
        }
        let identity = self.meet(workers).await?.identity;
        let Some(began) = self.progress.row.as_mut().and_then(|row| row.began.take()) else {
            return self.row_left(&identity).map_or(Ok(()), |_| Err(Halt::ServerChanged));
        };
        let reported = identity.slots;
        self.progress.row = Some(Row { workers, reported, began: None });
        let seconds = began.elapsed().as_secs_f64();
        self.publish(Happening::SlotsSwitched { workers, reported, seconds }).await;
        Ok(())
    }

    /// When the model of a server that was started for a row has to be loaded.
    pub(super) fn ready_by(&self) -> Option<Instant> {
        Some(self.progress.row?.began? + self.plan.slots.ready_timeout()?)
    }

    /// Leaves the cells of a row out of the cycle that cannot be opened, unless nothing else was
    /// or can be measured.
    async fn note_failed_row(&mut self, workers: u32) {
        let failures = self.progress.failed_rows.entry(workers).or_default();
        *failures = failures.saturating_add(1);
        let is_due = self.progress.pending.iter().any(|cell| cell.workers == workers);
        let has_others = self.progress.pending.iter().any(|cell| cell.workers != workers);
        if *failures >= TRIES && is_due && (has_others || self.progress.has_measured) {
            self.progress.pending.retain(|cell| cell.workers != workers);
            tracing::warn!(
                target = %self.progress.id,
                workers,
                "the server is not ready with so many slots; the cycle goes on without this row"
            );
            if !has_others {
                self.end_cycle().await;
            }
        }
    }

    /// Opens the row of a cell in the middle of a cycle.
    pub(super) async fn change_row(&mut self, cell: Cell) -> Result<(), Halt> {
        let is_open = self.progress.row.is_some_and(|row| row.workers == cell.workers);
        if is_open || !self.plan.slots.is_server() {
            return Ok(());
        }
        self.open_row().await?;
        // Another epoch has begun a cycle of its own.
        self.progress.cycle_began.map_or(Err(Halt::ServerChanged), |_| Ok(()))
    }

    /// How many requests of a cell are in flight at once.
    pub(super) fn in_flight(&self, cell: Cell) -> u32 {
        if self.plan.slots.is_server() { cell.batch } else { cell.workers }
    }

    /// The row of the cell that is next; of a new cycle the row that runs.
    fn row_to_open(&self) -> u32 {
        let next = self.progress.pending.front().map(|cell| cell.workers);
        let running = self.progress.row.map(|row| row.workers);
        let first = || {
            let schedule = self.schedule();
            let cells = self.in_order(self.grid_of(None).measured(), &schedule, self.progress.cycle + 1);
            let rows = cells.iter().map(|cell| cell.workers);
            rows.min_by_key(|workers| self.progress.failed_rows.get(workers).copied().unwrap_or(0))
        };
        next.or(running).or_else(first).unwrap_or(1)
    }

    /// The cells in the order in which a cycle measures them.
    pub(super) fn in_order(&self, cells: Vec<Cell>, schedule: &SchedulePlan, cycle: u64) -> Vec<Cell> {
        let cells = arranged(cells, schedule.order, schedule.seed, cycle);
        if self.plan.slots.is_server() { by_rows(cells, self.progress.row.map(|row| row.workers)) } else { cells }
    }

    /// The grid for a server that tells so many slots. Where they are ours to give, they say
    /// nothing of it.
    pub(super) fn grid_of(&self, slots: Option<u32>) -> Grid {
        self.plan.grid.grid(slots.filter(|_| !self.plan.slots.is_server()))
    }

    /// Whoever uses the server may finish before it is started again.
    async fn let_others_finish(&mut self) -> Result<(), Halt> {
        // Only a server that told who it is can be looked at.
        let known = timeout_at(Instant::now() + LOOK_TIMEOUT, self.backend.identify()).await;
        if matches!(known, Ok(Ok(_))) {
            self.progress.last_look = None;
            self.yield_to_others().await?;
        }
        self.enter_state(SchedulerState::SwitchingSlots).await;
        Ok(())
    }

    /// Switches, and returns when the server tells who it is.
    pub(super) async fn switch(&self, workers: u32, deadline: Instant) -> Result<(), Trouble> {
        let unready = |last: &str| Trouble::away(format!("not ready within slots.ready_timeout: {last}"));
        self.backend.switch_slots(workers).await.map_err(Trouble::away)?;
        let settled = Instant::now() + SETTLE;
        let mut last = "no answer".to_owned();
        loop {
            if let Some(end) = self.backend.server_end().await {
                return Err(Trouble::away(format!("the server ended: {end}")));
            }
            match timeout_at(deadline, self.backend.identify()).await {
                Ok(Ok(Identified { identity, .. })) => {
                    let is_as_asked = identity.slots.is_none_or(|slots| slots == workers);
                    if is_as_asked || self.plan.slots.runs_the_server() || Instant::now() >= settled {
                        // Another server may have taken the place of one that ended.
                        let end = self.backend.server_end().await;
                        return end.map_or(Ok(()), |end| Err(Trouble::away(format!("the server ended: {end}"))));
                    }
                    last = format!("it tells of {} slots", identity.slots.unwrap_or(0));
                }
                Ok(Err(failure)) => last = failure.to_string(),
                Err(_) => return Err(unready(&last)),
            }
            if Instant::now() >= deadline {
                return Err(unready(&last));
            }
            sleep(READY_POLL).await;
        }
    }

    /// Why a server is no longer that of the running row, if it is not. The next cell has it
    /// switched again then. What was not told is no change.
    pub(super) fn row_left(&mut self, identity: &ServerIdentity) -> Option<InvalidReason> {
        let row = self.progress.row.as_mut()?;
        let (known, seen) = (row.reported.or(identity.slots), identity.slots.or(row.reported));
        row.reported = known;
        if known == seen {
            return None;
        }
        self.progress.row = None;
        Some(InvalidReason::SlotsChanged)
    }

    /// What may not change within an epoch. Slots that are switched may, and the context of a
    /// slot is then that of its row: servers that share out a total have another one in each.
    /// `seen` is what surrounds the server.
    pub(super) fn facts_of(&self, identity: &ServerIdentity, workers: u32, seen: &Facts) -> Facts {
        let mut facts = self.surroundings.identity(identity.facts(), seen);
        if self.plan.slots.is_server() {
            facts.remove("slots");
            if let Some(context) = facts.remove("context_per_slot") {
                facts.insert(format!("context_per_slot of {workers} workers"), context);
            }
        }
        facts
    }

    /// Lets go of a server that this program runs: somebody else needs what it holds.
    pub(super) async fn let_go(&mut self) {
        if self.plan.slots.runs_the_server() {
            self.progress.row = None;
            self.backend.release().await;
        }
    }
}
