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
