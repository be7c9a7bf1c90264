//! The legacy script's measurements, one sample a cell, through the analysis of today.
//!
//! Its server was started with W slots for each row. Five of the rows do not measure what
//! their heading says.

use super::slots::{self, RowSlots, SlotEvidence, SlotsVerdict};
use crate::domain::{Cell, Grid};

/// workers, batch, total seconds, tokens.
const LEGACY: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/data/legacy_grid.csv"));

/// Each cell with its tokens a second.
fn rates() -> Vec<(Cell, f64)> {
    let cell = |line: &str| {
        let fields: Vec<&str> = line.split(',').collect();
        let number = |index: usize| fields[index].parse::<f64>().expect("a number");
        let cell = Cell::new(fields[0].parse().expect("workers"), fields[1].parse().expect("a batch"));
        (cell, number(3) / number(2))
    };
    LEGACY.lines().skip(1).map(cell).collect()
}

fn rows() -> Vec<RowSlots> {
    let evidence = |(cell, rate): (Cell, f64)| SlotEvidence {
        cell,
        parallelism_peak: None,
        reported_slots: None,
        seconds_per_step: Some(f64::from(cell.batch) / rate),
    };
    let evidence: Vec<SlotEvidence> = rates().into_iter().map(evidence).collect();
    slots::rows(&Grid::legacy(false), true, &evidence)
}

#[test]
fn the_rows_that_did_not_get_their_slots_are_warned_of_and_no_others() {
    let rows = rows();
    let of = |verdict| rows.iter().filter(|row| row.verdict == verdict).map(|row| row.requested).collect::<Vec<_>>();
    assert_eq!(of(SlotsVerdict::Mismatch), [4, 30, 35, 40], "{rows:#?}");
    assert_eq!(of(SlotsVerdict::OutOfLine), [50]);
    assert_eq!(of(SlotsVerdict::Granted), [6, 8, 10, 12, 15, 18, 20, 22, 24]);
}

#[test]
fn the_row_of_four_ran_with_ten_slots() {
    let effective = rows()[0].effective.expect("was measured");
    assert_eq!(effective.slots, 10.0);
    assert!(effective.interval.lower > 4.0, "{effective:?}");
}
