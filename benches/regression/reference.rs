//! The test of an observer who knows the series' true covariance, levels, dips, scope and
//! shape: nobody can do much better at the same rate of false alarms.
//!
//! Generalised least squares on the whole covariance matrix. All that it does not know is
//! whether there is a change, how large, and, where the identity stays, when.

use std::f64::consts::TAU;

use llmsoak::analysis::regression::{CellFigures, Measure};

use super::series::{DAY, DRIFT, FACTORS, Kind, RAMP_CYCLES, Series, WARMUP_AT_CHANGE, WARMUP_AT_START};

const WINDOW: usize = 60;
const LEAST_BEFORE: usize = 6;
const MOST_AFTER: usize = 24;
const WARMUP_CYCLES: f64 = 4.0;
/// How far a cell's own noise counts, deviations.
const CLIP: f64 = 3.0;

/// The pooled rows of a scope in one measure.
struct Pooled<'a> {
    series: &'a Series,
    measure: usize,
    /// The variance of the cells' own noise in a row.
    variance: f64,
    /// NaN where the cycle is in a dip or was not measured.
    y: Vec<f64>,
}

impl<'a> Pooled<'a> {
    fn new(series: &'a Series, measure: Measure, kind: Kind) -> Self {
        let nature = &series.nature;
        let index = measure.index();
        let is_member = |place: usize| kind != Kind::BatchFrom16 || nature.cells[place].batch >= 16;
        let members: Vec<usize> = (0..nature.cells.len()).filter(|&place| is_member(place)).collect();
        let deviation = |place: usize| nature.cell_deviations[place] * FACTORS[index];
        let row = |cycle: usize, figures: &[CellFigures]| {
            let (mut sum, mut weights) = (0.0, 0.0);
            for &place in &members {
                let cell = figures.iter().find(|figures| figures.cell == nature.cells[place]);
                let Some(log) = cell.and_then(|cell| cell.log(measure)) else { continue };
                let weight = deviation(place).powi(-2);
                let bound = CLIP * deviation(place);
                let change = series.truth.as_ref().map_or(0.0, |truth| truth.logs[index] * truth.part(cycle));
                // Clipped around what is true, so that heavy tails do not speak for a cell.
                let rest = (log - nature.levels[place][index] - change).clamp(-bound, bound);
                sum += weight * (rest + change);
                weights += weight;
            }
            if weights > 0.0 { sum / weights } else { f64::NAN }
        };
        let y = series.cycles.iter().zip(&nature.dips).enumerate();
        let y = y.map(|(at, (cycle, is_dip))| if *is_dip { f64::NAN } else { row(at, &cycle.cells) }).collect();
        let variance = members.iter().map(|&place| deviation(place).powi(-2)).sum::<f64>().recip();
        Self { series, measure: index, variance, y }
    }

    fn covariance(&self, a: usize, b: usize) -> f64 {
        let (nature, factor) = (&self.series.nature, FACTORS[self.measure]);
        let apart = a.abs_diff(b) as i32;
        let day = |cycle: usize| TAU * self.series.cycles[cycle].at.as_second() as f64 / 86_400.0;
        let left = |cycle: usize, from: usize| {
            if cycle < from { 0.0 } else { (-((cycle - from) as f64) / WARMUP_CYCLES).exp() }
        };
        let (x, z) = (a as f64, b as f64);
        let common = nature.common_deviation * factor;
        // Half of the restarts warm up.
        let restarts: f64 = nature.changes.iter().map(|&from| left(a, from) * left(b, from) / 2.0).sum();
        self.variance * nature.cell_phi.powi(apart)
            + common.powi(2) * nature.common_phi.powi(apart)
            + 1.0
            + (DRIFT * factor / 60.0).powi(2) * x * z
            + (DAY * factor).powi(2) * (day(a) - day(b)).cos()
            + (0.001 * factor).powi(2) * (2.0 * (day(a) - day(b))).cos()
            + (0.0015 * factor).powi(2) * (TAU * (x - z) / 200.0).cos()
            + (WARMUP_AT_START * factor).powi(2) * left(a, 0) * left(b, 0)
            + (WARMUP_AT_CHANGE * factor).powi(2) * restarts
    }

    /// The deviations by which a change shows at each of `firsts`, seen from cycle `now`.
    fn z(&self, now: usize, firsts: &[usize], is_ramp: bool) -> f64 {
        let start = (now + 1).saturating_sub(WINDOW + MOST_AFTER);
        let rows: Vec<usize> = (start..=now).filter(|&row| !self.y[row].is_nan()).collect();
        let size = rows.len();
        let mut factor = vec![0.0; size * size];
        for i in 0..size {
            for j in 0..=i {
                let mut rest = self.covariance(rows[i], rows[j]);
                for k in 0..j {
                    rest -= factor[i * size + k] * factor[j * size + k];
                }
                factor[i * size + j] = if i == j { rest.max(1e-12).sqrt() } else { rest / factor[j * size + j] };
            }
        }
        let whiten = |column: &dyn Fn(usize) -> f64| {
            let mut solved = vec![0.0; size];
            for i in 0..size {
                let mut rest = column(rows[i]);
                for k in 0..i {
                    rest -= factor[i * size + k] * solved[k];
                }
                solved[i] = rest / factor[i * size + i];
            }
            solved
        };
        let y = whiten(&|row| self.y[row]);
        let z = |first: usize| {
            let shape = |row: usize| match (row + 1).saturating_sub(first) {
                0 => 0.0,
                since if is_ramp => (since as f64 / RAMP_CYCLES as f64).min(1.0),
                _ => 1.0,
            };
            let x = whiten(&shape);
            let xx: f64 = x.iter().map(|x| x * x).sum();
            let xy: f64 = x.iter().zip(&y).map(|(x, y)| x * y).sum();
            xy / xx.sqrt()
        };
        let is_seen = |first: &&usize| {
            let before = rows.iter().filter(|row| *row < *first).count();
            before >= LEAST_BEFORE && rows.last().is_some_and(|last| *last >= **first)
        };
        firsts.iter().filter(is_seen).map(|&first| z(first).abs()).fold(0.0, f64::max)
    }

    fn recent(now: usize) -> Vec<usize> {
        ((now + 1).saturating_sub(MOST_AFTER)..=now).collect()
    }
}

/// The most that a changeless series shows: at known changes of identity, and anywhere.
fn most(series: &Series, measure: Measure) -> (Vec<f64>, Vec<f64>) {
    let pooled = Pooled::new(series, measure, Kind::AllCells);
    let length = series.cycles.len();
    let known = series.nature.changes.iter().map(|&change| {
        (change..(change + MOST_AFTER).min(length)).map(|now| pooled.z(now, &[change], false)).fold(0.0, f64::max)
    });
    // Peaks closer together than the oldest change that is looked for are one alarm.
    let scan = (0..length).collect::<Vec<_>>();
    let peaks = scan
        .chunks(MOST_AFTER)
        .map(|nows| nows.iter().map(|&now| pooled.z(now, &Pooled::recent(now), false)).fold(0.0, f64::max));
    (known.collect(), peaks.collect())
}

/// Deviations at which an alarm is raised.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Thresholds {
    pub(crate) known: f64,
    pub(crate) unknown: f64,
}

impl Thresholds {
    /// So that changeless series give the rate, half of it at known changes.
    pub(crate) fn calibrate<'a>(changeless: impl Iterator<Item = &'a Series>, alarms_per_1000: f64) -> Self {
        let (mut known, mut unknown, mut cycles) = (Vec::new(), Vec::new(), 0);
        for series in changeless {
            cycles += series.cycles.len();
            for measure in Measure::ALL {
                let (at_changes, anywhere) = most(series, measure);
                known.extend(at_changes);
                unknown.extend(anywhere);
            }
        }
        let allowed = alarms_per_1000 / 2.0 * cycles as f64 / 1000.0;
        let threshold = |mut values: Vec<f64>| {
            values.sort_by(|a, b| b.total_cmp(a));
            values
                .into_iter()
                .enumerate()
                .find(|(above, _)| *above as f64 + 1.0 > allowed)
                .map_or(0.0, |(_, value)| value)
        };
        Self { known: threshold(known), unknown: threshold(unknown) }
    }

    /// Whether the observer finds the change of a series in time.
    pub(crate) fn finds(self, series: &Series) -> bool {
        let truth = series.truth.as_ref().expect("a series with a change");
        let pooled = Pooled::new(series, truth.kind.measure(), truth.kind);
        let is_ramp = truth.kind == Kind::Ramp;
        let last = (truth.first + MOST_AFTER).min(series.cycles.len() - 1);
        (truth.first..=last).any(|now| {
            if truth.component.is_some() && pooled.z(now, &[truth.first], is_ramp) > self.known {
                return true;
            }
            pooled.z(now, &Pooled::recent(now), is_ramp) > self.unknown
        })
    }
}
