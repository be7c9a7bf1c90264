//! Two epochs beside each other: how much they differ, and how surely.
//!
//! The same pooling and the same test as the detector's, at a boundary that is known.

use super::affected::cell_changes;
use super::line::{Line, Prior};
use super::pool::{Registry, Usuals};
use super::shapes::{Restless, Shape, Surroundings, Warmup};
use super::track::{COMMON, COMMON_ROWS, own_factor};
use super::verdict::ratio;
use super::view::CycleView;
use crate::domain::{Comparison, Measure, Verdict};

/// Cycles that a baseline needs to be one, unless the user chose it.
pub const LEAST_BASELINE_CYCLES: usize = 3;
/// Cycles that are needed of what is compared with it.
pub const LEAST_CURRENT_CYCLES: usize = 2;
/// The newest cycles of an epoch that are weighed.
pub const MOST_CYCLES: usize = 60;
/// How far apart two epochs are held to be, cycles: nothing of the noise is left, and drift
/// is not that of the months between them.
const APART: f64 = 12.0;

/// Compares two epochs by the cells that they share, each measure by itself. Cycles are in
/// their order; `is_chosen` says that the user named the baseline, which then needs no number
/// of cycles.
pub fn compare(baseline: &[CycleView], current: &[CycleView], is_chosen: bool) -> [Comparison; 3] {
    let mut registry = Registry::default();
    for cycle in baseline.iter().chain(current) {
        registry.learn(&cycle.cells);
    }
    let least = if is_chosen { 1 } else { LEAST_BASELINE_CYCLES };
    Measure::ALL.map(|measure| compare_measure(&registry, measure, baseline, current, least))
}

/// One cycle's logarithms with its time, seconds of UTC.
type Timed = (f64, Vec<f64>);

fn compare_measure(
    registry: &Registry,
    measure: Measure,
    baseline: &[CycleView],
    current: &[CycleView],
    least: usize,
) -> Comparison {
    let newest = |cycles: &[CycleView]| -> Vec<Timed> {
        let rows = cycles.iter().map(|cycle| (cycle.at.as_second() as f64, registry.logs(&cycle.cells, measure)));
        let mut rows: Vec<Timed> = rows.filter(|(_, logs)| logs.iter().any(|log| !log.is_nan())).collect();
        rows.drain(..rows.len().saturating_sub(MOST_CYCLES));
        rows
    };
    let (mut old, mut new) = (newest(baseline), newest(current));
    keep_common(&mut old, &mut new);
    let mut comparison = Comparison {
        measure,
        verdict: Verdict::TooFew,
        baseline_cycles: old.len(),
        current_cycles: new.len(),
        cells: Vec::new(),
    };
    if old.len() < least || new.len() < LEAST_CURRENT_CYCLES {
        return comparison;
    }
    let logs = |rows: &[Timed]| -> Vec<Vec<f64>> { rows.iter().map(|(_, logs)| logs.clone()).collect() };
    let (old_logs, new_logs) = (logs(&old), logs(&new));
    let (old_logs, new_logs): (Vec<&[f64]>, Vec<&[f64]>) =
        (old_logs.iter().map(Vec::as_slice).collect(), new_logs.iter().map(Vec::as_slice).collect());
    let all = [old_logs.as_slice(), new_logs.as_slice()].concat();
    let usuals = Usuals::of(&all, registry.cells.len());
    let members: Vec<usize> = (0..registry.cells.len()).collect();
    let mut scratch = Vec::new();
    let y: Vec<f64> = all.iter().map(|row| usuals.pooled(row, &members, &mut scratch)).collect();
    let start = old.len() as f64 + APART;
    let positions = (0..old.len()).map(|row| row as f64).chain((0..new.len()).map(|row| start + row as f64));
    let surroundings = Surroundings {
        positions: positions.collect(),
        seconds: old.iter().chain(&new).map(|(seconds, _)| *seconds).collect(),
        warmups: [0.0, start].map(|position| Warmup { position, is_start: false }).to_vec(),
        settling: None,
        factor: own_factor(measure),
        restless: Restless::USUAL,
    };
    let common = COMMON * own_factor(measure);
    let own = Some(usuals.variance(&members)).filter(|variance| variance.is_finite()).unwrap_or(0.0);
    let prior = Prior { variance: own + common * common, rows: COMMON_ROWS };
    let line = Line::new(&y, &surroundings, Line::USUAL_PHI, prior);
    if let Some(effect) = line.effect(Shape::Step, start) {
        comparison.verdict = Verdict::Says(ratio(effect.size, effect.standard_error, line.noise_rows));
    }
    comparison.cells = cell_changes(&registry.cells, &usuals, &old_logs, &new_logs);
    if comparison.beyond(0.0).is_none() {
        // Cells are named only where all of them together have changed.
        comparison.cells.iter_mut().for_each(|change| change.is_affected = false);
    }
    comparison
}

/// Leaves the cells alone that both epochs measured, and the cycles that then hold any.
fn keep_common(old: &mut Vec<Timed>, new: &mut Vec<Timed>) {
    let is_in =
        |rows: &[Timed], place: usize| rows.iter().any(|(_, logs)| logs.get(place).is_some_and(|log| !log.is_nan()));
    let cells = old.iter().chain(new.iter()).map(|(_, logs)| logs.len()).max().unwrap_or(0);
    let is_common: Vec<bool> = (0..cells).map(|place| is_in(old, place) && is_in(new, place)).collect();
    for rows in [old, new] {
        for (_, logs) in rows.iter_mut() {
            let left_out = logs.iter_mut().zip(&is_common).filter(|(_, is_common)| !**is_common);
            left_out.for_each(|(log, _)| *log = f64::NAN);
        }
        rows.retain(|(_, logs)| logs.iter().any(|log| !log.is_nan()));
    }
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};

    use super::*;
    use crate::analysis::regression::CellFigures;
    use crate::domain::{Cell, Direction, Facts, Ratio};

    /// Cycles of four cells that wobble by half a percent, at a level.
    fn epoch(start_hour: i64, cycles: usize, level: f64, batches: &[u32]) -> Vec<CycleView> {
        (0..cycles)
            .map(|cycle| CycleView {
                at: Timestamp::UNIX_EPOCH + SignedDuration::from_hours(start_hour + cycle as i64),
                identity: Facts::new(),
                cells: batches
                    .iter()
                    .map(|&batch| {
                        let wobble = 1.0 + 0.005 * f64::sin((5 * cycle) as f64 + 1.7 * f64::from(batch));
                        let rate = 10.0 * f64::from(batch) * wobble * level;
                        CellFigures { cell: Cell::new(2, batch), figures: [Some(rate), None, Some(1.0 / rate)] }
                    })
                    .collect(),
            })
            .collect()
    }

    const BATCHES: &[u32] = &[4, 8, 16, 32];

    fn ratio(comparison: &Comparison) -> Ratio {
        match comparison.verdict {
            Verdict::Says(ratio) => ratio,
            Verdict::TooFew => panic!("too few: {comparison:?}"),
        }
    }

    #[test]
    fn a_slower_epoch_is_a_regression_of_that_size() {
        let [rate, ttft, itl] = compare(&epoch(0, 6, 1.0, BATCHES), &epoch(100, 4, 0.92, BATCHES), false);
        assert!((ratio(&rate).value - 0.92).abs() < 0.008, "{rate:?}");
        assert_eq!(rate.beyond(0.01), Some(Direction::Regression));
        assert!(rate.is_regression(0.03) && !rate.is_regression(0.2));
        assert!(rate.cells.iter().all(|change| change.is_affected), "{rate:?}");
        assert_eq!(itl.beyond(0.01), Some(Direction::Regression));
        assert!((ratio(&itl).value - 1.0 / 0.92).abs() < 0.008, "{itl:?}");
        assert_eq!(ttft.verdict, Verdict::TooFew);
    }

    #[test]
    fn a_comparison_is_the_detectors_test_of_epochs_that_are_apart() {
        // Three cycles and two, of cells that do not move: each is as quiet as any may be, and a
        // usual scale counts for eight rows.
        let (own, slower) = (1e-8 * 8.0 / 13.0 / 4.0, 0.99);
        let steady = |hour: i64, cycles: usize, level: f64| -> Vec<CycleView> {
            let cell = |&batch: &u32| {
                let figure = Some(f64::from(batch) * level);
                CellFigures { cell: Cell::new(2, batch), figures: [figure; 3] }
            };
            let at = |cycle: usize| Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hour + cycle as i64);
            let cells = || BATCHES.iter().map(cell).collect();
            (0..cycles).map(|cycle| CycleView { at: at(cycle), identity: Facts::new(), cells: cells() }).collect()
        };
        let comparisons = compare(&steady(0, 3, 1.0), &steady(30, 2, slower), false);
        for (comparison, factor) in comparisons.iter().zip([1.0, 1.5, 1.0]) {
            let surroundings = Surroundings {
                positions: vec![0.0, 1.0, 2.0, 15.0, 16.0],
                seconds: [0.0, 1.0, 2.0, 30.0, 31.0].map(|hours| 3600.0 * hours).to_vec(),
                warmups: [0.0, 15.0].map(|position| Warmup { position, is_start: false }).to_vec(),
                factor,
                ..Surroundings::default()
            };
            let moved = f64::ln(slower);
            let prior = Prior { variance: own + (0.003 * factor).powi(2), rows: 8.0 };
            let line = Line::new(&[0.0, 0.0, 0.0, moved, moved], &surroundings, 0.42, prior);
            let effect = line.effect(Shape::Step, 15.0).expect("can be told");
            let expected = super::ratio(effect.size, effect.standard_error, line.noise_rows);
            let found = ratio(comparison);
            for (found, expected) in
                [(found.value, expected.value), (found.lower, expected.lower), (found.upper, expected.upper)]
            {
                assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
            }
        }
    }

    #[test]
    fn alike_epochs_do_not_differ() {
        let [rate, ..] = compare(&epoch(0, 6, 1.0, BATCHES), &epoch(100, 4, 1.0, BATCHES), false);
        let ratio = ratio(&rate);
        assert!(ratio.lower < 1.0 && ratio.upper > 1.0, "{ratio:?}");
        assert_eq!(rate.beyond(0.0), None);
        assert!(rate.cells.iter().all(|change| !change.is_affected));
    }

    #[test]
    fn too_few_cycles_say_nothing_unless_they_were_chosen() {
        let check = |old: usize, new: usize, is_chosen: bool, says: bool| {
            let [rate, ..] = compare(&epoch(0, old, 1.0, BATCHES), &epoch(9, new, 0.5, BATCHES), is_chosen);
            assert_eq!(rate.verdict != Verdict::TooFew, says, "{old} {new} {is_chosen}");
        };
        check(3, 2, false, true);
        check(2, 2, false, false);
        check(3, 1, false, false);
        check(1, 2, true, true);
        check(0, 2, true, false);
    }

    #[test]
    fn a_changed_grid_compares_the_common_cells() {
        let [rate, ..] = compare(&epoch(0, 5, 1.0, &[4, 8, 16]), &epoch(9, 5, 0.9, &[8, 16, 64]), false);
        let cells: Vec<u32> = rate.cells.iter().map(|change| change.cell.batch).collect();
        assert_eq!(cells, [8, 16]);
        assert!((ratio(&rate).value - 0.9).abs() < 0.01, "{rate:?}");
        let [rate, ..] = compare(&epoch(0, 5, 1.0, &[4]), &epoch(9, 5, 0.9, &[8]), false);
        assert_eq!(rate.verdict, Verdict::TooFew);
    }
}
