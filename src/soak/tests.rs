//! The engine against the simulated server, on a paused clock: exact numbers, no sleeping.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::batch::{self, Batch};
use super::prompts;
use super::{Bus, LagMeter, Limits, MemoryBackend, Soak, SoakTarget, WallClock};
use crate::analysis::measure::{Circumstances, measure};
use crate::client::Timeouts;
use crate::domain::plan::{BudgetPlan, CellOrder, Connection, GridPlan, RequestPlan, SchedulePlan, TargetPlan};
use crate::domain::{Cell, Event, Grid, Happening, InvalidReason, Measurement, SchedulerState, TargetId};
use crate::sim::model::predict_total;
use crate::sim::{Profile, SimOptions, SimServer};
use crate::soak::order::{cells_of_cycle, generator};
use crate::store::{Reader, Writer};

const SOON: Timestamp = Timestamp::UNIX_EPOCH;
const MINUTE: Duration = Duration::from_secs(60);

/// A step takes 20 ms and 2 ms more for each stream: whole milliseconds, as the paused
/// clock has them.
fn exact(slots: u32) -> SimOptions {
    let profile = Profile {
        step_base: Duration::from_millis(20),
        step_per_stream: Duration::from_millis(2),
        knee: None,
        ..Profile::reference()
    };
    SimOptions::exact(profile, slots)
}

/// Measures one cell of a fresh server.
async fn measured(cell: Cell, slots: u32, output_tokens: u32) -> Measurement {
    let plan = Arc::new(RequestPlan { output_tokens, ..RequestPlan::default() });
    let backend = Arc::new(MemoryBackend::new(SimServer::start(exact(slots)), plan.clone()));
    let requests = prompts::requests(&plan, cell.batch, output_tokens, &mut generator(1, &[]));
    let timeouts = Timeouts { first_token: 10 * MINUTE, between_tokens: MINUTE, total: 10 * MINUTE };
    let batch = Batch { requests, workers: cell.workers, timeouts, is_warmup: false };
    let bus = Bus::new(WallClock::anchored(SOON), None);
    let records = batch::run(&backend, batch, &bus, &TargetId::new("t", "m")).await;
    let circumstances = Circumstances { cell, slots: Some(slots), timer_lag_p99: None, client_cpu_ratio: 0.0 };
    measure(&records, circumstances).expect("has records").0
}

#[tokio::test(start_paused = true)]
async fn a_batch_takes_exactly_as_long_as_the_queue_model_says() {
    for (workers, batch, slots) in [(1, 1, 4), (1, 5, 4), (4, 4, 4), (4, 16, 50), (8, 16, 4), (24, 48, 50), (6, 16, 4)]
    {
        let cell = Cell::new(workers, batch);
        let measurement = measured(cell, slots, 24).await;
        let at_once = workers.min(slots);
        let answers = vec![24; batch as usize];
        let expected = predict_total(Duration::from_millis(20), Duration::from_millis(2), at_once, &answers);
        assert_eq!(measurement.total_seconds, expected.as_secs_f64(), "{cell} on {slots} slots");
        assert_eq!(measurement.output_tokens, u64::from(batch) * 24, "{cell} on {slots} slots");
        assert_eq!(measurement.observed_parallelism_peak, Some(at_once.min(batch)), "{cell} on {slots} slots");
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_waits_in_the_client_and_a_queue_in_the_server() {
    // One at a time: 24 steps of 22 ms each.
    let one = 24.0 * 0.022;
    let client = measured(Cell::new(1, 3), 4, 24).await;
    let server = measured(Cell::new(3, 3), 1, 24).await;
    assert_eq!(client.total_seconds, 3.0 * one);
    assert_eq!(server.total_seconds, 3.0 * one);
    // What waits for a worker has not been sent: it is in no latency.
    assert_eq!(client.request_duration.map(|d| d.p50), Some(one));
    assert_eq!(client.worker_wait.map(|d| d.p50), Some(one));
    assert_eq!(server.request_duration.map(|d| d.p50), Some(2.0 * one));
    assert_eq!(server.worker_wait.map(|d| d.p99), Some(0.0));
}

/// A soak over a real history in a temporary folder.
struct Stage {
    server: SimServer,
    folder: tempfile::TempDir,
    history: Writer,
    bus: Bus,
    events: Receiver<Arc<Event>>,
    schedule: SchedulePlan,
    cycles: Option<u64>,
    stop: CancellationToken,
}

impl Stage {
    fn new(slots: u32) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (history, _) = Writer::open_as_task(folder.path()).expect("a new history");
        let mut bus = Bus::new(WallClock::anchored(SOON), Some(history.clone()));
        let events = bus.listen();
        let schedule = SchedulePlan { pause_between_samples: Duration::ZERO, ..SchedulePlan::with_seed(7) };
        let server = SimServer::start(exact(slots));
        Self { server, folder, history, bus, events, schedule, cycles: Some(1), stop: CancellationToken::new() }
    }

    fn target(&self, name: &str, lane: &str, grid: Grid) -> SoakTarget<MemoryBackend> {
        let request = RequestPlan { output_tokens: 4, ..RequestPlan::default() };
        let plan = TargetPlan {
            name: name.to_owned(),
            model: None,
            connection: Connection::default(),
            lane: lane.to_owned(),
            grid: GridPlan::Fixed(grid),
            request: request.clone(),
            budget: BudgetPlan::default(),
        };
        SoakTarget {
            plan: Arc::new(plan),
            backend: Arc::new(MemoryBackend::new(self.server.clone(), Arc::new(request))),
            id: TargetId::new(name, ""),
        }
    }

    /// Starts the soak; its events come in at `self.events`.
    fn start(&mut self, targets: Vec<SoakTarget<MemoryBackend>>) -> tokio::task::JoinHandle<Vec<TargetId>> {
        let bus = std::mem::replace(&mut self.bus, Bus::new(WallClock::anchored(SOON), None));
        let limits = Limits { cycles: self.cycles, patience: None, cores: 1 };
        let (schedule, history) = (self.schedule.clone(), self.history.clone());
        let soak = Soak { targets, schedule, bus, history, lag: LagMeter::default(), limits };
        tokio::spawn(soak.run(self.stop.clone()))
    }

    async fn next(&mut self) -> Option<Arc<Event>> {
        timeout(100 * MINUTE, self.events.recv()).await.expect("the soak goes on")
    }

    /// All events of a soak that ends by itself.
    async fn run(&mut self, targets: Vec<SoakTarget<MemoryBackend>>) -> Vec<Arc<Event>> {
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

fn measured_cells(events: &[Arc<Event>]) -> Vec<Cell> {
    events
        .iter()
        .filter_map(|event| match &event.happening {
            Happening::SampleEnded { sample, .. } => Some(sample.cell),
            _ => None,
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_cycle_measures_each_canonical_cell_once_in_its_seeded_order() {
    let mut stage = Stage::new(50);
    let grid = Grid::legacy(true);
    let events = stage.run(vec![stage.target("t", "a", grid.clone())]).await;
    assert_eq!(measured_cells(&events), cells_of_cycle(&grid, CellOrder::Shuffled, 7, 1));
    let history = Reader::open(stage.folder.path()).expect("a history");
    let epoch = history.newest_epoch("t", None).expect("readable").expect("measured");
    assert_eq!((epoch.complete_cycles, epoch.last_cycle, epoch.grid), (1, 1, Some(grid)));
    let samples = history.samples(&epoch.target, epoch.epoch.id).expect("readable");
    assert_eq!(samples.len(), 62);
    assert!(samples.iter().all(crate::domain::Sample::is_valid));
}

#[tokio::test(start_paused = true)]
async fn the_history_gives_a_sample_back_as_it_was() {
    let mut stage = Stage::new(2);
    let grid = Grid::new(&[1, 2], &[1, 3], true).expect("sound");
    let events = stage.run(vec![stage.target("t", "a", grid)]).await;
    let published: Vec<_> = events
        .iter()
        .filter_map(|event| match &event.happening {
            Happening::SampleEnded { sample, .. } => Some(crate::domain::Sample::clone(sample)),
            _ => None,
        })
        .collect();
    let history = Reader::open(stage.folder.path()).expect("a history");
    let epoch = history.newest_epoch("t", None).expect("readable").expect("measured");
    assert_eq!(history.samples(&epoch.target, epoch.epoch.id).expect("readable"), published);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_away_is_asked_again_with_growing_pauses() {
    let mut stage = Stage::new(4);
    stage.server.set_away(true);
    let grid = Grid::new(&[1], &[1], true).expect("sound");
    let soak = stage.start(vec![stage.target("t", "a", grid)]);
    let began = Instant::now();
    let mut tries = Vec::new();
    while tries.len() < 9 {
        let event = stage.next().await.expect("it never gives up");
        if matches!(event.happening, Happening::Away { .. }) {
            tries.push(began.elapsed().as_secs());
        }
    }
    assert_eq!(tries, [0, 1, 3, 7, 15, 31, 63, 123, 183]);
    stage.server.set_away(false);
    let mut valid = false;
    while let Some(event) = stage.next().await {
        if let Happening::SampleEnded { sample, .. } = &event.happening {
            valid = sample.is_valid();
        }
    }
    soak.await.expect("no panic");
    assert!(valid, "the soak goes on where the server is back");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_vanishes_in_a_cycle_is_measured_further_when_it_is_back() {
    let mut stage = Stage::new(4);
    let grid = Grid::new(&[1, 2], &[1, 2, 4], true).expect("sound");
    let soak = stage.start(vec![stage.target("t", "a", grid.clone())]);
    let (mut valid, mut rejected, mut cycles) = (Vec::new(), Vec::new(), Vec::new());
    while let Some(event) = stage.next().await {
        match &event.happening {
            Happening::CycleStarted { cycle, .. } => cycles.push(*cycle),
            Happening::SampleStarted { .. } if valid.len() == 2 && rejected.is_empty() => stage.server.set_away(true),
            Happening::SampleEnded { sample, .. } if sample.is_valid() => valid.push(sample.cell),
            Happening::SampleEnded { sample, .. } => rejected.push((sample.cell, sample.invalid.clone())),
            Happening::Away { .. } => stage.server.set_away(false),
            _ => {}
        }
    }
    soak.await.expect("no panic");
    assert_eq!(cycles, [1], "the cycle goes on");
    assert_eq!(valid, cells_of_cycle(&grid, CellOrder::Shuffled, 7, 1));
    assert_eq!(rejected, [(valid[2], vec![InvalidReason::FailedRequests])]);
}

#[tokio::test(start_paused = true)]
async fn a_changed_server_opens_an_epoch_and_an_unchanged_one_does_not() {
    let mut stage = Stage::new(4);
    stage.cycles = Some(3);
    let grid = Grid::new(&[1], &[1, 2], true).expect("sound");
    let soak = stage.start(vec![stage.target("t", "a", grid)]);
    let mut changes = Vec::new();
    while let Some(event) = stage.next().await {
        match &event.happening {
            Happening::CycleStarted { cycle: 2, .. } => stage.server.set_version("b2"),
            Happening::EpochEntered { epoch, before, .. } => {
                changes.push(before.as_ref().map(|before| before.changes_to(epoch).len()));
            }
            _ => {}
        }
    }
    soak.await.expect("no panic");
    assert_eq!(changes, [None, Some(1)]);
}

#[tokio::test(start_paused = true)]
async fn targets_of_one_lane_take_turns_and_lanes_run_side_by_side() {
    let grid = Grid::new(&[2], &[2, 4], true).expect("sound");
    for (lanes, together) in [(["a", "a"], false), (["a", "b"], true)] {
        let mut stage = Stage::new(8);
        stage.cycles = Some(2);
        let targets = vec![stage.target("one", lanes[0], grid.clone()), stage.target("two", lanes[1], grid.clone())];
        let mut busy: BTreeMap<Arc<str>, i32> = BTreeMap::new();
        let mut overlapped = false;
        for event in stage.run(targets).await {
            match event.happening {
                Happening::RequestStarted => *busy.entry(event.target.name.clone()).or_default() += 1,
                Happening::RequestEnded(_) => *busy.entry(event.target.name.clone()).or_default() -= 1,
                _ => {}
            }
            overlapped |= busy.values().filter(|&&count| count > 0).count() > 1;
        }
        assert_eq!(overlapped, together, "lanes {lanes:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cell_whose_requests_all_fail_was_attempted_and_the_cycle_goes_on() {
    let mut stage = Stage::new(4);
    stage.server = SimServer::start(SimOptions { fault_http_500: 0.5, ..exact(4) });
    stage.cycles = Some(5);
    let grid = Grid::new(&[1], &[1, 2], true).expect("sound");
    let events = stage.run(vec![stage.target("t", "a", grid)]).await;
    assert_eq!(measured_cells(&events).len(), 5 * 2);
    let all_failed = events.iter().filter(|event| match &event.happening {
        Happening::SampleEnded { sample, .. } => sample.measurement.failed_requests == sample.measurement.requests,
        _ => false,
    });
    assert!(all_failed.count() > 0, "or this test tests nothing");
    assert!(!events.iter().any(|event| matches!(event.happening, Happening::Away { .. })), "it does answer");
}

#[tokio::test(start_paused = true)]
async fn a_stop_drops_the_running_sample_whole() {
    let mut stage = Stage::new(4);
    let grid = Grid::new(&[1], &[8], true).expect("sound");
    let soak = stage.start(vec![stage.target("t", "a", grid)]);
    let mut is_running = false;
    while let Some(event) = stage.next().await {
        is_running |= matches!(event.happening, Happening::StateChanged { state: SchedulerState::Running, .. });
        if is_running && matches!(event.happening, Happening::RequestStarted) {
            stage.stop.cancel();
        }
    }
    soak.await.expect("no panic");
    stage.history.flush().await;
    let history = Reader::open(stage.folder.path()).expect("a history");
    let epoch = history.newest_epoch("t", None).expect("readable").expect("entered");
    assert_eq!(epoch.complete_cycles, 0);
    assert!(history.samples(&epoch.target, epoch.epoch.id).expect("readable").is_empty());
}
