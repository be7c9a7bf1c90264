//! A soak of simulated servers with a real history.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc::{self, Receiver};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::domain::plan::{
    BudgetPlan, Connection, EnvironmentPlan, GridPlan, RequestPlan, SchedulePlan, TargetPlan, ValidityPlan,
};
use crate::domain::slots::SlotsPlan;
use crate::domain::{Cell, EstimatePlan, Event, Grid, Happening, ReferenceCell, TargetId};
use crate::sim::{Profile, SimOptions, SimServer};
use crate::soak::{
    Bus, Control, LagMeter, Limits, MemoryBackend, Roster, Soak, SoakTarget, WallClock, WatchPlan, Watcher,
};
use crate::store::Writer;

pub(super) const SOON: Timestamp = Timestamp::UNIX_EPOCH;
pub(super) const MINUTE: Duration = Duration::from_secs(60);

/// A step takes 20 ms and 2 ms more for each stream: whole milliseconds, as the paused
/// clock has them.
pub(super) fn exact(slots: u32) -> SimOptions {
    let profile = Profile {
        step_base: Duration::from_millis(20),
        step_per_stream: Duration::from_millis(2),
        knee: None,
        ..Profile::reference()
    };
    SimOptions::exact(profile, slots)
}

/// A folder whose files need not reach a disk, where the system has such a place: a month writes
/// thousands of samples through.
fn folder_in_memory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder")
}

/// A soak over a real history in a temporary folder.
pub(super) struct Stage {
    pub(super) server: SimServer,
    pub(super) folder: tempfile::TempDir,
    pub(super) history: Writer,
    bus: Bus,
    pub(super) events: Receiver<Arc<Event>>,
    pub(super) schedule: SchedulePlan,
    pub(super) cycles: Option<u64>,
    pub(super) patience: Option<u32>,
    pub(super) control: Control,
    pub(super) stop: CancellationToken,
}

impl Stage {
    pub(super) fn new(slots: u32) -> Self {
        Self::starting_at(slots, SOON)
    }

    pub(super) fn starting_at(slots: u32, start: Timestamp) -> Self {
        Self::with_clock(slots, WallClock::anchored(start))
    }

    pub(super) fn with_clock(slots: u32, clock: WallClock) -> Self {
        let folder = folder_in_memory();
        let (history, _) = Writer::open_as_task(folder.path()).expect("a new history");
        let mut bus = Bus::new(clock, Some(history.clone()));
        let events = bus.listen();
        // Each cell once a cycle, unless a test says otherwise.
        let estimates = EstimatePlan { reference: ReferenceCell::Off, ..EstimatePlan::default() };
        let schedule = SchedulePlan { pause_between_samples: Duration::ZERO, estimates, ..SchedulePlan::with_seed(7) };
        let server = SimServer::start(exact(slots));
        let (control, stop) = (Control::default(), CancellationToken::new());
        Self { server, folder, history, bus, events, schedule, cycles: Some(1), patience: None, control, stop }
    }

    /// Another life of the program, a day later, over the same history.
    pub(super) fn begin_again(&mut self) {
        let tomorrow = SOON + jiff::SignedDuration::from_hours(24);
        let mut bus = Bus::new(WallClock::anchored(tomorrow), Some(self.history.clone()));
        self.events = bus.listen();
        self.bus = bus;
    }

    /// Has what is going to be soaked watched for changes.
    pub(super) fn watch(&mut self) {
        let folder = self.folder.path().to_owned();
        let watcher = Watcher::new(folder, self.bus.clone(), WatchPlan::default);
        tokio::spawn(watcher.run(self.bus.listen()));
    }

    pub(super) fn target(&self, name: &str, lane: &str, grid: Grid) -> SoakTarget<MemoryBackend> {
        self.target_of(TargetPlan {
            name: name.to_owned(),
            model: None,
            connection: Connection::default(),
            lane: lane.to_owned(),
            grid: GridPlan::Fixed(grid),
            slots: SlotsPlan::default(),
            request: RequestPlan { output_tokens: 4, ..RequestPlan::default() },
            budget: BudgetPlan::default(),
            environment: EnvironmentPlan::default(),
            validity: ValidityPlan::default(),
        })
    }

    /// A target like [`Stage::target`] with a plan of its own.
    pub(super) fn target_of(&self, plan: TargetPlan) -> SoakTarget<MemoryBackend> {
        SoakTarget {
            backend: Arc::new(MemoryBackend::new(self.server.clone(), Arc::new(plan.request.clone()))),
            surroundings: Arc::default(),
            id: TargetId::new(&plan.name, ""),
            plan: Arc::new(plan),
            spent: Vec::new(),
            canary_at: None,
        }
    }

    /// Starts the soak; its events come in at `self.events`.
    pub(super) fn start(&mut self, targets: Vec<SoakTarget<MemoryBackend>>) -> JoinHandle<Vec<TargetId>> {
        let (rosters, roster) = mpsc::channel(1);
        rosters.try_send(self.roster(targets)).expect("there is room");
        self.start_with(roster)
    }

    pub(super) fn roster(&self, targets: Vec<SoakTarget<MemoryBackend>>) -> Roster<MemoryBackend> {
        Roster { targets, schedule: Arc::new(self.schedule.clone()), done: None }
    }

    /// Starts the soak of whatever rosters come.
    pub(super) fn start_with(&mut self, rosters: mpsc::Receiver<Roster<MemoryBackend>>) -> JoinHandle<Vec<TargetId>> {
        let bus = std::mem::replace(&mut self.bus, Bus::new(WallClock::anchored(SOON), None));
        let limits = Limits { cycles: self.cycles, patience: self.patience, cores: 1 };
        let (history, control) = (self.history.clone(), self.control.clone());
        let soak = Soak { bus, history, lag: LagMeter::default(), control, limits };
        tokio::spawn(soak.run(rosters, self.stop.clone()))
    }

    pub(super) async fn next(&mut self) -> Option<Arc<Event>> {
        timeout(100 * MINUTE, self.events.recv()).await.expect("the soak goes on")
    }

    /// All events of a soak that ends by itself.
    pub(super) async fn run(&mut self, targets: Vec<SoakTarget<MemoryBackend>>) -> Vec<Arc<Event>> {
        let soak = self.start(targets);
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        soak.await.expect("no panic");
        self.history.flush().await;
        events
    }
}

pub(super) fn measured_cells(events: &[Arc<Event>]) -> Vec<Cell> {
    events
        .iter()
        .filter_map(|event| match &event.happening {
            Happening::SampleEnded { sample, .. } => Some(sample.cell),
            _ => None,
        })
        .collect()
}
