//! Cycles, outages, epochs, lanes, stops.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::time::Instant;

use super::stage::{Stage, exact, measured_cells};
use crate::domain::plan::CellOrder;
use crate::domain::{Grid, Happening, InvalidReason, SchedulerState};
use crate::sim::{SimOptions, SimServer};
use crate::soak::order::arranged;
use crate::store::Reader;

#[tokio::test(start_paused = true)]
async fn a_cycle_measures_each_canonical_cell_once_in_its_seeded_order() {
    let mut stage = Stage::new(50);
    let grid = Grid::legacy(true);
    let events = stage.run(vec![stage.target("t", "a", grid.clone())]).await;
    assert_eq!(measured_cells(&events), arranged(grid.measured(), CellOrder::Shuffled, 7, 1));
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
    stage.server = SimServer::start(SimOptions { gpu_share: 0.625, ..exact(2) });
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
    assert!(published.iter().all(|sample| sample.measurement.gpu_share == Some(0.625)), "told with the identity");
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
    assert_eq!(valid, arranged(grid.measured(), CellOrder::Shuffled, 7, 1));
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
        // They share the server: in lanes of their own they are others to each other.
        stage.schedule.yield_to_foreign_load = false;
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
