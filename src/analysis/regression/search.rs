//! The best explanation of a pooled series: no change, or one, where and of what shape.

use super::fit::{Effect, Fit, Whitening};
use super::noise::{Jumps, dips};
use super::pool::median;
use super::shapes::{RAMPS, Shape, Surroundings};

/// Rows before a change that is looked for, and before one whose time is known.
pub(super) const LEAST_BEFORE: usize = 6;
pub(super) const LEAST_BEFORE_KNOWN: usize = 3;
/// Rows since.
const LEAST_AFTER: usize = 4;
const LEAST_AFTER_RAMP: usize = 6;
const LEAST_AFTER_KNOWN: usize = 2;
/// Rows since the oldest change that is still looked for.
const MOST_AFTER: usize = 20;
/// The longest dip, in rows: a change must show without any so many of its rows.
const DIP: usize = 3;
/// Deviations by which it then has to show still.
const LEAST_Z_WITHOUT_DIP: f64 = 2.8;
const LEAST_Z_WITHOUT_DIP_BEFORE: f64 = 3.3;
/// The part of a change that each of its outermost rows shows.
const LEAST_PART: f64 = 0.35;
/// By how much another time must explain a series better, as a log-likelihood ratio times
/// two, before a change of identity is not its cause.
const KNOWN_MARGIN: f64 = 6.0;
/// And a ramp, before it is told from a step.
const RAMP_MARGIN: f64 = 2.0;
/// A step this near to a threshold makes ramps worth a look.
const WORTH_A_LOOK: f64 = 1.5;

/// When a change is believed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Thresholds {
    /// Deviations, at a change of identity and anywhere.
    pub known: f64,
    pub unknown: f64,
    /// The least log-ratio.
    pub minimum_effect: f64,
}

impl Thresholds {
    /// With few rows neither the level nor the noise is well known.
    fn of(self, is_known: bool, before: usize, after: usize, noise_rows: f64) -> f64 {
        let base = if is_known { self.known } else { self.unknown };
        base + 3.0 / before as f64 + 8.0 / noise_rows + 0.03 * after.saturating_sub(6) as f64
    }
}

/// A change that could be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Candidate {
    pub shape: Shape,
    /// Its first row, as a place in the line.
    pub first: usize,
    pub is_known: bool,
    /// What is there of it by now.
    pub effect: Effect,
    /// Deviations beyond the threshold.
    pub excess: f64,
    pub before: usize,
    pub after: usize,
}

/// The pooled series of a part of the grid, its dips put aside.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// The place of each row in the window.
    pub rows: Vec<usize>,
    pub y: Vec<f64>,
    pub surroundings: Surroundings,
    pub phi: f64,
    pub variance: f64,
    /// How many rows the variance is known from.
    pub noise_rows: f64,
}

/// What is known of the noise before a window is looked at: a variance and how many rows
/// that is worth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Prior {
    pub variance: f64,
    pub rows: f64,
}

impl Line {
    /// `y` has a value a row of the surroundings; NaN where there is none.
    pub(super) fn new(y: &[f64], surroundings: &Surroundings, phi: f64, prior: Prior) -> Self {
        let rows = (0..y.len()).filter(|&row| y.get(row).is_some_and(|value| !value.is_nan())).collect();
        let mut line = Self {
            rows,
            y: y.iter().copied().filter(|value| !value.is_nan()).collect(),
            surroundings: surroundings.clone(),
            phi,
            variance: 0.0,
            noise_rows: 0.0,
        };
        let pick = |values: &[f64], rows: &[usize]| rows.iter().filter_map(|&row| values.get(row).copied()).collect();
        line.surroundings.positions = pick(&surroundings.positions, &line.rows);
        line.surroundings.seconds = pick(&surroundings.seconds, &line.rows);
        line.estimate(prior);
        let dips = dips(&line.y, line.variance.sqrt());
        if dips.contains(&true) {
            line = line.without(|row| dips.get(row) == Some(&true));
            line.estimate(prior);
        }
        line
    }

    fn estimate(&mut self, prior: Prior) {
        let gaps = self.surroundings.gaps();
        let jumps = Jumps { y: &self.y, gaps: &gaps };
        (self.variance, self.noise_rows) = jumps.variance(self.phi, prior.variance, prior.rows);
    }

    /// The same without some of its rows.
    fn without(&self, is_left_out: impl Fn(usize) -> bool) -> Self {
        fn kept<T: Copy>(values: &[T], is_left_out: &impl Fn(usize) -> bool) -> Vec<T> {
            values.iter().enumerate().filter(|(row, _)| !is_left_out(*row)).map(|(_, value)| *value).collect()
        }
        let surroundings = Surroundings {
            positions: kept(&self.surroundings.positions, &is_left_out),
            seconds: kept(&self.surroundings.seconds, &is_left_out),
            ..self.surroundings.clone()
        };
        Self { rows: kept(&self.rows, &is_left_out), y: kept(&self.y, &is_left_out), surroundings, ..*self }
    }

    pub(super) fn fit(&self) -> Fit {
        let whitening = Whitening::new(&self.surroundings.gaps(), self.phi, self.variance.sqrt());
        Fit::new(&self.y, whitening, &self.surroundings.nuisance())
    }

    fn position(&self, row: usize) -> f64 {
        self.surroundings.positions.get(row).copied().unwrap_or(f64::NAN)
    }

    /// A change of that shape from a position on, as a column.
    fn column(&self, shape: Shape, from: f64) -> Vec<f64> {
        self.surroundings.positions.iter().map(|position| shape.part(position - from + 1.0)).collect()
    }

    /// The change that explains the series best and is believed, if any. `known` are the
    /// places, in this line, of the rows at which the identity changed.
    pub(super) fn best(&self, known: &[usize], thresholds: Thresholds) -> Option<Candidate> {
        let fit = self.fit();
        let candidates = self.candidates(&fit, known, thresholds);
        // No need to be believed to be the better explanation.
        let most = candidates.iter().map(|candidate| candidate.effect.z().powi(2)).fold(0.0, f64::max);
        let explains = |candidate: &&Candidate| candidate.effect.z().powi(2) >= most - KNOWN_MARGIN;
        let is_believed = |candidate: &&Candidate| {
            candidate.excess > 0.0 && candidate.effect.size.abs() >= thresholds.minimum_effect && self.holds(candidate)
        };
        let best_of = |is_known: bool| {
            let mut sorted: Vec<&Candidate> =
                candidates.iter().filter(|candidate| candidate.is_known == is_known).filter(explains).collect();
            sorted.sort_by(|a, b| likelihood(b).total_cmp(&likelihood(a)));
            sorted.into_iter().find(is_believed).copied()
        };
        best_of(true).or_else(|| best_of(false))
    }

    fn candidates(&self, fit: &Fit, known: &[usize], thresholds: Thresholds) -> Vec<Candidate> {
        let rows = self.y.len();
        let candidate = |shape: Shape, first: usize, is_known: bool, effect: Effect| {
            let (before, after) = (first, rows - first);
            let last = self.surroundings.positions.last().copied().unwrap_or(0.0);
            let part = shape.part(last - self.position(first) + 1.0);
            let effect = Effect { size: effect.size * part, standard_error: effect.standard_error * part };
            let excess = effect.z().abs() - thresholds.of(is_known, before, after, self.noise_rows);
            Candidate { shape, first, is_known, effect, excess, before, after }
        };
        let steps = fit.steps();
        let step = |first: usize| steps.get(first).copied().flatten();
        let unknown = LEAST_BEFORE.max(rows.saturating_sub(MOST_AFTER))..(rows + 1).saturating_sub(LEAST_AFTER);
        let oldest = LEAST_BEFORE_KNOWN.max(rows.saturating_sub(MOST_AFTER));
        let is_known = |first: &&usize| (oldest..(rows + 1).saturating_sub(LEAST_AFTER_KNOWN)).contains(*first);
        let mut candidates: Vec<Candidate> = known
            .iter()
            .filter(is_known)
            .filter_map(|&first| Some(candidate(Shape::Step, first, true, step(first)?)))
            .chain(unknown.clone().filter_map(|first| Some(candidate(Shape::Step, first, false, step(first)?))))
            .collect();
        if candidates.iter().all(|candidate| candidate.excess < -WORTH_A_LOOK) {
            return Vec::new();
        }
        let ramp = |first: usize, is_known: bool| {
            RAMPS.into_iter().filter_map(move |length| {
                let shape = Shape::Ramp(length);
                let effect = fit.effect(&self.column(shape, self.position(first)))?;
                (rows - first >= LEAST_AFTER_RAMP).then(|| candidate(shape, first, is_known, effect))
            })
        };
        let ramps: Vec<Candidate> = known
            .iter()
            .filter(is_known)
            .flat_map(|&first| ramp(first, true))
            .chain(unknown.flat_map(|first| ramp(first, false)))
            .collect();
        candidates.extend(ramps);
        candidates
    }

    /// Whether a candidate is a change that lasts, and not a dip.
    fn holds(&self, candidate: &Candidate) -> bool {
        self.shows_at_its_ends(candidate)
            && (candidate.is_known && candidate.shape == Shape::Step || self.shows_without_a_dip(candidate))
    }

    /// The last rows show the change, and of one whose time is known the first do too.
    fn shows_at_its_ends(&self, candidate: &Candidate) -> bool {
        let Candidate { shape, first, effect, .. } = *candidate;
        let last = self.surroundings.positions.last().copied().unwrap_or(0.0);
        let whole = shape.part(last - self.position(first) + 1.0);
        let mut before: Vec<f64> = self.y.iter().copied().take(first).skip(first.saturating_sub(12)).collect();
        let level = median(&mut before);
        let shows = |row: usize| {
            let expected = effect.size * shape.part(self.position(row) - self.position(first) + 1.0) / whole;
            let seen = self.y.get(row).map_or(0.0, |value| value - level);
            seen * expected.signum() >= LEAST_PART * expected.abs()
        };
        let rows = self.y.len();
        let outermost = rows.saturating_sub(DIP).max(first)..rows;
        let firsts = first..(first + if candidate.is_known { DIP } else { 0 }).min(rows);
        outermost.chain(firsts).all(shows)
    }

    /// Whichever rows a dip could have taken, the others show the change.
    fn shows_without_a_dip(&self, candidate: &Candidate) -> bool {
        let Candidate { shape, first, effect, .. } = *candidate;
        let rows = self.y.len();
        let z_without = |dip: usize| {
            let rest = self.without(|row| (dip..dip + DIP).contains(&row));
            let column = rest.column(shape, self.position(first));
            rest.fit().effect(&column).map_or(0.0, |left| left.z() * effect.size.signum())
        };
        z_without(first - DIP) >= LEAST_Z_WITHOUT_DIP_BEFORE
            && (first..=rows - DIP).all(|dip| z_without(dip) >= LEAST_Z_WITHOUT_DIP)
    }
}

/// How well a candidate explains the series; a ramp must be the better one by a margin.
fn likelihood(candidate: &Candidate) -> f64 {
    let margin = if candidate.shape == Shape::Step { 0.0 } else { RAMP_MARGIN };
    candidate.effect.z().powi(2) - margin
}
