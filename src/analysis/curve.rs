//! The slots of a row, read from the shape of its rates over the batches.
//!
//! The second witness, for samples in which no streams were seen: a batch of B through n
//! slots takes ⌈B/n⌉ waves, a·⌈B/n⌉ + b·B for a token of each answer. A row's n is the one
//! whose staircase its batches follow. A knee of the server looks like fewer slots here,
//! which is why streams that were seen come first.

use super::interval::{CONFIDENCE, Interval, normal_quantile};
use super::quantile::median;
use super::step::{self, StepPoint};
use crate::domain::Cell;

/// The batches of one row.
#[derive(Clone, Debug)]
pub(super) struct RowCurve {
    pub(super) workers: u32,
    /// The most slots that can show: the workers where the client limits them.
    pub(super) most_slots: u32,
    /// (B, seconds for a token of each answer), by batch.
    pub(super) points: Vec<(u32, f64)>,
}

/// What a row's curve says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct CurveSlots {
    pub(super) slots: u32,
    /// Holds for all rows of a grid together with 95 %: one false warning in twenty grids.
    pub(super) interval: Interval,
    /// Whether no number of slots explains the row as the other rows are explained.
    pub(super) is_out_of_line: bool,
}

/// Batches below which a staircase is not seen.
const FEWEST_BATCHES: usize = 4;
/// Rows below which none is out of line with the others.
const FEWEST_ROWS: usize = 4;
/// A row is out of line when its residuals are this many times those of the middle row.
const OUT_OF_LINE: f64 = 3.0;
/// The model is not better than this, relative: unequal answers blur the staircase.
const LEAST_RELATIVE_ERROR: f64 = 0.02;
/// More slots are not looked for.
const MOST_SLOTS: u32 = 256;
/// Rounds of fitting the line to the slots and the slots to the line; few are needed.
const ROUNDS: usize = 20;
/// The most slots of a server that are tried beside what was asked for.
const SERVER_SLOTS: [u32; 14] = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128];
/// What they must explain better than what was asked for, as a logarithm of likelihood.
const MARGIN: f64 = 3.0;

/// Reads all rows together, for they share the server's step. `None` of a row that has too
/// few batches, and of all where no line fits.
pub(super) fn read(rows: &[RowCurve]) -> Vec<Option<CurveSlots>> {
    let asked: Vec<u32> = rows.iter().map(|row| row.workers.min(row.most_slots).max(1)).collect();
    let Some(line) = likeliest(rows, &asked) else { return vec![None; rows.len()] };
    let bests: Vec<Best> = rows.iter().map(|row| best(row, line)).collect();
    let judged: Vec<f64> = rows
        .iter()
        .zip(&bests)
        .filter(|(row, _)| row.points.len() >= FEWEST_BATCHES)
        .map(|(_, best)| best.variance)
        .collect();
    let usual = median(&judged).unwrap_or(0.0).max(LEAST_RELATIVE_ERROR.powi(2));
    let z = reach(judged.len());
    rows.iter()
        .zip(&bests)
        .map(|(row, best)| {
            (row.points.len() >= FEWEST_BATCHES).then(|| CurveSlots {
                slots: best.slots,
                interval: interval(row, line, best, z * z * usual.max(best.variance)),
                is_out_of_line: judged.len() >= FEWEST_ROWS && best.variance > OUT_OF_LINE.powi(2) * usual,
            })
        })
        .collect()
}

/// The line that explains the rows best. Fitting ends at an explanation that no row can make
/// better alone. Where most rows have fewer slots than they asked for it ends at a wrong one, so
/// it begins anew for each number of slots that the server may have at most.
fn likeliest(rows: &[RowCurve], asked: &[u32]) -> Option<Line> {
    let judged = |slots: Vec<u32>| settle(rows, slots).map(|line| (log_likelihood(rows, line), line));
    let as_asked = judged(asked.to_vec()).map(|(likelihood, line)| (likelihood + MARGIN, line));
    let largest = asked.iter().copied().max()?;
    let caps = SERVER_SLOTS.into_iter().filter(|&cap| cap < largest);
    let capped = caps.filter_map(|cap| judged(asked.iter().map(|&slots| slots.min(cap)).collect()));
    let capped = capped.filter(|(_, line)| is_step(*line));
    as_asked.into_iter().chain(capped).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, line)| line)
}

/// Whether a server can have such a step: a stream more makes it no cheaper, but for what the line
/// errs by.
fn is_step((fixed, per_stream): Line) -> bool {
    fixed > 0.0 && per_stream > -LEAST_RELATIVE_ERROR * fixed
}

/// Fits the line to the slots and the slots to the line until they agree.
fn settle(rows: &[RowCurve], mut slots: Vec<u32>) -> Option<Line> {
    let mut line = None;
    for _ in 0..ROUNDS {
        let found = fit(rows, &slots)?;
        let better = rows.iter().map(|row| best(row, found).slots).collect();
        line = Some(found);
        if better == slots {
            break;
        }
        slots = better;
    }
    line
}

/// How likely the rows are with a line, each with an error of its own: one that nothing explains
/// has little weight.
fn log_likelihood(rows: &[RowCurve], line: Line) -> f64 {
    let of = |row: &RowCurve| {
        let variance = best(row, line).variance + LEAST_RELATIVE_ERROR.powi(2);
        -0.5 * row.points.len() as f64 * variance.ln()
    };
    rows.iter().map(of).sum()
}

/// Deviations on each side of the intervals of so many rows. Bonferroni's bound: each is so wide
/// that all hold together.
fn reach(rows: usize) -> f64 {
    normal_quantile(1.0 - (1.0 - CONFIDENCE) / 2.0 / rows.max(1) as f64)
}

/// a and b, seconds.
type Line = (f64, f64);

fn fit(rows: &[RowCurve], slots: &[u32]) -> Option<Line> {
    let points: Vec<StepPoint> = rows
        .iter()
        .zip(slots)
        .flat_map(|(row, &slots)| {
            row.points.iter().map(move |&(batch, seconds)| StepPoint {
                cell: Cell::new(row.workers, batch),
                waves: f64::from(batch.div_ceil(slots)),
                streams: f64::from(batch),
                seconds,
            })
        })
        .collect();
    let fit = step::fit(&points)?;
    Some((fit.fixed_seconds.value, fit.per_stream_seconds.value))
}

/// Sum of the squared logarithms of measured / expected.
fn misfit(row: &RowCurve, (fixed, per_stream): Line, slots: u32) -> f64 {
    let squared = |&(batch, seconds): &(u32, f64)| {
        let expected = fixed * f64::from(batch.div_ceil(slots)) + per_stream * f64::from(batch);
        if expected > 0.0 { (seconds / expected).ln().powi(2) } else { f64::INFINITY }
    };
    row.points.iter().map(squared).sum()
}

struct Best {
    slots: u32,
    misfit: f64,
    /// Mean square of the residuals, less the one number that was fitted.
    variance: f64,
}

/// The number of slots that explains the row best; of equals the one nearest to the workers.
fn best(row: &RowCurve, line: Line) -> Best {
    let largest = row.points.iter().map(|&(batch, _)| batch).max().unwrap_or(1);
    let (slots, misfit) = (1..=largest.min(row.most_slots).clamp(1, MOST_SLOTS))
        .map(|slots| (slots, misfit(row, line, slots)))
        .min_by(|a, b| a.1.total_cmp(&b.1).then(a.0.abs_diff(row.workers).cmp(&b.0.abs_diff(row.workers))))
        .unwrap_or((1, f64::INFINITY));
    let freedom = row.points.len().saturating_sub(1).max(1);
    Best { slots, misfit, variance: misfit / freedom as f64 }
}

/// All numbers of slots whose misfit is at most `slack` above the best one's: a profile
/// likelihood interval. Slots beyond the largest batch cannot be told apart.
fn interval(row: &RowCurve, line: Line, best: &Best, slack: f64) -> Interval {
    let largest = row.points.iter().map(|&(batch, _)| batch).max().unwrap_or(1);
    let fits = |slots: &u32| misfit(row, line, *slots) <= best.misfit + slack;
    let lower = (1..=best.slots).find(fits).unwrap_or(best.slots);
    let upper = (best.slots..=largest.min(MOST_SLOTS.max(best.slots))).rev().find(fits).unwrap_or(best.slots);
    let is_unbounded = upper >= largest.min(MOST_SLOTS);
    Interval { lower: f64::from(lower) - 0.5, upper: if is_unbounded { f64::INFINITY } else { f64::from(upper) + 0.5 } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_of_several_rows_hold_together() {
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-4, "{a} is not {b}");
        close(reach(0), 1.959_96);
        close(reach(1), 1.959_96);
        close(reach(5), 2.575_83);
        close(reach(50), 3.290_53);
    }

    /// Seconds for a token of each answer of a server with a step of 20 ms and 2 ms a stream.
    fn seconds(batch: u32, slots: u32) -> f64 {
        0.020 * f64::from(batch.div_ceil(slots)) + 0.002 * f64::from(batch)
    }

    /// Rows of a server that gives each at most so many slots.
    fn rows(workers: &[u32], granted: u32) -> Vec<RowCurve> {
        let row = |&workers: &u32| RowCurve {
            workers,
            most_slots: workers,
            points: [1, 2, 4, 6, 9, 12, 18, 24].map(|batch| (batch, seconds(batch, workers.min(granted)))).to_vec(),
        };
        workers.iter().map(row).collect()
    }

    fn slots(rows: &[RowCurve]) -> Vec<u32> {
        read(rows).iter().map(|slots| slots.expect("is read").slots).collect()
    }

    #[test]
    fn line_and_slots_are_fitted_to_each_other_until_they_agree() {
        // By the first line, of the slots that were asked for, the larger rows have seven.
        let rows = rows(&[1, 4, 8, 15], 4);
        let of = |line: Line| -> Vec<u32> { rows.iter().map(|row| best(row, line).slots).collect() };
        assert_eq!(of(fit(&rows, &[1, 4, 8, 15]).expect("a line")), [1, 4, 7, 7]);
        let (fixed, per_stream) = settle(&rows, vec![1, 4, 8, 15]).expect("a line");
        assert_eq!(of((fixed, per_stream)), [1, 4, 4, 4]);
        assert!((fixed - 0.020).abs() < 1e-6 && (per_stream - 0.002).abs() < 1e-6, "{fixed} {per_stream}");
    }

    #[test]
    fn a_server_that_gives_hardly_any_row_its_slots_is_seen_through() {
        assert_eq!(slots(&rows(&[4, 6, 8, 12], 3)), [3, 3, 3, 3]);
        assert_eq!(slots(&rows(&[1, 4, 8, 16], 2)), [1, 2, 2, 2]);
        assert_eq!(slots(&rows(&[4, 8, 16, 32], 3)), [3, 3, 3, 3]);
        assert_eq!(slots(&rows(&[1, 2, 3, 4, 6, 8, 10, 12, 14, 16, 18], 3)), [1, 2, 3, 3, 3, 3, 3, 3, 3, 3, 3]);
    }

    #[test]
    fn rows_have_what_they_asked_for_unless_that_explains_clearly_less() {
        let asked = rows(&[2, 3, 6, 8], 8);
        let line = likeliest(&asked, &[2, 3, 6, 8]).expect("a line");
        assert_eq!(Some(line), settle(&asked, vec![2, 3, 6, 8]));
        assert_eq!(slots(&asked), [2, 3, 6, 8]);
        assert_eq!(likeliest(&rows(&[1], 1), &[1]), None, "waves and streams are one");
        assert_eq!(likeliest(&[], &[]), None);
    }

    #[test]
    fn a_little_more_is_explained_by_chance() {
        let mut rows = rows(&[1, 4, 8], 8);
        for row in &mut rows {
            let workers = row.workers;
            let noise = |batch: u32| 0.084 * f64::from(56 + 3 * batch * workers + batch).sin();
            row.points.iter_mut().for_each(|(batch, seconds)| *seconds *= noise(*batch).exp());
        }
        let (asked, less) = (settle(&rows, vec![1, 4, 8]), settle(&rows, vec![1, 4, 4]));
        let gain = log_likelihood(&rows, less.expect("a line")) - log_likelihood(&rows, asked.expect("a line"));
        assert!((0.5..3.0).contains(&gain), "{gain}");
        assert_eq!(likeliest(&rows, &[1, 4, 8]), asked);
    }

    #[test]
    fn a_line_on_which_streams_make_a_step_cheaper_is_none_of_a_server() {
        for (fixed, per_stream, expected) in [
            (0.02, 0.002, true),
            (0.02, -0.0003, true),
            (0.02, -0.0005, false),
            (-0.02, 0.02, false),
            (3.0, -0.05, true),
        ] {
            assert_eq!(is_step((fixed, per_stream)), expected, "{fixed} {per_stream}");
        }
        // 30 ms and −8 ms through as many slots as asked for explain these as well.
        let mut rows = rows(&[8, 16, 32], 4);
        for row in &mut rows {
            row.points = [1, 4, 8, 16, 32, 64].map(|batch| (batch, seconds(batch, 4))).to_vec();
        }
        assert_eq!(slots(&rows), [4, 4, 4]);
        let (fixed, per_stream) = likeliest(&rows, &[8, 16, 32]).expect("a line");
        assert!((fixed - 0.020).abs() < 1e-6 && (per_stream - 0.002).abs() < 1e-6, "{fixed} {per_stream}");
    }

    #[test]
    fn rows_are_as_likely_as_their_errors_are_small() {
        let mut row = rows(&[4], 4).remove(0);
        let exact = -0.5 * 8.0 * 0.0004_f64.ln();
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-9, "{a} is not {b}");
        close(log_likelihood(&[row.clone()], (0.020, 0.002)), exact);
        // One of eight is off by a factor: seven degrees of freedom.
        row.points[0].1 *= 0.1_f64.exp();
        let off = -0.5 * 8.0 * (0.0004_f64 + 0.01 / 7.0).ln();
        close(log_likelihood(&[row.clone()], (0.020, 0.002)), off);
        close(log_likelihood(&[rows(&[4], 4).remove(0), row], (0.020, 0.002)), exact + off);
    }
}
