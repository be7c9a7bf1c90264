//! Where a target stands: what must outlive a pause, an outage, a change of the schedule.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::budget::Ledger;
use super::choice::Learned;
use super::meter::Meter;
use super::slots::Row;
use super::usual::UsualOfEpoch;
use crate::client::{Dropped, Identified};
use crate::domain::plan::Api;
use crate::domain::{Cell, Epoch, EstimatePlan, Grid, Occupancy, Sample, ServerKind, TargetId};

/// A cell at work.
#[derive(Clone, Debug)]
pub(super) struct Running {
    pub(super) cell: Cell,
    pub(super) meter: Arc<Meter>,
    /// When its cost was booked.
    pub(super) booked_at: Timestamp,
    pub(super) began: Instant,
}

/// Where a target stands.
#[derive(Debug)]
pub(super) struct Progress {
    pub(super) id: TargetId,
    pub(super) epoch: Option<Arc<Epoch>>,
    pub(super) grid: Option<Arc<Grid>>,
    pub(super) slots: Option<u32>,
    /// The share of the model in the GPU's memory, as last told.
    pub(super) gpu_share: Option<f64>,
    /// The row that the server was given slots for, where the slots are its own.
    pub(super) row: Option<Row>,
    /// How often in a row each row could not be opened.
    pub(super) failed_rows: BTreeMap<u32, u32>,
    /// Whether a cell of the running cycle was measured.
    pub(super) has_measured: bool,
    /// The running or last cycle.
    pub(super) cycle: u64,
    pub(super) pending: VecDeque<Cell>,
    pub(super) cycle_began: Option<Instant>,
    /// When the last cycle began, complete or not.
    pub(super) last_cycle_began: Option<Instant>,
    pub(super) last_cycle_took: Option<Duration>,
    pub(super) completed: u64,
    /// What is being warmed up or measured.
    pub(super) running: Option<Running>,
    /// How long each cell took the last time, its warm-up included, or took at least.
    pub(super) took: BTreeMap<Cell, Duration>,
    /// When the last sample ended, whole or not, and how long it kept the lane busy.
    pub(super) last_busy: Option<(Instant, Duration)>,
    /// The longest prompt so far that the server told the length of, tokens.
    pub(super) longest_prompt: u64,
    /// Whether the server's fields were settled since it was last away.
    pub(super) is_introduced: bool,
    /// What was settled and is yet to be told: the history knows a target from its first epoch on.
    pub(super) dropped: Option<Dropped>,
    pub(super) troubles: u32,
    /// Whether the cell that is next was cut short at its first try.
    pub(super) is_second_try: bool,
    /// How often the server changed since a cycle was complete.
    pub(super) restless: u32,
    /// How often in a row others were seen right after a warm-up.
    pub(super) yields: u32,
    /// The server that the requests are made for.
    server: Option<(Api, ServerKind, String)>,
    /// Fields that it refused.
    pub(super) left_out: BTreeSet<&'static str>,
    pub(super) usual: UsualOfEpoch,
    /// What the next adaptive cycle is chosen from.
    pub(super) learned: Learned,
    /// When the server last told that it is that of the running epoch. `None` where it may
    /// have restarted since.
    pub(super) confirmed_at: Option<Instant>,
    /// The last look at the server, if nothing of ours ran since.
    pub(super) last_look: Option<Occupancy>,
    /// When the last canary was sent.
    pub(super) canary_at: Option<Timestamp>,
    pub(super) ledger: Ledger,
}

impl Progress {
    /// Nothing measured yet, or in another life.
    pub(super) fn new(id: TargetId, ledger: Ledger, canary_at: Option<Timestamp>) -> Self {
        Self {
            id,
            epoch: None,
            grid: None,
            slots: None,
            gpu_share: None,
            row: None,
            failed_rows: BTreeMap::new(),
            has_measured: false,
            cycle: 0,
            pending: VecDeque::new(),
            cycle_began: None,
            last_cycle_began: None,
            last_cycle_took: None,
            completed: 0,
            running: None,
            took: BTreeMap::new(),
            last_busy: None,
            longest_prompt: 0,
            is_introduced: false,
            dropped: None,
            troubles: 0,
            is_second_try: false,
            restless: 0,
            yields: 0,
            server: None,
            left_out: BTreeSet::new(),
            usual: UsualOfEpoch::default(),
            learned: Learned::default(),
            confirmed_at: None,
            last_look: None,
            canary_at,
            ledger,
        }
    }

    /// Another server, or another model on it, has to be introduced anew.
    pub(super) fn meet(&mut self, seen: &Identified) {
        let server = (seen.api, seen.identity.kind, seen.identity.model.clone());
        if self.server.as_ref() != Some(&server) {
            self.is_introduced = false;
            self.left_out.clear();
            self.server = Some(server);
        }
    }

    /// Enters an epoch that did not run before. A cycle belongs to one epoch: what is left of
    /// the last one is not measured.
    pub(super) fn enter(
        &mut self,
        epoch: Arc<Epoch>,
        grid: Arc<Grid>,
        samples: &[Sample],
        last_cycle: u64,
        estimates: &EstimatePlan,
    ) {
        self.epoch = Some(epoch);
        self.grid = Some(grid);
        self.pending.clear();
        self.cycle_began = None;
        self.usual = UsualOfEpoch::of(samples);
        self.cycle = self.cycle.max(last_cycle);
        self.learned = Learned::of(samples, self.cycle, estimates);
    }
}
