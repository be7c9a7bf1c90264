//! What the repeats of a cell say of its token rate: centre, spread and a 95 % interval.
//!
//! The rate spoken of is the median of what the cell would go on to show.

use std::collections::BTreeMap;
use std::f64::consts::PI;

use super::interval::{Interval, student_factor};
use super::noise::{self, CellNoise, LogRates};
use super::quantile::{quantile, sorted};
use crate::domain::Cell;

/// What the valid samples of one measured cell say of its token rate, tokens per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateEstimate {
    pub median: f64,
    /// 95 %, for the median.
    pub interval: Interval,
    /// Quartiles: the spread of the repeats.
    pub lower_quartile: f64,
    pub upper_quartile: f64,
    pub samples: usize,
    /// For comparing cells: the logarithm of the centre of the repeats, an M-estimate that
    /// needs fewer samples than the median to be as sharp, its variance, and the degrees of
    /// freedom of that.
    pub log_centre: f64,
    pub log_variance: f64,
    pub freedom: f64,
}

/// The estimates of a target's cells, by canonical cell, and the noise that they share.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RateEstimates {
    pub cells: BTreeMap<Cell, RateEstimate>,
    /// Relative standard deviation of one sample of a usual cell.
    pub noise: f64,
    /// Of successive samples of a cell.
    pub autocorrelation: f64,
}

impl RateEstimates {
    /// Estimates from each cell's rates, tokens per second, the oldest first. Rates that are
    /// not above 0 have no logarithm and are left out.
    ///
    /// The interval is of the median of autocorrelated normal noise: a sign is worth
    /// Σ arcsin(φ^|lag|) (the arcsine law of orthants), so that n · variance of the median
    /// is π/2 + 2 Σ (1 − k/n) arcsin(φ^k) noise variances; for few samples π/2n is nearly
    /// π/(2n + π − 2). With Student's factor for the degrees of freedom of the noise.
    pub fn of(rates: &BTreeMap<Cell, Vec<f64>>) -> Self {
        let usable: Vec<(Cell, LogRates)> = rates
            .iter()
            .map(|(&cell, rates)| (cell, rates.iter().filter(|r| **r > 0.0 && r.is_finite()).map(|r| r.ln()).collect()))
            .filter(|(_, logs): &(Cell, LogRates)| !logs.is_empty())
            .collect();
        let logs: Vec<LogRates> = usable.iter().map(|(_, logs)| logs.clone()).collect();
        let noise = noise::pool(&logs);
        let cells = usable
            .iter()
            .zip(&noise.cells)
            .filter_map(|((cell, logs), own)| {
                let variance = own.scale.powi(2) * variance_of_median(logs.len(), noise.autocorrelation);
                Some((*cell, RateEstimate::of(logs, variance.sqrt(), own)?))
            })
            .collect();
        Self { cells, noise: noise.scale, autocorrelation: noise.autocorrelation }
    }

    pub fn get(&self, cell: Cell) -> Option<&RateEstimate> {
        self.cells.get(&cell)
    }
}

impl RateEstimate {
    fn of(logs: &[f64], deviation: f64, noise: &CellNoise) -> Option<Self> {
        let sorted = sorted(logs);
        let centre = quantile(&sorted, 0.5)?;
        let logarithms = Interval::around(centre, student_factor(noise.freedom) * deviation);
        Some(Self {
            median: centre.exp(),
            interval: Interval { lower: logarithms.lower.exp(), upper: logarithms.upper.exp() },
            lower_quartile: quantile(&sorted, 0.25)?.exp(),
            upper_quartile: quantile(&sorted, 0.75)?.exp(),
            samples: logs.len(),
            log_centre: noise.centre,
            log_variance: noise.centre_variance,
            freedom: noise.freedom,
        })
    }
}

/// Variance of the median of `n` autocorrelated normal values of variance 1.
pub(super) fn variance_of_median(n: usize, autocorrelation: f64) -> f64 {
    let count = n as f64;
    let mut power = 1.0;
    let mut remembered = 0.0;
    for lag in 1..n {
        power *= autocorrelation;
        remembered += (1.0 - lag as f64 / count) * power.asin();
    }
    let for_few = 2.0 * count / (2.0 * count + PI - 2.0);
    for_few * (PI / 2.0 + 2.0 * remembered) / count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estimates(cells: &[&[f64]]) -> RateEstimates {
        let cell = |n: usize| Cell::new(u32::try_from(n).expect("few") + 1, 1);
        RateEstimates::of(&cells.iter().enumerate().map(|(n, rates)| (cell(n), rates.to_vec())).collect())
    }

    #[test]
    fn a_median_is_as_sure_as_its_samples_are_apart() {
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} is not {b}");
        // The variance of a single value is its own, and of many nearly π/2n.
        close(variance_of_median(1, 0.5), 1.0);
        assert!((variance_of_median(1_000, 0.0) * 1_000.0 / (PI / 2.0) - 1.0).abs() < 1e-3);
        // Two with a correlation of a half: arcsin ½ is π/6.
        close(variance_of_median(2, 0.5), 4.0 / (2.0 + PI) * (PI / 2.0 + PI / 6.0) / 2.0);
        // Three: the second lag is a quarter, and comes once for three values.
        let remembered = 2.0 / 3.0 * PI / 6.0 + 1.0 / 3.0 * 0.25_f64.asin();
        close(variance_of_median(3, 0.5), 6.0 / (4.0 + PI) * (PI / 2.0 + 2.0 * remembered) / 3.0);
    }

    #[test]
    fn the_interval_is_about_the_median_and_wider_for_fewer() {
        let few = [100.0, 103.0, 97.0];
        let many = [100.0, 103.0, 97.0, 101.0, 99.0, 102.0, 98.0, 100.0, 104.0, 96.0];
        let estimates = estimates(&[&few, &many, &many, &many]);
        let [few, many] = [1, 2].map(|workers| *estimates.get(Cell::new(workers, 1)).expect("has samples"));
        assert!((few.median - 100.0).abs() < 1e-9 && few.interval.contains(100.0));
        assert_eq!((few.samples, many.samples), (3, 10));
        assert!(few.interval.width() > 1.4 * many.interval.width(), "{few:?} {many:?}");
        assert!(many.lower_quartile < many.median && many.median < many.upper_quartile);
    }

    #[test]
    fn an_interval_is_students_of_the_median_of_noise_that_remembers() {
        let rates = [100.0, 103.0, 104.0, 98.0, 97.0];
        let estimates = estimates(&[&rates]);
        let only = estimates.get(Cell::new(1, 1)).expect("has samples");
        let scale = noise::pool(&[rates.iter().map(|rate: &f64| rate.ln()).collect()]).cells[0].scale;
        let variance = scale.powi(2) * variance_of_median(5, estimates.autocorrelation);
        let half_width = student_factor(only.freedom) * variance.sqrt();
        assert!(estimates.autocorrelation > 0.1 && half_width > 0.01, "{estimates:?}");
        assert!((only.interval.lower / (100.0 * (-half_width).exp()) - 1.0).abs() < 1e-9, "{only:?}");
        assert!((only.interval.upper / (100.0 * half_width.exp()) - 1.0).abs() < 1e-9, "{only:?}");
    }

    #[test]
    fn one_sample_has_an_interval_too() {
        let estimates = estimates(&[&[100.0], &[0.0, f64::NAN]]);
        let only = estimates.get(Cell::new(1, 1)).expect("has a sample");
        assert!(only.interval.lower < 93.0 && only.interval.upper > 107.0, "{only:?}");
        assert_eq!(estimates.get(Cell::new(2, 1)), None, "no rate above 0");
    }

    #[test]
    fn memory_makes_a_median_less_sure() {
        let close = |a: f64, b: f64| assert!((a - b).abs() < 0.015, "{a} is not {b}");
        close(variance_of_median(1, 0.0), 1.0);
        close(variance_of_median(3, 0.0), 0.449);
        close(variance_of_median(5, 0.0), 0.287);
        close(variance_of_median(101, 0.0), PI / 202.0);
        assert!(variance_of_median(30, 0.5) > 2.0 * variance_of_median(30, 0.0));
    }
}
