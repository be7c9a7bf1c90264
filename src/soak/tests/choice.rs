//! The reference cell, and cycles that measure only what can still change an answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::stage::{Stage, measured_cells};
use crate::domain::plan::ScheduleMode;
use crate::domain::{Cell, EstimatePlan, Event, Grid, Happening};

/// The events of each cycle.
fn cycles(events: &[Arc<Event>]) -> Vec<&[Arc<Event>]> {
    events.split(|event| matches!(event.happening, Happening::CycleStarted { .. })).skip(1).collect()
}

fn requests(cells: &[Cell]) -> u32 {
    cells.iter().map(|cell| cell.batch).sum()
}

#[tokio::test(start_paused = true)]
async fn the_reference_cell_begins_and_ends_a_cycle_and_counts_as_one_cell() {
    let mut stage = Stage::new(4);
    stage.schedule.estimates = EstimatePlan::default();
    let grid = Grid::automatic(Some(4), true);
    let events = stage.run(vec![stage.target("t", "a", grid.clone())]).await;
    let measured = measured_cells(&events);
    let reference = Cell::new(2, 2);
    assert_eq!((measured.first(), measured.last()), (Some(&reference), Some(&reference)));
    assert_eq!(measured.len(), grid.measured().len() + 2);
    let told = events.iter().find_map(|event| match event.happening {
        Happening::CycleStarted { cells, .. } => usize::try_from(cells).ok(),
        _ => None,
    });
    assert_eq!(told, Some(grid.measured().len()));
}

#[tokio::test(start_paused = true)]
async fn an_adaptive_soak_sends_less_and_comes_round_to_every_cell() {
    let mut stage = Stage::new(4);
    stage.schedule.mode = ScheduleMode::Adaptive;
    stage.cycles = Some(24);
    let grid = Grid::new(&[1, 2, 4, 8], &[1, 2, 4, 8, 16], true).expect("sound");
    let events = stage.run(vec![stage.target("t", "a", grid.clone())]).await;
    let cycles: Vec<Vec<Cell>> = cycles(&events).into_iter().map(measured_cells).collect();
    let sent: u32 = cycles.iter().map(|cells| requests(cells)).sum();
    let of_full_cycles = 24 * requests(&grid.measured());
    assert!(sent < of_full_cycles / 2, "{sent} of {of_full_cycles}");
    for eleven in cycles.windows(11) {
        let measured = eleven.concat();
        let left_out: Vec<Cell> = grid.measured().into_iter().filter(|cell| !measured.contains(cell)).collect();
        assert_eq!(left_out, []);
    }
    // A row beyond the slots queues: its cells answer nothing.
    let mut times: BTreeMap<u32, usize> = BTreeMap::new();
    cycles
        .concat()
        .iter()
        .filter(|cell| cell.batch == 16)
        .for_each(|cell| *times.entry(cell.workers).or_default() += 1);
    assert!(times[&8] < times[&4], "{times:?}");
}
