//! What is known now, in one piece: built from events, read by metrics and pages.
//!
//! A reader sees one state, never half of an event. The board knows nothing that the
//! history does not, but for what runs this moment.

mod changes;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use tokio::time::Instant;

use super::clock::later;
use crate::analysis::conclusions::{Conclusions, Question};
use crate::analysis::estimate::RateEstimate;
use crate::analysis::optimum::Optimum;
use crate::analysis::slots::RowSlots;
use crate::domain::{
    Canary, Cell, EnvironmentChanges, Epoch, EstimatePlan, Event, Grid, Happening, NamedCells, Sample, SchedulerState,
    ServerIdentity, SlotsMode, TargetId,
};

pub use changes::Changes;

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

/// When something must have happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// For people, and for others' clocks.
    pub at: Timestamp,
    /// The same on the monotonic clock, which nobody sets and which rests while the machine sleeps.
    pub moment: Instant,
}

impl Due {
    /// Due at `at`, where it is `now`.
    fn of(now: Timestamp, at: Timestamp) -> Self {
        let left = Duration::try_from(at.duration_since(now)).unwrap_or_default();
        Self { at, moment: Instant::now() + left }
    }
}

/// A measured cell of the running epoch.
#[derive(Clone, Debug)]
pub struct CellSnapshot {
    pub last_attempt: Arc<Sample>,
    pub last_valid: Option<Arc<Sample>>,
    /// The newest valid samples, of which conclusions are drawn. Shared: snapshots are copied
    /// with each event.
    valid: Arc<VecDeque<Arc<Sample>>>,
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
    /// Since when the target is held, while it is.
    held_since: Option<Timestamp>,
    /// When the state ends by itself, as far as that is known.
    pub state_until: Option<Timestamp>,
    pub identity: Option<Arc<ServerIdentity>>,
    pub epoch: Option<Arc<Epoch>>,
    /// What changed from epoch to epoch, over the whole history.
    pub environment_changes: Arc<EnvironmentChanges>,
    pub grid: Option<Arc<Grid>>,
    /// The running or last cycle, 0 before the first.
    pub cycle: u64,
    pub cycle_cells: u32,
    /// Those of them that were attempted.
    cycle_done: BTreeSet<Cell>,
    pub cycle_due_at: Option<Timestamp>,
    pub cycle_seconds: Option<f64>,
    pub cycle_completed_at: Option<Timestamp>,
    /// The cell that is being measured.
    pub current: Option<Cell>,
    pub sample_due: Option<Due>,
    pub sample_completed_at: Option<Timestamp>,
    /// The cells of the running epoch that were attempted, by canonical cell.
    pub cells: BTreeMap<Cell, CellSnapshot>,
    /// What the samples of the running epoch say.
    pub conclusions: Arc<Conclusions>,
    /// The last canary, and when it came back.
    pub canary: Option<(Timestamp, Canary)>,
    /// What became slower or faster. Shared: snapshots are copied with each event.
    pub changes: Arc<Changes>,
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
            held_since: None,
            state_until: None,
            identity: None,
            epoch: None,
            environment_changes: Arc::default(),
            grid: None,
            cycle: 0,
            cycle_cells: 0,
            cycle_done: BTreeSet::new(),
            cycle_due_at: None,
            cycle_seconds: None,
            cycle_completed_at: None,
            current: None,
            sample_due: None,
            sample_completed_at: None,
            cells: BTreeMap::new(),
            conclusions: Arc::default(),
            canary: None,
            changes: Arc::default(),
            notes: VecDeque::new(),
        }
    }

    /// How many cells of the running cycle were attempted.
    pub fn cycle_cells_done(&self) -> u32 {
        u32::try_from(self.cycle_done.len()).unwrap_or(u32::MAX)
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

    fn add_sample(&mut self, sample: &Arc<Sample>, plan: &EstimatePlan) {
        let canonical = self.grid.as_ref().map_or(sample.cell, |grid| grid.canonical(sample.cell));
        let cell = self.cells.entry(canonical).or_insert_with(|| CellSnapshot {
            last_attempt: sample.clone(),
            last_valid: None,
            valid: Arc::default(),
        });
        cell.last_attempt = sample.clone();
        if sample.is_valid() {
            cell.last_valid = Some(sample.clone());
            let valid = Arc::make_mut(&mut cell.valid);
            valid.push_back(sample.clone());
            valid.drain(..valid.len().saturating_sub(plan.window.samples));
        }
    }

    /// Whether the workers of a row are the server's own slots.
    pub fn is_in_server_mode(&self) -> bool {
        self.epoch.as_ref().is_some_and(|epoch| epoch.slots_mode() == SlotsMode::Server)
    }

    /// What is known of the slots of a row.
    pub fn row(&self, workers: u32) -> Option<&RowSlots> {
        self.conclusions.rows.iter().find(|row| row.requested == workers)
    }

    /// The rate of the cell that `cell` shows, as far as it was measured.
    pub fn estimate(&self, cell: Cell) -> Option<&RateEstimate> {
        let canonical = self.grid.as_ref().map_or(cell, |grid| grid.canonical(cell));
        self.conclusions.rates.get(canonical)
    }

    pub fn optimum(&self) -> Option<&Optimum> {
        self.conclusions.optimum.as_ref()
    }

    /// The cells that are named best.
    pub fn named(&self) -> Option<NamedCells> {
        self.optimum().map(Optimum::named)
    }

    /// The last valid sample of the cell that is measured several times a cycle.
    pub fn reference(&self) -> Option<&Sample> {
        self.cells.get(&self.conclusions.reference?)?.last_valid.as_deref()
    }

    /// Looks at the samples as a whole: what each row got, and which cell is the best.
    /// `named` is what was named before.
    fn conclude(&mut self, plan: &EstimatePlan, named: Option<&NamedCells>) {
        let (Some(grid), Some(epoch)) = (&self.grid, &self.epoch) else { return };
        let question =
            Question { grid, is_server_mode: self.is_in_server_mode(), slots: epoch.slots(), plan, published: named };
        let samples = self.cells.values().flat_map(|known| known.valid.iter()).map(AsRef::as_ref);
        self.conclusions = Arc::new(Conclusions::of(&question, samples));
    }

    fn enter_epoch(
        &mut self,
        epoch: &Arc<Epoch>,
        grid: &Arc<Grid>,
        samples: &[Sample],
        named: Option<&NamedCells>,
        plan: &EstimatePlan,
    ) {
        self.epoch = Some(epoch.clone());
        Arc::make_mut(&mut self.changes).enter(epoch.id);
        self.grid = Some(grid.clone());
        self.cells.clear();
        self.conclusions = Arc::default();
        for sample in samples.iter().filter(|sample| grid.contains(sample.cell)) {
            self.add_sample(&Arc::new(sample.clone()), plan);
        }
        self.sample_completed_at = samples.last().map(|sample| sample.completed_at).or(self.sample_completed_at);
        self.conclude(plan, named);
    }

    /// The time of a hold is none of the cycle's: at its end the cycle is due later by it.
    fn count_hold(&mut self, at: Timestamp) {
        if self.state.is_held() {
            self.held_since.get_or_insert(at);
        } else if let Some(since) = self.held_since.take() {
            let held = Duration::try_from(at.duration_since(since)).unwrap_or_default();
            self.cycle_due_at = self.cycle_due_at.map(|due| later(due, held));
        }
    }

    /// Whether a reader could see a difference. Most requests make none.
    fn is_news(&self, happening: &Happening) -> bool {
        match happening {
            Happening::RequestStarted => false,
            Happening::RequestEnded(end) => end.reached_the_server().is_some_and(|up| self.up != Some(up)),
            _ => true,
        }
    }

    fn apply(&mut self, event: &Event, plan: &EstimatePlan) {
        if self.id != event.target {
            // Another model: nothing that was measured of the last one may bear its name.
            let (url, lane) = (std::mem::take(&mut self.url), std::mem::take(&mut self.lane));
            let (up, notes) = (self.up, std::mem::take(&mut self.notes));
            *self = Self { up, notes, ..Self::new(event.target.clone(), url, lane) };
        }
        match &event.happening {
            Happening::StateChanged { state, until, due_at } => {
                self.state = *state;
                self.state_until = *until;
                self.count_hold(event.at);
                self.sample_due = due_at.map(|due_at| Due::of(event.at, due_at)).or(self.sample_due);
                if *state != SchedulerState::Warmup && *state != SchedulerState::Running {
                    self.current = None;
                }
            }
            Happening::Identified(identity) => {
                self.up = Some(true);
                self.identity = Some(identity.clone());
            }
            Happening::Away { reason, is_first } => {
                self.up = Some(false);
                if *is_first {
                    self.note(event.at, format!("the server is away: {reason}"));
                }
            }
            Happening::SlotsSwitched { workers, reported, .. } => {
                if let Some(reported) = reported.filter(|reported| reported != workers) {
                    self.note(event.at, format!("the server was asked for {workers} slots and tells of {reported}"));
                }
            }
            Happening::CanaryEnded(canary) => self.canary = Some((event.at, *canary)),
            Happening::ChangesRestored(_)
            | Happening::ChangeFound(_)
            | Happening::ChangeWithdrawn { .. }
            | Happening::AlarmTurned { .. }
            | Happening::BaselineChosen(_)
            | Happening::Compared(_) => Arc::make_mut(&mut self.changes).apply(&event.happening),
            Happening::FieldsDropped { fields, reason } => {
                self.note(event.at, format!("left out of requests from now on: {} ({reason})", fields.join(", ")));
            }
            Happening::EpochEntered { epoch, grid, samples, named, before, changes } => {
                if before.is_some() {
                    self.note(event.at, format!("epoch {} begins: {}", epoch.id, changes_in_words(before, epoch)));
                }
                self.environment_changes = changes.clone();
                self.enter_epoch(epoch, grid, samples, named.as_ref(), plan);
            }
            Happening::EpochLearned(epoch) => self.epoch = Some(epoch.clone()),
            Happening::CycleStarted { cycle, cells, due_at } => {
                (self.cycle, self.cycle_cells) = (*cycle, *cells);
                self.cycle_done.clear();
                self.cycle_due_at = *due_at;
            }
            Happening::SampleStarted { cell, due_at } => {
                self.current = Some(*cell);
                self.sample_due = Some(Due::of(event.at, *due_at));
            }
            Happening::Joined { url, lane } => {
                self.url.clone_from(url);
                self.lane.clone_from(lane);
            }
            Happening::SampleDropped { cell, reason } => {
                self.current = None;
                self.note(event.at, format!("sample of {cell} dropped: {reason}"));
            }
            Happening::Left | Happening::RequestStarted => {}
            Happening::RequestEnded(end) => self.up = end.reached_the_server().or(self.up),
            Happening::SampleEnded { sample, .. } => {
                self.current = None;
                self.cycle_done.insert(sample.cell);
                self.sample_completed_at = Some(sample.completed_at);
                if !sample.is_valid() {
                    let reasons: Vec<&str> = sample.invalid.iter().map(|reason| reason.as_str()).collect();
                    self.note(event.at, format!("sample of {} rejected: {}", sample.cell, reasons.join(", ")));
                }
                self.add_sample(sample, plan);
                // One that was rejected says nothing.
                if sample.is_valid() {
                    let named = self.named();
                    self.conclude(plan, named.as_ref());
                }
            }
            Happening::CycleEnded { seconds, .. } => {
                self.cycle_seconds = Some(*seconds);
                self.cycle_completed_at = Some(event.at);
                self.cycle_due_at = Some(later(event.at, Duration::try_from_secs_f64(*seconds).unwrap_or_default()));
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
    plan: Arc<ArcSwap<EstimatePlan>>,
}

impl Board {
    /// A board of targets about which nothing is known yet.
    pub fn new(targets: impl IntoIterator<Item = TargetSnapshot>) -> Self {
        let targets = targets.into_iter().map(|target| (target.id.name.clone(), Arc::new(target))).collect();
        Self { current: Arc::new(ArcSwap::from_pointee(Snapshot { targets })), plan: Arc::default() }
    }

    /// Concludes in that way from now on: from the next valid sample of each target.
    pub fn conclude_by(&self, plan: EstimatePlan) {
        self.plan.store(Arc::new(plan));
    }

    /// The state at this moment.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Takes an event in. One writer only: the task that listens to the bus.
    pub fn apply(&self, event: &Event) {
        let before = self.current.load();
        let name = &event.target.name;
        let after = match (before.targets.get(name), &event.happening) {
            (None, Happening::Joined { url, lane }) => {
                Some(TargetSnapshot::new(event.target.clone(), url.clone(), lane.clone()))
            }
            (Some(_), Happening::Left) => None,
            (Some(known), happening) if known.is_news(happening) => {
                let mut target = TargetSnapshot::clone(known);
                target.apply(event, &self.plan.load());
                Some(target)
            }
            // What is still told of a target that has left is no news either.
            _ => return,
        };
        let mut targets = before.targets.clone();
        match after {
            Some(target) => targets.insert(name.clone(), Arc::new(target)),
            None => targets.remove(name),
        };
        self.current.store(Arc::new(Snapshot { targets }));
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn a_cycle_is_due_later_by_the_time_it_was_held() {
        let target = TargetId::new("a", "m");
        let board = Board::new([TargetSnapshot::new(target.clone(), String::new(), String::new())]);
        let tell = |seconds: i64, happening| {
            board.apply(&Event {
                target: target.clone(),
                at: Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds),
                happening,
            });
        };
        let state = |state| Happening::StateChanged { state, until: None, due_at: None };
        let due_at = Some(Timestamp::UNIX_EPOCH + SignedDuration::from_secs(100));
        tell(0, Happening::CycleStarted { cycle: 1, cells: 4, due_at });
        tell(10, state(SchedulerState::Yielding));
        tell(20, state(SchedulerState::Paused));
        tell(40, state(SchedulerState::Running));
        tell(50, state(SchedulerState::Pausing));
        let due = board.snapshot().targets.values().find_map(|target| target.cycle_due_at);
        assert_eq!(due.map(Timestamp::as_second), Some(130));
    }
}
