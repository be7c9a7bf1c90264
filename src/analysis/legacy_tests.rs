//! The legacy script's measurements, one sample a cell, through the analysis of today.
//!
//! Its server was started with W slots for each row. Five of the rows do not measure what
//! their heading says.

use std::collections::{BTreeMap, BTreeSet};

use super::estimate::RateEstimates;
use super::optimum::{Contest, Optimum, optimum};
use super::slots::{self, RowSlots, SlotEvidence, SlotsVerdict};
use crate::domain::{Cell, Grid, ServiceLevel};

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

fn best() -> Optimum {
    let grid = Grid::legacy(false);
    let rates: BTreeMap<Cell, Vec<f64>> = rates().into_iter().map(|(cell, rate)| (cell, vec![rate])).collect();
    let warned: BTreeSet<u32> = rows().iter().filter(|row| row.verdict.is_warned()).map(|row| row.requested).collect();
    optimum(&Contest {
        grid: &grid,
        rates: &RateEstimates::of(&rates),
        services: &BTreeMap::new(),
        service_level: ServiceLevel { time_to_first_token_p95: None, inter_token_latency_p95: None },
        warned_rows: &warned,
        published: None,
    })
    .expect("was measured")
}

#[test]
fn one_sample_a_cell_names_a_tied_set_and_no_lucky_winner() {
    let optimum = best();
    let rates: BTreeMap<Cell, f64> = rates().into_iter().collect();
    let tied = &optimum.throughput.tied;
    for cell in [Cell::new(24, 24), Cell::new(24, 48), Cell::new(20, 40)] {
        assert!(tied.contains(&cell), "{cell} is not in {tied:?}");
    }
    assert!(tied.iter().all(|cell| (6..=24).contains(&cell.workers)), "{tied:?}");
    assert!(tied.iter().all(|cell| rates[cell] >= 300.0), "{tied:?}");
}
