//! The pooled series of a part of the grid, ready to be tested.

use std::rc::Rc;

use super::fit::{Design, Effect, Fit};
use super::noise::{Jumps, dips};
use super::shapes::{Restless, Shape, Surroundings};

/// Rows at the end in which changes are looked for; the design holds their steps.
pub(super) const NEWEST_ROWS: usize = 23;
/// Factors of drift and day that are tried, and how far from 1 they are thought to be.
const RESTLESSNESS: [f64; 5] = [0.33, 0.6, 1.0, 1.7, 3.0];
const RESTLESSNESS_PRIOR: f64 = 0.7;
/// Rows that say how restless a series is.
const LEAST_RESTLESS_ROWS: usize = 24;

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
    pub prior: Prior,
}

/// What is known of the noise before a window is looked at: a variance and how many rows
/// that is worth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Prior {
    pub variance: f64,
    pub rows: f64,
}

impl Line {
    /// The autocorrelation of pooled rows, where there are too few to tell.
    pub(super) const USUAL_PHI: f64 = 0.42;

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
            prior,
        };
        let pick = |values: &[f64], rows: &[usize]| rows.iter().filter_map(|&row| values.get(row).copied()).collect();
        line.surroundings.positions = pick(&surroundings.positions, &line.rows);
        line.surroundings.seconds = pick(&surroundings.seconds, &line.rows);
        line.estimate();
        let dips = dips(&line.y, line.variance.sqrt());
        if dips.contains(&true) {
            line = line.without(|row| dips.get(row) == Some(&true));
            line.estimate();
        }
        line
    }

    pub(super) fn estimate(&mut self) {
        let gaps = self.surroundings.gaps();
        let jumps = Jumps { y: &self.y, gaps: &gaps };
        (self.variance, self.noise_rows) = jumps.variance(self.phi, self.prior.variance, self.prior.rows);
    }

    /// The same without some of its rows.
    pub(super) fn without(&self, is_left_out: impl Fn(usize) -> bool) -> Self {
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

    /// How restless the series is, as drift and day go: the factor of their deviations, between
    /// a third and three, that makes the rows most likely. From the rows alone that are too old
    /// for a change to be looked for, so that a change does not hide itself.
    pub(super) fn restlessness(&self) -> f64 {
        let old = self.y.len().saturating_sub(NEWEST_ROWS);
        if old < LEAST_RESTLESS_ROWS {
            return 1.0;
        }
        let mut line = self.without(|row| row >= old);
        let log_weights = RESTLESSNESS.map(|factor| {
            line.surroundings.restless = Restless { drift: factor, day: factor, warmup: 1.0 };
            let likelihood = Fit::new(&line.y, &line.design(), line.variance.sqrt()).log_likelihood();
            likelihood - 0.5 * (factor.ln() / RESTLESSNESS_PRIOR).powi(2)
        });
        let most = log_weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights = log_weights.map(|weight| (weight - most).exp());
        let mean = weights.iter().zip(RESTLESSNESS).map(|(weight, factor)| weight * factor.ln()).sum::<f64>();
        (mean / weights.iter().sum::<f64>()).exp()
    }

    pub(super) fn design(&self) -> Design {
        let first_step = self.y.len().saturating_sub(NEWEST_ROWS);
        Design::new(&self.surroundings.positions, self.phi, &self.surroundings.nuisance(), first_step)
    }

    /// The change of a shape from a position on.
    pub(super) fn effect(&self, shape: Shape, from: f64) -> Option<Effect> {
        Fit::new(&self.y, &self.design(), self.variance.sqrt()).effect(&self.column(shape, from))
    }

    pub(super) fn position(&self, row: usize) -> f64 {
        self.surroundings.positions.get(row).copied().unwrap_or(f64::NAN)
    }

    /// How much of a change of a shape is there by the last row.
    pub(super) fn part_by_now(&self, shape: Shape, first: usize) -> f64 {
        let last = self.surroundings.positions.last().copied().unwrap_or(f64::NAN);
        shape.part(last - self.position(first) + 1.0)
    }

    /// A change of a shape from a position on, as a column.
    pub(super) fn column(&self, shape: Shape, from: f64) -> Vec<f64> {
        self.surroundings.positions.iter().map(|position| shape.part(position - from + 1.0)).collect()
    }
}

/// The designs of one cycle: parts of a grid that have the same rows share one.
#[derive(Debug, Default)]
pub(super) struct Designs(Vec<(Vec<usize>, Rc<Design>)>);

impl Designs {
    pub(super) fn of(&mut self, line: &Line) -> Rc<Design> {
        if let Some((_, design)) = self.0.iter().find(|(rows, _)| *rows == line.rows) {
            return Rc::clone(design);
        }
        let design = Rc::new(line.design());
        self.0.push((line.rows.clone(), Rc::clone(&design)));
        design
    }
}
