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

/// Turns AR(1) noise of known scale into independent noise of deviation 1.
#[derive(Clone, Debug)]
pub(super) struct Whitening {
    /// How much of the row before is in each row; 0 for the first.
    carry: Vec<f64>,
    /// One over the deviation of what is new in each row.
    weight: Vec<f64>,
}

impl Whitening {
    /// `gaps` are the distances of each row from the one before, in cycles; the first's is
    /// not looked at. `sigma` is the deviation of a row.
    pub(super) fn new(gaps: &[f64], phi: f64, sigma: f64) -> Self {
        let carry: Vec<f64> =
            gaps.iter().enumerate().map(|(row, &gap)| if row == 0 { 0.0 } else { phi.powf(gap) }).collect();
        let weight = carry.iter().map(|carry| 1.0 / (sigma * (1.0 - carry * carry).sqrt())).collect();
        Self { carry, weight }
    }

    fn apply(&self, column: &[f64]) -> Vec<f64> {
        let before = std::iter::once(&0.0).chain(column);
        let rows = self.carry.iter().zip(&self.weight);
        column.iter().zip(before).zip(rows).map(|((x, before), (carry, weight))| (x - carry * before) * weight).collect()
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
pub(super) struct Fit {
    whitening: Whitening,
    y: Vec<f64>,
    columns: Vec<Vec<f64>>,
    /// The Cholesky factor of Z'Z + P, by rows, with P the priors' precision.
    factor: Vec<Vec<f64>>,
    /// The fitted coefficients of the columns.
    coefficients: Vec<f64>,
}

impl Fit {
    pub(super) fn new(y: &[f64], whitening: Whitening, nuisance: &Nuisance) -> Self {
        let y = whitening.apply(y);
        let columns: Vec<Vec<f64>> = nuisance.iter().map(|(column, _)| whitening.apply(column)).collect();
        let factor = cholesky(columns.len(), |i, j| {
            let prior = match nuisance.get(i) {
                Some((_, deviation)) if i == j => 1.0 / (deviation * deviation),
                _ => 0.0,
            };
            columns.get(i).zip(columns.get(j)).map_or(0.0, |(a, b)| dot(a, b)) + prior
        });
        let right: Vec<f64> = columns.iter().map(|column| dot(column, &y)).collect();
        let coefficients = solve_upper(&factor, &solve_lower(&factor, &right));
        Self { whitening, y, columns, factor, coefficients }
    }

    /// The change of the shape `x`; `None` where the series cannot tell it from the rest.
    pub(super) fn effect(&self, x: &[f64]) -> Option<Effect> {
        let x = self.whitening.apply(x);
        let along: Vec<f64> = self.columns.iter().map(|column| dot(column, &x)).collect();
        self.project(dot(&x, &x), dot(&x, &self.y), &along)
    }

    /// Steps that begin at each row, 0 before it and 1 from it on: all in one pass.
    pub(super) fn steps(&self) -> Vec<Option<Effect>> {
        let mut effects = vec![None; self.y.len()];
        // What the rows after a step's first add: there the step is whitened to 1 − carry.
        let (mut xx, mut xy, mut along) = (0.0, 0.0, vec![0.0; self.columns.len()]);
        let rows = self.y.iter().zip(self.whitening.carry.iter().zip(&self.whitening.weight));
        for (row, (y, (carry, weight))) in rows.enumerate().rev() {
            let whole: Vec<f64> =
                along.iter().zip(&self.columns).map(|(sum, column)| sum + at(column, row) * weight).collect();
            if let Some(effect) = effects.get_mut(row) {
                *effect = self.project(xx + weight * weight, xy + y * weight, &whole);
            }
            let later = (1.0 - carry) * weight;
            xx += later * later;
            xy += y * later;
            for (sum, column) in along.iter_mut().zip(&self.columns) {
                *sum += at(column, row) * later;
            }
        }
        effects
    }

    /// From x'x, x'y and Z'x of whitened columns.
    fn project(&self, xx: f64, xy: f64, along: &[f64]) -> Option<Effect> {
        let reduced = solve_lower(&self.factor, along);
        let information = xx - dot(&reduced, &reduced);
        let size = (xy - dot(along, &self.coefficients)) / information;
        (information > 1e-9 * xx).then(|| Effect { size, standard_error: information.sqrt().recip() })
    }
}

fn at(column: &[f64], row: usize) -> f64 {
    column.get(row).copied().unwrap_or(0.0)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The lower factor of a positive definite matrix, by rows.
fn cholesky(size: usize, entry: impl Fn(usize, usize) -> f64) -> Vec<Vec<f64>> {
    let mut factor: Vec<Vec<f64>> = Vec::with_capacity(size);
    for i in 0..size {
        let mut row: Vec<f64> = Vec::with_capacity(i + 1);
        for (j, above) in factor.iter().enumerate() {
            let rest = entry(i, j) - dot(&row, above);
            row.push(rest / at(above, j));
        }
        let rest = entry(i, i) - dot(&row, &row);
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

    const ROWS: usize = 12;

    fn step(from: usize) -> Vec<f64> {
        (0..ROWS).map(|row| if row < from { 0.0 } else { 1.0 }).collect()
    }

    fn flat(y: &[f64], phi: f64) -> Fit {
        Fit::new(y, Whitening::new(&[1.0; ROWS], phi, 0.1), &vec![(vec![1.0; ROWS], 100.0)])
    }

    #[test]
    fn independent_noise_gives_the_difference_of_means() {
        let y: Vec<f64> = (0..ROWS).map(|row| if row < 8 { 1.0 } else { 3.0 } + (row % 2) as f64).collect();
        let effect = flat(&y, 0.0).effect(&step(8)).expect("can be told");
        assert!((effect.size - 2.0).abs() < 1e-3, "{effect:?}");
        // 0.1 √(1/8 + 1/4)
        assert!((effect.standard_error - 0.061_237).abs() < 1e-4, "{effect:?}");
    }

    #[test]
    fn all_steps_at_once_are_the_steps_one_by_one() {
        let y: Vec<f64> = (0..ROWS).map(|row| ((row * 7) % 5) as f64).collect();
        let drift = (0..ROWS).map(|row| row as f64).collect();
        let gaps = [9.0, 1.0, 1.0, 2.0, 1.0, 1.0, 3.0, 1.0, 1.0, 1.0, 1.0, 1.0];
        let nuisance = vec![(vec![1.0; ROWS], 100.0), (drift, 0.05)];
        let fit = Fit::new(&y, Whitening::new(&gaps, 0.4, 0.7), &nuisance);
        for (row, at_once) in fit.steps().into_iter().enumerate().skip(1) {
            let (at_once, alone) = (at_once.expect("is told"), fit.effect(&step(row)).expect("is told"));
            assert!((at_once.size - alone.size).abs() < 1e-9, "{row}: {at_once:?} {alone:?}");
            assert!((at_once.standard_error - alone.standard_error).abs() < 1e-9, "{row}: {at_once:?} {alone:?}");
        }
    }

    #[test]
    fn autocorrelation_widens_what_is_said_of_a_mean() {
        let y = [0.0; ROWS];
        let error = |phi| flat(&y, phi).effect(&step(6)).expect("can be told").standard_error;
        assert!(error(0.6) > 1.4 * error(0.0));
    }

    #[test]
    fn a_step_that_is_the_level_cannot_be_told() {
        let fit = Fit::new(&[0.0; ROWS], Whitening::new(&[1.0; ROWS], 0.0, 1.0), &vec![(vec![1.0; ROWS], 1e9)]);
        assert_eq!(fit.effect(&step(0)), None);
    }
}
