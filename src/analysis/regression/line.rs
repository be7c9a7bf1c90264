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

#[cfg(test)]
mod tests {
    use super::*;

    const NAN: f64 = f64::NAN;
    const PHI: f64 = 0.5;
    const PRIOR: Prior = Prior { variance: 0.01, rows: 4.0 };

    fn surroundings(rows: usize) -> Surroundings {
        Surroundings {
            positions: (0..rows).map(|row| row as f64).collect(),
            seconds: (0..rows).map(|row| 2400.0 * row as f64).collect(),
            factor: 1.0,
            ..Surroundings::default()
        }
    }

    fn line(y: &[f64]) -> Line {
        Line::new(y, &surroundings(y.len()), PHI, PRIOR)
    }

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-12, "{a} is not {b}");
    }

    #[test]
    fn rows_without_a_value_are_left_out_with_their_place_and_time() {
        let line = line(&[0.1, NAN, 0.3, 0.2, NAN, 0.2]);
        assert_eq!((line.rows.as_slice(), line.y.as_slice()), (&[0, 2, 3, 5][..], &[0.1, 0.3, 0.2, 0.2][..]));
        assert_eq!(line.surroundings.positions, [0.0, 2.0, 3.0, 5.0]);
        assert_eq!(line.surroundings.seconds, [0.0, 4800.0, 7200.0, 12_000.0]);
        let jumps = Jumps { y: &line.y, gaps: &[0.0, 2.0, 1.0, 2.0] };
        assert_eq!((line.variance, line.noise_rows), jumps.variance(PHI, 0.01, 4.0));
        assert_eq!(line.noise_rows, 7.0);
    }

    #[test]
    fn dips_are_put_aside_and_the_noise_is_that_of_the_rest() {
        let wobble = |row: usize| 0.01 * (row % 3) as f64;
        let with_dip: Vec<f64> =
            (0..20).map(|row| wobble(row) - if (9..11).contains(&row) { 3.0 } else { 0.0 }).collect();
        let with_gap: Vec<f64> = (0..20).map(|row| if (9..11).contains(&row) { NAN } else { wobble(row) }).collect();
        let (dip, gap) = (line(&with_dip), line(&with_gap));
        assert_eq!((&dip.rows, &dip.y), (&gap.rows, &gap.y));
        assert_eq!((dip.variance, dip.noise_rows), (gap.variance, gap.noise_rows));
        assert_eq!(dip.surroundings.positions, gap.surroundings.positions);
        assert_eq!(dip.surroundings.seconds, gap.surroundings.seconds);
    }

    #[test]
    fn a_line_without_some_rows_keeps_the_others_and_what_is_known_of_the_noise() {
        let whole = line(&[0.1, 0.3, 0.2, 0.2, 0.1]);
        let rest = whole.without(|row| row == 1 || row == 3);
        assert_eq!((rest.rows.as_slice(), rest.y.as_slice()), (&[0, 2, 4][..], &[0.1, 0.2, 0.1][..]));
        assert_eq!(rest.surroundings.positions, [0.0, 2.0, 4.0]);
        assert_eq!(rest.surroundings.seconds, [0.0, 4800.0, 9600.0]);
        assert_eq!(rest.surroundings.factor, 1.0);
        assert_eq!((rest.phi, rest.variance, rest.noise_rows), (PHI, whole.variance, whole.noise_rows));
    }

    #[test]
    fn a_shape_as_a_column_begins_at_its_position() {
        let line = line(&[0.0; 6]);
        assert_eq!(line.column(Shape::Step, 4.0), [0.0, 0.0, 0.0, 0.0, 1.0, 1.0]);
        assert_eq!(line.column(Shape::Ramp(4.0), 3.0), [0.0, 0.0, 0.0, 0.25, 0.5, 0.75]);
        assert_eq!((line.position(2), line.position(6).is_nan()), (2.0, true));
        assert_eq!([2, 3, 5].map(|first| line.part_by_now(Shape::Ramp(4.0), first)), [1.0, 0.75, 0.25]);
        assert_eq!([0, 5].map(|first| line.part_by_now(Shape::Step, first)), [1.0, 1.0]);
    }

    #[test]
    fn an_effect_is_of_the_column_under_what_is_no_change() {
        let line = line(&[0.0, 0.1, 0.0, 0.1, 0.5, 0.6, 0.5]);
        let design = Design::new(&line.surroundings.positions, PHI, &line.surroundings.nuisance(), 0);
        let expected = Fit::new(&line.y, &design, line.variance.sqrt()).effect(&[0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0]);
        assert!(expected.is_some());
        assert_eq!(line.effect(Shape::Step, 4.0), expected);
    }

    #[test]
    fn the_design_holds_the_steps_of_the_newest_rows() {
        let first = |rows: usize| {
            let line = line(&vec![0.0; rows]);
            let design = line.design();
            Fit::new(&line.y, &design, 1.0).steps().first().map(|(row, _)| *row)
        };
        assert_eq!([10, 23, 24, 40].map(first), [Some(0), Some(0), Some(1), Some(17)]);
    }

    #[test]
    fn parts_with_the_same_rows_share_a_design() {
        let mut designs = Designs::default();
        let (one, same, other) = (line(&[0.0; 5]), line(&[0.1; 5]), line(&[0.0, 0.0, NAN, 0.0, 0.0]));
        let design = designs.of(&one);
        assert!(Rc::ptr_eq(&design, &designs.of(&same)));
        assert!(!Rc::ptr_eq(&design, &designs.of(&other)));
        assert!(Rc::ptr_eq(&designs.of(&other), &designs.of(&other)));
    }

    /// As many rows, of which the old ones have a drift of a size, and a little noise.
    fn drifting(rows: usize, size: f64) -> Line {
        let y: Vec<f64> = (0..rows).map(|row| size * row as f64 / 60.0 + 0.002 * (row as f64 * 2.4).sin()).collect();
        Line::new(&y, &surroundings(rows), PHI, Prior { variance: 1e-5, rows: 4.0 })
    }

    #[test]
    fn restlessness_is_the_mean_over_the_factors_that_could_be() {
        for size in [0.0, 0.01, 0.06] {
            let line = drifting(60, size);
            let old = line.without(|row| row >= 37);
            let (mut sum, mut of_logs) = (0.0, 0.0);
            for factor in [0.33_f64, 0.6, 1.0, 1.7, 3.0] {
                let restless = Restless { drift: factor, day: factor, warmup: 1.0 };
                let surroundings = Surroundings { restless, ..old.surroundings.clone() };
                let design = Design::new(&surroundings.positions, PHI, &surroundings.nuisance(), 0);
                let likelihood = Fit::new(&old.y, &design, line.variance.sqrt()).log_likelihood();
                // Likelihoods of some 37 rows: scaled down, they are no infinity.
                let weight = (likelihood - 150.0 - (factor.ln() / 0.7).powi(2) / 2.0).exp();
                sum += weight;
                of_logs += weight * factor.ln();
            }
            close(line.restlessness(), (of_logs / sum).exp());
        }
        assert!(drifting(60, 0.06).restlessness() > 1.5 && drifting(60, 0.0).restlessness() < 0.8);
    }

    #[test]
    fn few_old_rows_do_not_tell_how_restless_a_series_is() {
        assert_eq!(drifting(46, 0.3).restlessness(), 1.0);
        assert!(drifting(47, 0.3).restlessness() > 1.2);
    }

    #[test]
    fn a_change_does_not_make_a_series_restless() {
        let step = |from: usize| {
            let y: Vec<f64> = (0..60).map(|row| if row < from { 0.0 } else { 0.5 }).collect();
            Line::new(&y, &surroundings(60), PHI, Prior { variance: 1e-5, rows: 4.0 }).restlessness()
        };
        close(step(37), step(60));
        assert!(step(36) > step(60));
    }
}
