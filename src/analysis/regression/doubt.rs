//! Doubt: what is left of a change when the memory of the noise, and how much drift, day and
//! warm-ups move the series, are not held to be known.
//!
//! The test of a change takes them as estimated. Where a change is about to be told, it is
//! weighed again over all that they could be: the likelihood with the change against the
//! likelihood without it, each the mean over these worlds.

use super::fit::Fit;
use super::line::Line;
use super::shapes::{Restless, Shape};

/// Autocorrelations that could be, and what is believed of them before.
const PHIS: [f64; 7] = [0.1, 0.25, 0.4, 0.5, 0.6, 0.7, 0.8];
const PHI_PRIOR: (f64, f64) = (0.45, 0.2);
/// Ways to be restless, with how often they are believed to be.
const WORLDS: [(Restless, f64); 5] = [
    (Restless { drift: 1.0, day: 1.0, warmup: 1.0 }, 0.5),
    (Restless { drift: 0.4, day: 0.4, warmup: 0.6 }, 0.2),
    (Restless { drift: 3.0, day: 1.0, warmup: 1.0 }, 0.1),
    (Restless { drift: 1.0, day: 3.0, warmup: 1.0 }, 0.1),
    (Restless { drift: 1.0, day: 1.0, warmup: 3.0 }, 0.1),
];

impl Line {
    /// The deviations that a change shows by over all worlds.
    pub(super) fn doubted_z(&self, shape: Shape, from: f64) -> f64 {
        let column = self.column(shape, from);
        let mut line = self.clone();
        let (mut without, mut with) = (Vec::new(), Vec::new());
        for phi in PHIS {
            line.phi = phi;
            line.estimate();
            let phi_prior = -0.5 * ((phi - PHI_PRIOR.0) / PHI_PRIOR.1).powi(2);
            for (restless, weight) in WORLDS {
                line.surroundings.restless = restless;
                let design = line.design();
                let fit = Fit::new(&line.y, &design, line.variance.sqrt());
                let Some(effect) = fit.effect(&column) else { continue };
                let likelihood = fit.log_likelihood() + phi_prior + f64::ln(weight) + effect.standard_error.ln();
                without.push(likelihood);
                with.push(likelihood + 0.5 * effect.z().powi(2));
            }
        }
        (2.0 * (log_sum(&with) - log_sum(&without))).max(0.0).sqrt()
    }
}

/// The logarithm of a sum of exponentials.
fn log_sum(logs: &[f64]) -> f64 {
    let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    most + logs.iter().map(|log| (log - most).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::super::line::Prior;
    use super::super::shapes::Surroundings;
    use super::*;

    const ROWS: usize = 60;
    const STEP: usize = 50;

    /// How clear a step is in a series, taken as estimated and doubted.
    fn check(y: impl Fn(usize) -> f64, hours_a_row: f64) -> (f64, f64) {
        let y: Vec<f64> = (0..ROWS).map(y).collect();
        let surroundings = Surroundings {
            positions: (0..ROWS).map(|row| row as f64).collect(),
            seconds: (0..ROWS).map(|row| 3600.0 * hours_a_row * row as f64).collect(),
            factor: 1.0,
            ..Surroundings::default()
        };
        let line = Line::new(&y, &surroundings, Line::USUAL_PHI, Prior { variance: 2e-5, rows: 8.0 });
        let from = line.position(line.y.len() - (ROWS - STEP));
        let estimated = line.effect(Shape::Step, from).expect("can be told").z();
        (estimated.abs(), line.doubted_z(Shape::Step, from))
    }

    /// Without order, of deviation 1 or so.
    fn noise(row: usize) -> f64 {
        (row as f64 * 2.4).sin() + (row as f64 * row as f64 * 0.7).sin()
    }

    fn step(row: usize) -> f64 {
        if row < STEP { 0.0 } else { -0.03 }
    }

    #[test]
    fn a_clear_step_outlives_the_doubt() {
        let (estimated, doubted) = check(|row| 0.004 * noise(row) + step(row), 1.0);
        assert!(estimated > 6.0 && doubted > 0.9 * estimated, "{estimated} {doubted}");
    }

    #[test]
    fn what_a_long_memory_does_is_doubted() {
        // The same noise, most of which stays from row to row.
        let remembered =
            |row: usize| (0..=row).map(|before| 0.85_f64.powf((row - before) as f64) * noise(before)).sum::<f64>();
        let (estimated, doubted) = check(|row| 0.004 * remembered(row) + step(row), 1.0);
        assert!(doubted < 0.8 * estimated, "{estimated} {doubted}");
    }

    #[test]
    fn what_the_day_could_do_is_doubted() {
        // Two days and a half: the step comes with the falling flank of a large day.
        let day = |row: usize| -0.03 * (TAU * (row as f64 - 44.0) / 24.0).sin();
        let (estimated, doubted) = check(|row| 0.001 * noise(row) + day(row), 1.0);
        assert!(doubted < 0.8 * estimated, "{estimated} {doubted}");
    }

    #[test]
    fn a_doubted_change_is_the_mean_likelihood_over_what_could_be() {
        let positions: Vec<f64> = (0..24).map(|row| row as f64).collect();
        let y: Vec<f64> = (0..24).map(|row| 0.3 * noise(row) + if row < 16 { 0.0 } else { 0.5 }).collect();
        let warmups = vec![super::super::shapes::Warmup { position: 12.0, is_start: false }];
        let seconds = positions.iter().map(|position| 3600.0 * position).collect();
        let surroundings = Surroundings { positions, seconds, warmups, factor: 30.0, ..Surroundings::default() };
        let prior = Prior { variance: 0.1, rows: 8.0 };
        let (mut with, mut without) = (0.0, 0.0);
        for phi in [0.1_f64, 0.25, 0.4, 0.5, 0.6, 0.7, 0.8] {
            let worlds = [(1.0, 1.0, 1.0), (0.4, 0.4, 0.6), (3.0, 1.0, 1.0), (1.0, 3.0, 1.0), (1.0, 1.0, 3.0)];
            for ((drift, day, warmup), weight) in worlds.into_iter().zip([0.5, 0.2, 0.1, 0.1, 0.1]) {
                let restless = Restless { drift, day, warmup };
                let line = Line::new(&y, &Surroundings { restless, ..surroundings.clone() }, phi, prior);
                let design = line.design();
                let fit = Fit::new(&line.y, &design, line.variance.sqrt());
                let effect = line.effect(Shape::Step, 16.0).expect("can be told");
                let of_phi = (-((phi - 0.45) / 0.2).powi(2) / 2.0).exp();
                let likelihood = weight * of_phi * effect.standard_error * fit.log_likelihood().exp();
                without += likelihood;
                with += likelihood * (effect.z().powi(2) / 2.0).exp();
            }
        }
        let line = Line::new(&y, &surroundings, Line::USUAL_PHI, prior);
        let doubted = line.doubted_z(Shape::Step, 16.0);
        assert!(doubted > 1.0 && (doubted - (2.0 * f64::ln(with / without)).sqrt()).abs() < 1e-9, "{doubted}");
    }

    #[test]
    fn sums_of_exponentials_do_not_overflow() {
        assert!((log_sum(&[-1000.0, -1000.0]) - (f64::ln(2.0) - 1000.0)).abs() < 1e-9);
    }
}
