//! The server's own slots: rows, restarts, what it does with what it is asked.

use std::sync::Arc;
use std::time::Duration;

use super::stage::{MINUTE, Stage, exact, measured_cells};
use crate::domain::plan::{GridPlan, RequestPlan, TargetPlan};
use crate::domain::slots::{CommandPlan, SlotSwitch, SlotsPlan};
use crate::domain::{Event, Grid, Happening, InvalidReason, SchedulerState};
use crate::sim::{SimOptions, SimServer};
use crate::soak::{MemoryBackend, SoakTarget};
use crate::store::Reader;

/// A target whose server is given the slots of each row.
fn target(stage: &Stage, by: SlotSwitch) -> SoakTarget<MemoryBackend> {
    let grid = Grid::new(&[1, 2, 4], &[1, 4, 8], false).expect("sound");
    let slots = SlotsPlan::Server { by, ready_timeout: MINUTE };
    stage.target_of(TargetPlan { slots, ..(*stage.target("t", "a", grid).plan).clone() })
}

fn process() -> SlotSwitch {
    SlotSwitch::Process(CommandPlan::default())
}

fn command() -> SlotSwitch {
    SlotSwitch::Command(CommandPlan::default())
}

/// `(asked, reported)` of each switch.
fn switches(events: &[Arc<Event>]) -> Vec<(u32, Option<u32>)> {
    let switch = |event: &Arc<Event>| match event.happening {
        Happening::SlotsSwitched { workers, reported, .. } => Some((workers, reported)),
        _ => None,
    };
    events.iter().filter_map(switch).collect()
}

#[tokio::test(start_paused = true)]
async fn each_row_is_measured_with_slots_of_its_own_and_one_switch() {
    let mut stage = Stage::new(7);
    stage.cycles = Some(3);
    let events = stage.run(vec![target(&stage, process())]).await;
    let (switched, cells) = (switches(&events), measured_cells(&events));
    assert_eq!(cells.len(), 3 * 9);
    assert!(switched.iter().all(|&(asked, reported)| reported == Some(asked)), "{switched:?}");
    // The row that runs comes first: two switches a cycle, and one to begin with.
    assert_eq!(switched.len(), 1 + 3 * 2);
    let mut rows: Vec<u32> = cells.iter().map(|cell| cell.workers).collect();
    rows.dedup();
    assert_eq!(rows, switched.iter().map(|&(asked, _)| asked).collect::<Vec<_>>());
    for event in &events {
        let Happening::SampleEnded { sample, .. } = &event.happening else { continue };
        assert!(sample.is_valid(), "{:?}", sample.invalid);
        let measured = &sample.measurement;
        let (workers, batch) = (sample.cell.workers, sample.cell.batch);
        assert_eq!(measured.reported_slots, Some(workers));
        assert_eq!(measured.observed_parallelism_peak, Some(workers.min(batch)), "{}", sample.cell);
        // All are sent at once: what waits, waits in the server.
        assert_eq!(measured.worker_wait.map(|wait| wait.p99), Some(0.0));
    }
    let epochs = events.iter().filter(|event| matches!(event.happening, Happening::EpochEntered { .. }));
    assert_eq!(epochs.count(), 1, "slots are no part of the identity");
    let history = Reader::open(stage.folder.path()).expect("a history");
    let epoch = history.newest_epoch("t", None).expect("readable").expect("measured").epoch;
    assert_eq!(epoch.identity.get("slots"), None);
    assert_eq!(epoch.load.get("slots_mode").map(String::as_str), Some("server"));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_ignores_what_it_is_asked_is_found_out_with_the_first_row() {
    for by in [process(), command()] {
        let mut stage = Stage::new(1);
        stage.server = SimServer::start(SimOptions { most_slots: 1, ..exact(1) });
        let events = stage.run(vec![target(&stage, by)]).await;
        let mut switched = switches(&events);
        switched.sort_unstable();
        assert_eq!(switched, [(1, Some(1)), (2, Some(1)), (4, Some(1))]);
        assert_eq!(measured_cells(&events).len(), 9, "measured all the same");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_gets_other_slots_in_a_row_is_switched_again() {
    let mut stage = Stage::new(1);
    stage.schedule.pause_between_samples = MINUTE;
    let soak = stage.start(vec![target(&stage, command())]);
    let (mut rejected, mut asked, mut disturbed) = (Vec::new(), Vec::new(), false);
    while let Some(event) = stage.next().await {
        match &event.happening {
            Happening::StateChanged { state: SchedulerState::Running, .. } if !disturbed && asked.len() == 2 => {
                disturbed = true;
                stage.server.set_slots(9);
            }
            Happening::SlotsSwitched { workers, .. } => asked.push(*workers),
            Happening::SampleEnded { sample, .. } if !sample.is_valid() => rejected.push(sample.invalid.clone()),
            _ => {}
        }
    }
    soak.await.expect("no panic");
    assert_eq!(rejected, [[InvalidReason::SlotsChanged]]);
    assert_eq!(asked.len(), 4, "three rows, and one of them twice: {asked:?}");
    assert_eq!(asked[1], asked[2]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_never_ready_is_a_failure_within_its_time() {
    let mut stage = Stage::new(1);
    stage.server.set_away(true);
    let soak = stage.start(vec![target(&stage, process())]);
    let mut states = Vec::new();
    let began = tokio::time::Instant::now();
    let reason = loop {
        match &stage.next().await.expect("it never gives up").happening {
            Happening::StateChanged { state, .. } => states.push(*state),
            Happening::Away { reason, .. } => break reason.clone(),
            _ => {}
        }
    };
    assert!(reason.contains("not ready within slots.ready_timeout"), "{reason}");
    assert!(began.elapsed() < MINUTE + Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(states.last(), Some(&SchedulerState::SwitchingSlots));
    // It goes on where the server comes after all.
    stage.server.set_away(false);
    while stage.next().await.is_some() {}
    soak.await.expect("no panic");
}

#[tokio::test(start_paused = true)]
async fn a_queue_in_the_server_is_no_fault_of_those_who_wait_in_it() {
    for warmup_requests in [0, 1] {
        let mut stage = Stage::new(1);
        stage.schedule.warmup_requests = warmup_requests;
        let plan = (*target(&stage, process()).plan).clone();
        // A request takes 0.1 s alone, and the last of the batch 6 s.
        let request = RequestPlan { timeout: Duration::from_secs(1), ..plan.request.clone() };
        let grid = GridPlan::Fixed(Grid::new(&[1], &[64], false).expect("sound"));
        let events = stage.run(vec![stage.target_of(TargetPlan { request, grid, ..plan })]).await;
        let samples = events.iter().filter_map(|event| match &event.happening {
            Happening::SampleEnded { sample, .. } => Some(sample),
            _ => None,
        });
        let seen: Vec<_> =
            samples.map(|sample| (sample.invalid.clone(), sample.measurement.total_seconds > 5.0)).collect();
        assert_eq!(seen, [(Vec::new(), true)], "{warmup_requests} warm-ups");
    }
}
