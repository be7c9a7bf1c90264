//! How many requests of a row the server really worked on at once, beside what was asked.
//!
//! Two witnesses: the streams that were seen, and, where none were, the shape of the row's
//! rates over the batches (`curve`). What the server reports is a third, beside them.

use std::collections::BTreeMap;

use super::curve::{self, CurveSlots, RowCurve};
use super::interval::Interval;
use super::quantile::{median, sorted};
use crate::domain::{Cell, Grid, Sample};

/// What a valid sample says of the slots.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlotEvidence {
    /// The canonical cell.
    pub cell: Cell,
    /// The highest level of decoding streams, held for at least half a median ITL.
    pub parallelism_peak: Option<u32>,
    /// What the server said while the sample was taken.
    pub reported_slots: Option<u32>,
    /// total · B / tokens, seconds: the time that a token of each answer took.
    pub seconds_per_step: Option<f64>,
}

impl SlotEvidence {
    pub fn of(sample: &Sample) -> Self {
        let measurement = &sample.measurement;
        let rate = measurement.tokens_per_second;
        Self {
            cell: sample.cell,
            parallelism_peak: measurement.observed_parallelism_peak,
            reported_slots: measurement.reported_slots,
            seconds_per_step: (rate > 0.0).then(|| f64::from(sample.cell.batch) / rate),
        }
    }
}

/// What the effective slots were read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Witness {
    /// Streams that were seen to decode at once.
    Streams,
    /// The shape of the rates over the batches.
    Curve,
}

/// The slots that a row really had.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EffectiveSlots {
    pub slots: f64,
    /// 95 %; the upper end is infinite where no batch was large enough to show it.
    pub interval: Interval,
    pub witness: Witness,
    /// How many samples, or batches of a curve, it is read from.
    pub samples: usize,
}

/// Whether a row got what it asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotsVerdict {
    /// Nothing says otherwise.
    Granted,
    /// The client sends more at once than the server works on: the row measures its queue.
    Queueing,
    /// The server was to run that many slots and runs another number.
    Mismatch,
    /// The server was to run that many slots, and no number of slots explains the row as the
    /// others are explained.
    OutOfLine,
    /// Too little was seen.
    Unknown,
}

impl SlotsVerdict {
    /// The word for it in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Queueing => "queueing",
            Self::Mismatch => "mismatch",
            Self::OutOfLine => "out_of_line",
            Self::Unknown => "unknown",
        }
    }

    /// Whether the row does not measure what its heading says.
    pub fn is_warned(self) -> bool {
        matches!(self, Self::Mismatch | Self::OutOfLine)
    }
}

/// One row of the grid.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RowSlots {
    /// W: asked of the client or of the server.
    pub requested: u32,
    /// The newest that the server told.
    pub reported: Option<u32>,
    pub effective: Option<EffectiveSlots>,
    pub verdict: SlotsVerdict,
}

/// A stream that begins while another ends is seen or not: a count of streams is good to half.
const COUNT_RESOLUTION: f64 = 0.5;

/// The slots of each row of the grid, by workers, from the valid samples of an epoch, the
/// oldest first. `is_server_mode`: the server itself was given W slots for each row.
pub fn rows(grid: &Grid, is_server_mode: bool, evidence: &[SlotEvidence]) -> Vec<RowSlots> {
    let mut by_cell: BTreeMap<Cell, Vec<SlotEvidence>> = BTreeMap::new();
    for &seen in evidence {
        by_cell.entry(grid.canonical(seen.cell)).or_default().push(seen);
    }
    let rows: Vec<Row<'_>> = grid.workers().iter().map(|&workers| Row::of(grid, workers, &by_cell)).collect();
    let streams: Vec<Option<EffectiveSlots>> = rows.iter().map(Row::streams).collect();
    // The second witness is asked where the first is missing.
    let curves = if streams.iter().all(Option::is_some) {
        vec![None; rows.len()]
    } else {
        curve::read(&rows.iter().map(|row| row.curve(is_server_mode)).collect::<Vec<RowCurve>>())
    };
    rows.iter()
        .zip(streams)
        .zip(curves)
        .map(|((row, streams), curve)| {
            let from_curve = || curve.map(|read| row.effective_of(read));
            let is_out_of_line = streams.is_none() && curve.is_some_and(|read| read.is_out_of_line);
            let effective = streams.or_else(from_curve);
            let is_told_of_row = |seen: &&SlotEvidence| !is_server_mode || seen.cell.workers == row.workers;
            let reported = evidence.iter().rev().filter(is_told_of_row).find_map(|seen| seen.reported_slots);
            let verdict = verdict(row.workers, is_server_mode, reported, effective, is_out_of_line);
            RowSlots { requested: row.workers, reported, effective, verdict }
        })
        .collect()
}

fn verdict(
    workers: u32,
    is_server_mode: bool,
    reported: Option<u32>,
    effective: Option<EffectiveSlots>,
    is_out_of_line: bool,
) -> SlotsVerdict {
    let asked = f64::from(workers);
    let told = reported.map(|slots| Interval::around(f64::from(slots), 0.0));
    let seen = effective.map(|effective| effective.interval);
    if is_server_mode {
        return match (seen, told) {
            _ if is_out_of_line => SlotsVerdict::OutOfLine,
            (None, None) => SlotsVerdict::Unknown,
            (seen, told) if [seen, told].into_iter().flatten().all(|slots| slots.contains(asked)) => {
                SlotsVerdict::Granted
            }
            _ => SlotsVerdict::Mismatch,
        };
    }
    match seen.or(told) {
        None => SlotsVerdict::Unknown,
        Some(slots) if slots.upper < asked => SlotsVerdict::Queueing,
        Some(_) => SlotsVerdict::Granted,
    }
}

/// What was seen of one row.
struct Row<'a> {
    workers: u32,
    /// By batch.
    cells: Vec<(u32, &'a [SlotEvidence])>,
}

impl<'a> Row<'a> {
    /// A row shows what its canonical cells measured: below W ≥ B rows are alike.
    fn of(grid: &Grid, workers: u32, by_cell: &'a BTreeMap<Cell, Vec<SlotEvidence>>) -> Self {
        let measured = |batch: u32| Some((batch, by_cell.get(&grid.canonical(Cell { workers, batch }))?.as_slice()));
        Self { workers, cells: grid.batch().iter().filter_map(|&batch| measured(batch)).collect() }
    }

    /// The plateau of the streams seen at once.
    ///
    /// The peak of a sample is its level while the queue is not empty. The mean is not: the
    /// ramp at the start and the half-empty wave at the end pull it down, the more the
    /// smaller the batch. Batches of 2 W and more have a queue for a wave at least; where
    /// there are none those of W and more must do. A sample whose peak is its whole batch
    /// says only that there were at least as many slots.
    fn streams(&self) -> Option<EffectiveSlots> {
        let from = |least: u32| -> Vec<(u32, u32)> {
            self.cells
                .iter()
                .filter(|(batch, _)| *batch >= least)
                .flat_map(|(batch, seen)| seen.iter().filter_map(|seen| Some((*batch, seen.parallelism_peak?))))
                .collect()
        };
        let seen =
            [self.workers.saturating_mul(2), self.workers, 1].into_iter().map(from).find(|seen| !seen.is_empty())?;
        let bounded: Vec<f64> =
            seen.iter().filter(|(batch, peak)| peak < batch).map(|&(_, peak)| f64::from(peak)).collect();
        if let Some((slots, interval)) = median_with_order_statistics(&bounded) {
            return Some(EffectiveSlots { slots, interval, witness: Witness::Streams, samples: bounded.len() });
        }
        let highest = f64::from(seen.iter().map(|&(_, peak)| peak).max()?);
        let interval = Interval { lower: highest - COUNT_RESOLUTION, upper: f64::INFINITY };
        Some(EffectiveSlots { slots: highest, interval, witness: Witness::Streams, samples: seen.len() })
    }

    fn curve(&self, is_server_mode: bool) -> RowCurve {
        let seconds =
            |seen: &[SlotEvidence]| median(&seen.iter().filter_map(|seen| seen.seconds_per_step).collect::<Vec<_>>());
        RowCurve {
            workers: self.workers,
            most_slots: if is_server_mode { u32::MAX } else { self.workers },
            points: self.cells.iter().filter_map(|&(batch, seen)| Some((batch, seconds(seen)?))).collect(),
        }
    }

    fn effective_of(&self, read: CurveSlots) -> EffectiveSlots {
        EffectiveSlots {
            slots: f64::from(read.slots),
            interval: read.interval,
            witness: Witness::Curve,
            samples: self.cells.len(),
        }
    }
}

/// The median of counts with an interval that holds for any distribution.
///
/// Between two order statistics whose ranks the binomial distribution gives (Conover,
/// "Practical Nonparametric Statistics", 1999, section 3.2), in its normal approximation,
/// rounded outwards. Five counts or fewer span no such interval: their whole range is taken.
fn median_with_order_statistics(counts: &[f64]) -> Option<(f64, Interval)> {
    let sorted = sorted(counts);
    let n = sorted.len() as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and the number of counts")]
    let outside = ((n - 1.96 * n.sqrt()) / 2.0).floor().max(0.0) as usize;
    let lower = sorted.get(outside).or(sorted.first())? - COUNT_RESOLUTION;
    let upper = sorted.iter().rev().nth(outside).or(sorted.last())? + COUNT_RESOLUTION;
    Some((median(counts)?, Interval { lower, upper }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use SlotsVerdict::{Granted, Mismatch, OutOfLine, Queueing, Unknown};

    /// Step of 19.0 ms + 2.15 ms a stream, through `slots`.
    fn seconds_per_step(batch: u32, slots: u32) -> f64 {
        0.019 * f64::from(batch.div_ceil(slots)) + 0.002_15 * f64::from(batch)
    }

    /// Three samples of each measured cell of a server that gives a row `slots(workers)`.
    fn evidence(grid: &Grid, is_seen: bool, slots: impl Fn(u32) -> u32) -> Vec<SlotEvidence> {
        let of = |cell: Cell| SlotEvidence {
            cell,
            parallelism_peak: is_seen.then(|| slots(cell.workers).min(cell.batch)),
            reported_slots: None,
            seconds_per_step: Some(seconds_per_step(cell.batch, slots(cell.workers))),
        };
        grid.measured().into_iter().flat_map(|cell| [of(cell); 3]).collect()
    }

    fn verdicts(rows: &[RowSlots]) -> Vec<SlotsVerdict> {
        rows.iter().map(|row| row.verdict).collect()
    }

    #[test]
    fn each_verdict_has_its_word() {
        let words = [Granted, Queueing, Mismatch, OutOfLine, Unknown].map(SlotsVerdict::as_str);
        assert_eq!(words, ["granted", "queueing", "mismatch", "out_of_line", "unknown"]);
    }

    #[test]
    fn a_client_that_asks_for_more_than_four_slots_queues() {
        let grid = Grid::new(&[1, 2, 4, 8, 16], &[1, 4, 8, 16, 32], true).expect("sound");
        for is_seen in [true, false] {
            let rows = rows(&grid, false, &evidence(&grid, is_seen, |workers| workers.min(4)));
            assert_eq!(verdicts(&rows), [Granted, Granted, Granted, Queueing, Queueing], "{is_seen}: {rows:#?}");
            let slots: Vec<f64> = rows.iter().filter_map(|row| Some(row.effective?.slots)).collect();
            assert_eq!(slots, [1.0, 2.0, 4.0, 4.0, 4.0]);
        }
    }

    #[test]
    fn a_row_of_the_server_with_other_slots_is_a_mismatch() {
        let grid = Grid::new(&[4, 8, 12, 16, 24], &[1, 2, 4, 8, 16, 24, 32, 48], false).expect("sound");
        let slots = |workers| if workers == 4 { 10 } else { workers };
        for is_seen in [true, false] {
            let rows = rows(&grid, true, &evidence(&grid, is_seen, slots));
            assert_eq!(verdicts(&rows), [Mismatch, Granted, Granted, Granted, Granted], "{is_seen}: {rows:#?}");
            assert_eq!(rows[0].effective.map(|effective| effective.slots), Some(10.0));
        }
    }

    #[test]
    fn a_row_that_nothing_explains_is_out_of_line() {
        let grid = Grid::new(&[4, 8, 12, 16], &[1, 2, 4, 8, 16, 24, 32], false).expect("sound");
        let mut evidence = evidence(&grid, false, |workers| workers);
        for seen in evidence.iter_mut().filter(|seen| seen.cell.workers == 16) {
            seen.seconds_per_step =
                seen.seconds_per_step.map(|seconds| seconds * (1.0 + f64::from(seen.cell.batch % 3)));
        }
        assert_eq!(verdicts(&rows(&grid, true, &evidence)), [Granted, Granted, Granted, OutOfLine]);
    }

    #[test]
    fn what_the_server_reports_counts_too() {
        let grid = Grid::new(&[2, 4], &[8], false).expect("sound");
        let mut evidence = evidence(&grid, true, |workers| workers);
        for seen in &mut evidence {
            seen.reported_slots = Some(4);
        }
        assert_eq!(verdicts(&rows(&grid, true, &evidence)), [Mismatch, Granted]);
        for seen in &mut evidence {
            seen.parallelism_peak = None;
        }
        assert_eq!(verdicts(&rows(&grid, false, &evidence)), [Granted, Granted]);
    }

    #[test]
    fn a_batch_too_small_for_the_slots_bounds_them_from_below() {
        let grid = Grid::new(&[4], &[8], false).expect("sound");
        let rows = rows(&grid, true, &evidence(&grid, true, |_| 50));
        let effective = rows[0].effective.expect("seen");
        assert_eq!((effective.slots, effective.interval), (8.0, Interval { lower: 7.5, upper: f64::INFINITY }));
        assert_eq!(rows[0].verdict, Mismatch);
    }

    #[test]
    fn nothing_seen_is_unknown() {
        let grid = Grid::new(&[1, 2], &[1], true).expect("sound");
        assert_eq!(verdicts(&rows(&grid, true, &[])), [Unknown, Unknown]);
    }

    #[test]
    fn a_row_is_judged_by_what_was_reported_of_it() {
        let grid = Grid::new(&[2, 4], &[8], false).expect("sound");
        let mut evidence = evidence(&grid, true, |workers| workers);
        for seen in &mut evidence {
            seen.reported_slots = Some(seen.cell.workers);
        }
        let rows = rows(&grid, true, &evidence);
        assert_eq!(rows.iter().map(|row| row.reported).collect::<Vec<_>>(), [Some(2), Some(4)]);
        assert_eq!(verdicts(&rows), [Granted, Granted]);
    }

    #[test]
    fn a_row_that_is_not_what_it_is_called_is_warned_of() {
        let warned = [Granted, Queueing, Mismatch, OutOfLine, Unknown].map(SlotsVerdict::is_warned);
        assert_eq!(warned, [false, false, true, true, false]);
    }

    #[test]
    fn the_interval_of_a_median_lies_between_counts() {
        let of = |counts: &[f64]| median_with_order_statistics(counts);
        assert_eq!(of(&[]), None);
        // Five span no interval: all of them.
        assert_eq!(of(&[4.0, 1.0, 3.0, 2.0, 9.0]), Some((3.0, Interval { lower: 0.5, upper: 9.5 })));
        // (25 − 1.96 · 5) / 2 are 7.6: seven are left out at each end.
        let counts: Vec<f64> = (1..=25).map(f64::from).collect();
        assert_eq!(of(&counts), Some((13.0, Interval { lower: 7.5, upper: 18.5 })));
    }
}
