//! What is known now, in one piece: built from events, read by metrics and pages.
//!
//! A reader sees one state, never half of an event. The board knows nothing that the
//! history does not, but for what runs this moment.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::Timestamp;

use crate::analysis::optimum::{Optimum, RateEstimate, RateEstimates, optimum};
use crate::domain::{Cell, Epoch, Event, Grid, Happening, Sample, SchedulerState, ServerIdentity, TargetId};

/// Notes that a page shows; older ones are in the history.
const NOTES: usize = 50;

/// All targets at one time, by name.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub targets: BTreeMap<Arc<str>, Arc<TargetSnapshot>>,
}

/// A line for people: what happened when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    pub at: Timestamp,
    pub text: String,
}

/// A measured cell of the running epoch.
#[derive(Clone, Debug)]
pub struct CellSnapshot {
    pub last_attempt: Arc<Sample>,
    pub last_valid: Option<Arc<Sample>>,
    /// Token rates of all valid samples, tokens per second.
    rates: Vec<f64>,
    pub estimate: Option<RateEstimate>,
}

/// One target at one time.
#[derive(Clone, Debug)]
pub struct TargetSnapshot {
    pub id: TargetId,
    pub url: String,
    pub lane: String,
    /// Whether the server answered its last request or probe; unknown before the first.
    pub up: Option<bool>,
    pub state: SchedulerState,
    pub identity: Option<Arc<ServerIdentity>>,
    pub epoch: Option<Arc<Epoch>>,
    pub grid: Option<Arc<Grid>>,
    /// The running or last cycle, 0 before the first.
    pub cycle: u64,
    pub cycle_cells: u32,
    pub cycle_cells_done: u32,
    pub cycle_due_at: Option<Timestamp>,
    pub cycle_seconds: Option<f64>,
    pub cycle_completed_at: Option<Timestamp>,
    /// The cell that is being measured.
    pub current: Option<Cell>,
    pub sample_due_at: Option<Timestamp>,
    pub sample_completed_at: Option<Timestamp>,
    /// The cells of the running epoch that were attempted, by canonical cell.
    pub cells: BTreeMap<Cell, CellSnapshot>,
    pub optimum: Option<Optimum>,
    /// The newest last.
    pub notes: VecDeque<Note>,
}

impl TargetSnapshot {
    pub fn new(id: TargetId, url: String, lane: String) -> Self {
        Self {
            id,
            url,
            lane,
            up: None,
            state: SchedulerState::Starting,
            identity: None,
            epoch: None,
            grid: None,
            cycle: 0,
            cycle_cells: 0,
            cycle_cells_done: 0,
            cycle_due_at: None,
            cycle_seconds: None,
            cycle_completed_at: None,
            current: None,
            sample_due_at: None,
            sample_completed_at: None,
            cells: BTreeMap::new(),
            optimum: None,
            notes: VecDeque::new(),
        }
    }

    /// The snapshot of the cell that `cell` shows.
    pub fn cell(&self, cell: Cell) -> Option<&CellSnapshot> {
        let canonical = self.grid.as_ref().map_or(cell, |grid| grid.canonical(cell));
        self.cells.get(&canonical)
    }

    fn note(&mut self, at: Timestamp, text: String) {
        self.notes.push_back(Note { at, text });
        if self.notes.len() > NOTES {
            self.notes.pop_front();
        }
    }

    fn add_sample(&mut self, sample: &Arc<Sample>) {
        let cell = self.cells.entry(sample.cell).or_insert_with(|| CellSnapshot {
            last_attempt: sample.clone(),
            last_valid: None,
            rates: Vec::new(),
            estimate: None,
        });
        cell.last_attempt = sample.clone();
        if sample.is_valid() {
            cell.last_valid = Some(sample.clone());
            cell.rates.push(sample.measurement.tokens_per_second);
            cell.estimate = RateEstimate::of(&cell.rates);
        }
    }

    fn name_optimum(&mut self) {
        let estimates: RateEstimates =
            self.cells.iter().filter_map(|(cell, known)| Some((*cell, known.estimate?))).collect();
        self.optimum = self.grid.as_ref().and_then(|grid| optimum(grid, &estimates));
    }

    fn enter_epoch(&mut self, epoch: &Arc<Epoch>, grid: &Arc<Grid>, samples: &[Sample]) {
        self.epoch = Some(epoch.clone());
        self.grid = Some(grid.clone());
        self.cells.clear();
        for sample in samples.iter().filter(|sample| grid.contains(sample.cell)) {
            self.add_sample(&Arc::new(sample.clone()));
        }
        self.sample_completed_at = samples.last().map(|sample| sample.completed_at).or(self.sample_completed_at);
        self.name_optimum();
    }

    /// Whether a reader could see a difference. Most requests make none.
    fn is_news(&self, happening: &Happening) -> bool {
        match happening {
            Happening::RequestStarted => false,
            Happening::RequestEnded(end) => self.up != Some(end.reached_the_server()),
            _ => true,
        }
    }

    fn apply(&mut self, event: &Event) {
        self.id = event.target.clone();
        match &event.happening {
            Happening::StateChanged { state, due_at } => {
                self.state = *state;
                self.sample_due_at = due_at.or(self.sample_due_at);
                if *state != SchedulerState::Warmup && *state != SchedulerState::Running {
                    self.current = None;
                }
            }
            Happening::Identified(identity) => {
                self.up = Some(true);
                self.identity = Some(identity.clone());
            }
            Happening::Away { reason } => {
                self.up = Some(false);
                self.note(event.at, format!("the server is away: {reason}"));
            }
            Happening::FieldsDropped { fields, reason } => {
                self.note(event.at, format!("left out of requests from now on: {} ({reason})", fields.join(", ")));
            }
            Happening::EpochEntered { epoch, grid, samples, before } => {
                if before.is_some() {
                    self.note(event.at, format!("epoch {} begins: {}", epoch.id, changes_in_words(before, epoch)));
                }
                self.enter_epoch(epoch, grid, samples);
            }
            Happening::CycleStarted { cycle, cells, due_at } => {
                (self.cycle, self.cycle_cells, self.cycle_cells_done) = (*cycle, *cells, 0);
                self.cycle_due_at = *due_at;
            }
            Happening::SampleStarted { cell, due_at } => {
                self.current = Some(*cell);
                self.sample_due_at = Some(*due_at);
            }
            Happening::RequestStarted => {}
            Happening::RequestEnded(end) => self.up = Some(end.reached_the_server()),
            Happening::SampleEnded { sample, .. } => {
                self.current = None;
                self.cycle_cells_done += 1;
                self.sample_completed_at = Some(sample.completed_at);
                if !sample.is_valid() {
                    let reasons: Vec<&str> = sample.invalid.iter().map(|reason| reason.as_str()).collect();
                    self.note(event.at, format!("sample of {} rejected: {}", sample.cell, reasons.join(", ")));
                }
                self.add_sample(sample);
                self.name_optimum();
            }
            Happening::CycleEnded { seconds, .. } => {
                self.cycle_seconds = Some(*seconds);
                self.cycle_completed_at = Some(event.at);
            }
        }
    }
}

fn changes_in_words(before: &Option<Arc<Epoch>>, epoch: &Epoch) -> String {
    let changes = before.as_ref().map(|before| before.changes_to(epoch)).unwrap_or_default();
    if changes.is_empty() { "measured differently than before".to_owned() } else { changes.join("; ") }
}

/// Keeps the newest snapshot. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Board {
    current: Arc<ArcSwap<Snapshot>>,
}

impl Board {
    /// A board of targets about which nothing is known yet.
    pub fn new(targets: impl IntoIterator<Item = TargetSnapshot>) -> Self {
        let targets = targets.into_iter().map(|target| (target.id.name.clone(), Arc::new(target))).collect();
        Self { current: Arc::new(ArcSwap::from_pointee(Snapshot { targets })) }
    }

    /// The state at this moment.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Takes an event in. One writer only: the task that listens to the bus.
    pub fn apply(&self, event: &Event) {
        let before = self.current.load();
        let Some(target) = before.targets.get(&event.target.name) else { return };
        if !target.is_news(&event.happening) {
            return;
        }
        let mut target = TargetSnapshot::clone(target);
        target.apply(event);
        let mut targets = before.targets.clone();
        targets.insert(event.target.name.clone(), Arc::new(target));
        self.current.store(Arc::new(Snapshot { targets }));
    }
}
