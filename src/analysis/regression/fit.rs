//! Least squares under autocorrelated noise, with priors on all that is no change.
//!
//! A series of pooled log-rates is y = Zb + δx + e. The columns Z are what moves by itself
//! (level, drift, the day, a warm-up), each with a prior deviation, so that drift and day
//! widen the test's covariance instead of being taken out first, which would eat the step.
//! x is a change, e an AR(1). This is the generalised least squares of a linear mixed model
//! (Robinson, "That BLUP is a good thing", 1991) with the AR(1) whitened row by row
//! (Prais and Winsten, 1954).

/// Columns of what is no change, each with its prior deviation in the series' own unit.
pub(super) type Nuisance = Vec<(Vec<f64>, f64)>;

/// What is new in each row of an AR(1) of deviation 1, made to deviation 1.
#[derive(Clone, Debug)]
struct Whitening {
    /// How much of the row before is in each row; 0 for the first.
    carry: Vec<f64>,
    /// One over the deviation of what is new.
    weight: Vec<f64>,
}

impl Whitening {
    fn new(positions: &[f64], phi: f64) -> Self {
        let gaps = positions.iter().skip(1).zip(positions).map(|(position, before)| position - before);
        let carry: Vec<f64> = std::iter::once(0.0).chain(gaps.map(|gap| phi.powf(gap))).collect();
        let weight = carry.iter().map(|carry| (1.0 - carry * carry).sqrt().recip()).collect();
        Self { carry, weight }
    }

    fn apply(&self, column: &[f64]) -> Vec<f64> {
        let before = std::iter::once(&0.0).chain(column);
        let rows = self.carry.iter().zip(&self.weight);
        column
            .iter()
            .zip(before)
            .zip(rows)
            .map(|((x, before), (carry, weight))| (x - carry * before) * weight)
            .collect()
    }

    /// The whitened step that begins at `row` is `first` there and `later` in each row after.
    fn step(&self, row: usize) -> Option<(f64, f64)> {
        let (carry, weight) = (self.carry.get(row)?, self.weight.get(row)?);
        Some((*weight, (1.0 - carry) * weight))
    }
}

/// All of a test that does not depend on the series: made once for the parts of a grid.
#[derive(Clone, Debug)]
pub(super) struct Design {
    whitening: Whitening,
    columns: Vec<Vec<f64>>,
    /// One over the square of the columns' prior deviations.
    precisions: Vec<f64>,
    /// Z'Z, the lower half by rows.
    gram: Vec<Vec<f64>>,
    /// The row of the first step that is looked at, and of each from there on x'x and Z'x.
    first_step: usize,
    steps: Vec<(f64, Vec<f64>)>,
}

impl Design {
    /// For rows at these positions, in cycles, and steps from the row `first_step` on.
    pub(super) fn new(positions: &[f64], phi: f64, nuisance: &Nuisance, first_step: usize) -> Self {
        let whitening = Whitening::new(positions, phi);
        let columns: Vec<Vec<f64>> = nuisance.iter().map(|(column, _)| whitening.apply(column)).collect();
        let gram = (0..columns.len())
            .map(|i| {
                columns.iter().take(i + 1).map(|column| columns.get(i).map_or(0.0, |own| dot(own, column))).collect()
            })
            .collect();
        let (mut xx, mut along, mut steps) = (0.0, vec![0.0; columns.len()], Vec::new());
        for row in (first_step..positions.len()).rev() {
            let Some((first, later)) = whitening.step(row) else { continue };
            let whole = along.iter().zip(&columns).map(|(sum, column)| sum + at(column, row) * first).collect();
            steps.push((xx + first * first, whole));
            xx += later * later;
            for (sum, column) in along.iter_mut().zip(&columns) {
                *sum += at(column, row) * later;
            }
        }
        steps.reverse();
        let precisions = nuisance.iter().map(|(_, deviation)| 1.0 / (deviation * deviation)).collect();
        Self { whitening, columns, precisions, gram, first_step, steps }
    }
}

/// An estimated change.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Effect {
    /// Log-ratio.
    pub size: f64,
    pub standard_error: f64,
}

impl Effect {
    /// Deviations from no change.
    pub(super) fn z(self) -> f64 {
        self.size / self.standard_error
    }
}

/// A series with all that is no change fitted.
#[derive(Clone, Debug)]
pub(super) struct Fit<'a> {
    design: &'a Design,
    sigma: f64,
    y: Vec<f64>,
    /// The Cholesky factor of Z'Z + P, by rows, with P the priors' precision.
    factor: Vec<Vec<f64>>,
    /// The fitted coefficients of the columns.
    coefficients: Vec<f64>,
}

impl<'a> Fit<'a> {
    /// `sigma` is the deviation of a row.
    pub(super) fn new(y: &[f64], design: &'a Design, sigma: f64) -> Self {
        let y = design.whitening.apply(y);
        let priors = design.gram.iter().zip(&design.precisions);
        let factor = cholesky(priors.map(|(row, precision)| (row.as_slice(), precision * sigma * sigma)));
        let right: Vec<f64> = design.columns.iter().map(|column| dot(column, &y)).collect();
        let coefficients = solve_upper(&factor, &solve_lower(&factor, &right));
        Self { design, sigma, y, factor, coefficients }
    }

    /// The logarithm of how likely the series is under no change, but for a constant.
    pub(super) fn log_likelihood(&self) -> f64 {
        let variance = self.sigma * self.sigma;
        let right: Vec<f64> = self.design.columns.iter().map(|column| dot(column, &self.y)).collect();
        let explained = dot(&right, &self.coefficients);
        let diagonals = self.factor.iter().filter_map(|row| row.last()).map(|entry| 2.0 * entry.ln());
        let priors = self.design.precisions.iter().map(|precision| (precision * variance).ln());
        let rows = self.y.len() as f64 * variance.ln();
        let whitened = self.design.whitening.weight.iter().map(|weight| weight.ln()).sum::<f64>();
        let priors = priors.sum::<f64>() - diagonals.sum::<f64>();
        whitened - 0.5 * ((dot(&self.y, &self.y) - explained) / variance + rows - priors)
    }

    /// The change of the shape `x`; `None` where the series cannot tell it from the rest.
    pub(super) fn effect(&self, x: &[f64]) -> Option<Effect> {
        let x = self.design.whitening.apply(x);
        let along: Vec<f64> = self.design.columns.iter().map(|column| dot(column, &x)).collect();
        self.project(dot(&x, &x), dot(&x, &self.y), &along)
    }

    /// Steps, 0 before a row and 1 from it on, with their rows: all in one pass.
    pub(super) fn steps(&self) -> Vec<(usize, Option<Effect>)> {
        let mut xy = 0.0;
        let mut effects: Vec<_> = (self.design.steps.iter().enumerate().rev())
            .filter_map(|(index, (xx, along))| {
                let row = self.design.first_step + index;
                let (first, later) = self.design.whitening.step(row)?;
                let y = at(&self.y, row);
                let effect = self.project(*xx, xy + y * first, along);
                xy += y * later;
                Some((row, effect))
            })
            .collect();
        effects.reverse();
        effects
    }

    /// From x'x, x'y and Z'x of whitened columns.
    fn project(&self, xx: f64, xy: f64, along: &[f64]) -> Option<Effect> {
        let reduced = solve_lower(&self.factor, along);
        let information = xx - dot(&reduced, &reduced);
        let size = (xy - dot(along, &self.coefficients)) / information;
        (information > 1e-9 * xx).then(|| Effect { size, standard_error: self.sigma / information.sqrt() })
    }
}

fn at(column: &[f64], row: usize) -> f64 {
    column.get(row).copied().unwrap_or(0.0)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The lower factor, by rows, of a positive definite matrix: the lower half by rows, with what
/// is added to each row's diagonal.
fn cholesky<'a>(rows: impl Iterator<Item = (&'a [f64], f64)>) -> Vec<Vec<f64>> {
    let mut factor: Vec<Vec<f64>> = Vec::new();
    for (entries, added) in rows {
        let mut row: Vec<f64> = Vec::with_capacity(entries.len());
        for (entry, above) in entries.iter().zip(&factor) {
            row.push((entry - dot(&row, above)) / above.last().copied().unwrap_or(1.0));
        }
        let rest = entries.last().copied().unwrap_or(0.0) + added - dot(&row, &row);
        // Priors keep it positive; the bound is for rounding.
        row.push(rest.max(1e-12).sqrt());
        factor.push(row);
    }
    factor
}

fn solve_lower(factor: &[Vec<f64>], right: &[f64]) -> Vec<f64> {
    let mut solved: Vec<f64> = Vec::with_capacity(right.len());
    for (i, (row, right)) in factor.iter().zip(right).enumerate() {
        let rest = right - dot(row, &solved);
        solved.push(rest / at(row, i));
    }
    solved
}

fn solve_upper(factor: &[Vec<f64>], right: &[f64]) -> Vec<f64> {
    let mut solved = right.to_vec();
    for (i, row) in factor.iter().enumerate().rev() {
        let value = at(&solved, i) / at(row, i);
        for (rest, weight) in solved.iter_mut().zip(row).take(i) {
            *rest -= weight * value;
        }
        if let Some(entry) = solved.get_mut(i) {
            *entry = value;
        }
    }
    solved
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::cholesky::Cholesky;

    const ROWS: usize = 12;

    fn step(from: usize) -> Vec<f64> {
        (0..ROWS).map(|row| if row < from { 0.0 } else { 1.0 }).collect()
    }

    fn in_order() -> Vec<f64> {
        (0..ROWS).map(|row| row as f64).collect()
    }

    fn flat(phi: f64) -> Design {
        Design::new(&in_order(), phi, &vec![(vec![1.0; ROWS], 100.0)], 0)
    }

    /// Rows with pauses, and a level, a drift and a wave of which little is known.
    const POSITIONS: [f64; ROWS] = [0.0, 1.0, 2.0, 4.0, 5.0, 6.0, 9.0, 10.0, 11.0, 12.0, 14.0, 15.0];
    const PHI: f64 = 0.4;
    const SIGMA: f64 = 0.7;

    fn nuisance() -> Nuisance {
        let wave = (0..ROWS).map(|row| (row as f64).cos()).collect();
        vec![(vec![1.0; ROWS], 3.0), (in_order(), 0.05), (wave, 0.6)]
    }

    fn uneven() -> Vec<f64> {
        (0..ROWS).map(|row| ((row * 7) % 5) as f64 + 0.3).collect()
    }

    /// The rows' covariance under no change, written down.
    fn covariance() -> Cholesky {
        let noise = |i: usize, j: usize| SIGMA * SIGMA * PHI.powf((POSITIONS[i] - POSITIONS[j]).abs());
        let of = |(z, deviation): &(Vec<f64>, f64), i: usize, j: usize| z[i] * z[j] * deviation.powi(2);
        let other = |i: usize, j: usize| nuisance().iter().map(|column| of(column, i, j)).sum::<f64>();
        Cholesky::of(ROWS, |i, j| noise(i, j) + other(i, j)).expect("positive definite")
    }

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-9 * (1.0 + b.abs()), "{a} is not {b}");
    }

    #[test]
    fn an_effect_is_generalised_least_squares_under_the_whole_covariance() {
        let design = Design::new(&POSITIONS, PHI, &nuisance(), 0);
        let ramp: Vec<f64> = (0..ROWS).map(|row| (row as f64 - 4.0).clamp(0.0, 3.0)).collect();
        for x in [step(1), step(7), ramp] {
            let effect = Fit::new(&uneven(), &design, SIGMA).effect(&x).expect("can be told");
            let (x, y) = (covariance().whiten(&x), covariance().whiten(&uneven()));
            let (xx, xy): (f64, f64) = (x.iter().map(|x| x * x).sum(), x.iter().zip(&y).map(|(x, y)| x * y).sum());
            close(effect.size, xy / xx);
            close(effect.standard_error, xx.sqrt().recip());
            close(effect.z(), xy / xx.sqrt());
        }
    }

    #[test]
    fn the_likelihood_is_that_of_a_normal_series_with_the_whole_covariance() {
        let design = Design::new(&POSITIONS, PHI, &nuisance(), 0);
        let y = covariance().whiten(&uneven());
        let expected = -0.5 * (y.iter().map(|y| y * y).sum::<f64>() + covariance().log_determinant());
        close(Fit::new(&uneven(), &design, SIGMA).log_likelihood(), expected);
    }

    #[test]
    fn a_shape_that_the_rest_explains_cannot_be_told() {
        // Of the square of 6 times that of the size the level leaves 1 / (1 + 6 d²).
        let told = |deviation: f64, size: f64| {
            let design = Design::new(&in_order()[..6], 0.0, &vec![(vec![1.0; 6], deviation)], 0);
            Fit::new(&[0.0; 6], &design, 1.0).effect(&[size; 6])
        };
        close(told(2.0, 1.0).expect("a 25th of it").standard_error, (25.0 / 6.0_f64).sqrt());
        for size in [1e-3, 1.0, 1e3] {
            assert!(told(1e4, size).is_some());
            assert_eq!(told(1e5, size), None);
        }
    }

    #[test]
    fn a_shape_that_is_in_no_row_cannot_be_told() {
        assert_eq!(Fit::new(&uneven(), &flat(PHI), SIGMA).effect(&[0.0; ROWS]), None);
    }

    #[test]
    fn a_factor_of_what_is_not_positive_is_that_of_rounding() {
        let factor = cholesky([(&[4.0][..], 5.0), (&[6.0, 4.0], -1.0)].into_iter());
        assert_eq!(factor, [vec![3.0], vec![2.0, 1e-6]]);
        let factor = cholesky([(&[4.0][..], 0.0), (&[6.0, 9.0], 1.0)].into_iter());
        assert_eq!(factor, [vec![2.0], vec![3.0, 1.0]]);
    }

    #[test]
    fn a_triangle_is_solved_from_either_side() {
        let factor = [vec![2.0], vec![3.0, 4.0], vec![5.0, 6.0, 8.0]];
        assert_eq!(solve_lower(&factor, &[4.0, 14.0, 46.0]), [2.0, 2.0, 3.0]);
        assert_eq!(solve_upper(&factor, &[25.0, 26.0, 24.0]), [2.0, 2.0, 3.0]);
    }

    #[test]
    fn independent_noise_gives_the_difference_of_means() {
        let y: Vec<f64> = (0..ROWS).map(|row| if row < 8 { 1.0 } else { 3.0 } + (row % 2) as f64).collect();
        let effect = Fit::new(&y, &flat(0.0), 0.1).effect(&step(8)).expect("can be told");
        assert!((effect.size - 2.0).abs() < 1e-3, "{effect:?}");
        // 0.1 √(1/8 + 1/4)
        assert!((effect.standard_error - 0.061_237).abs() < 1e-4, "{effect:?}");
    }

    #[test]
    fn all_steps_at_once_are_the_steps_one_by_one() {
        let design = Design::new(&POSITIONS, PHI, &nuisance(), 3);
        let fit = Fit::new(&uneven(), &design, SIGMA);
        let steps = fit.steps();
        assert_eq!(steps.iter().map(|(row, _)| *row).collect::<Vec<_>>(), (3..ROWS).collect::<Vec<_>>());
        for (row, at_once) in steps {
            let (at_once, alone) = (at_once.expect("is told"), fit.effect(&step(row)).expect("is told"));
            assert!((at_once.size - alone.size).abs() < 1e-9, "{row}: {at_once:?} {alone:?}");
            assert!((at_once.standard_error - alone.standard_error).abs() < 1e-9, "{row}: {at_once:?} {alone:?}");
        }
    }

    #[test]
    fn autocorrelation_widens_what_is_said_of_a_mean() {
        let error = |phi| Fit::new(&[0.0; ROWS], &flat(phi), 0.1).effect(&step(6)).expect("can be told").standard_error;
        assert!(error(0.6) > 1.2 * error(0.0));
    }

    #[test]
    fn a_drift_that_is_expected_is_no_step() {
        let drift = |deviation| {
            let nuisance = vec![(vec![1.0; ROWS], 100.0), (in_order(), deviation)];
            let design = Design::new(&in_order(), 0.3, &nuisance, 0);
            Fit::new(&in_order(), &design, 0.1).effect(&step(6)).expect("can be told").z()
        };
        assert!(drift(1e-3) > 20.0);
        assert!(drift(10.0) < 0.1);
    }

    #[test]
    fn a_step_that_is_the_level_cannot_be_told() {
        let design = Design::new(&in_order(), 0.0, &vec![(vec![1.0; ROWS], 1e9)], 0);
        assert_eq!(Fit::new(&[0.0; ROWS], &design, 1.0).effect(&step(0)), None);
    }
}
