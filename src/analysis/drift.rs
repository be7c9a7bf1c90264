//! The machine's drift, seen on a reference cell that is measured again and again.
//!
//! Cells of a cycle are measured one after the other while the machine warms up or its clock
//! falls. What all of them share at a time is drift; what is left are differences between
//! cells.

use super::cholesky::{Cholesky, dot};
use crate::domain::Moments;

/// One sample of the reference cell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReferencePoint {
    /// Since any fixed moment, seconds.
    pub at_seconds: f64,
    pub tokens_per_second: f64,
}

/// The drift of a target, as the logarithm of a factor on all rates, over time.
#[derive(Debug)]
pub struct Drift {
    points: Vec<(f64, f64)>,
    mean: f64,
    shape: Shape,
    cholesky: Cholesky,
    white: Vec<f64>,
}

/// Sizes of drift and noise, relative, and how long the drift remembers.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Shape {
    drift: f64,
    memory_seconds: f64,
    noise: f64,
}

/// Fewer samples show no drift.
const FEWEST_POINTS: usize = 6;
/// The newest that are looked at: a fit costs their cube.
const MOST_POINTS: usize = 100;
/// What a drift must explain better than noise alone, in logarithms of probability: half of
/// the Bayesian information criterion's price of its two numbers for a few dozen samples.
const EVIDENCE: f64 = 3.5;
/// Candidates: drift relative to the scatter, noise relative to it, memory relative to the
/// time between two samples.
const DRIFTS: [f64; 5] = [0.35, 0.6, 0.85, 1.2, 2.0];
const NOISES: [f64; 5] = [0.15, 0.3, 0.5, 0.7, 0.9];
const MEMORIES: [f64; 5] = [2.0, 5.0, 12.0, 30.0, 80.0];

impl Drift {
    /// The drift behind the reference cell's samples, the oldest first; `None` where noise
    /// alone explains them as well.
    ///
    /// Kriging in time: an Ornstein-Uhlenbeck process and white noise, whose sizes are those
    /// that make the samples the most probable, on the newest hundred.
    pub fn of(points: &[ReferencePoint]) -> Option<Self> {
        let usable: Vec<(f64, f64)> = points
            .iter()
            .rev()
            .filter(|point| point.tokens_per_second > 0.0)
            .map(|point| (point.at_seconds, point.tokens_per_second.ln()))
            .take(MOST_POINTS)
            .collect();
        if usable.len() < FEWEST_POINTS {
            return None;
        }
        let logs: Vec<f64> = usable.iter().map(|(_, log)| *log).collect();
        let scatter = deviation(&logs);
        let span = usable.first()?.0 - usable.last()?.0;
        let gap = span / usable.len() as f64;
        if scatter <= 0.0 || gap <= 0.0 {
            return None;
        }
        let still = Self::with(&usable, Shape { drift: 0.0, memory_seconds: gap, noise: scatter })?;
        let shapes = DRIFTS.iter().flat_map(|drift| {
            NOISES.iter().flat_map(move |noise| {
                MEMORIES.iter().map(move |memory| Shape {
                    drift: drift * scatter,
                    memory_seconds: memory * gap,
                    noise: noise * scatter,
                })
            })
        });
        let drifts = shapes.filter_map(|shape| Self::with(&usable, shape));
        let best = drifts.max_by(|a, b| a.log_probability().total_cmp(&b.log_probability()))?;
        (best.log_probability() > still.log_probability() + EVIDENCE).then_some(best)
    }

    fn with(points: &[(f64, f64)], shape: Shape) -> Option<Self> {
        let mean = points.iter().map(|(_, log)| log).sum::<f64>() / points.len() as f64;
        let cholesky = Cholesky::of(points.len(), |i, j| match (points.get(i), points.get(j)) {
            (Some(a), Some(b)) => shape.shared(a.0 - b.0) + if i == j { shape.noise.powi(2) } else { 0.0 },
            _ => f64::NAN,
        })?;
        let white = cholesky.whiten(&points.iter().map(|(_, log)| log - mean).collect::<Vec<_>>());
        Some(Self { points: points.to_vec(), mean, shape, cholesky, white })
    }

    fn log_probability(&self) -> f64 {
        -0.5 * (dot(&self.white, &self.white) + self.cholesky.log_determinant())
    }

    /// The logarithm of the factor on rates at a time, about 0 on the whole.
    pub fn log_factor(&self, at_seconds: f64) -> f64 {
        let shared: Vec<f64> = self.points.iter().map(|(at, _)| self.shape.shared(at - at_seconds)).collect();
        dot(&self.cholesky.whiten(&shared), &self.white)
    }

    /// A rate as it would have been without the drift, tokens per second.
    pub fn corrected(&self, at_seconds: f64, tokens_per_second: f64) -> f64 {
        tokens_per_second * (-self.log_factor(at_seconds)).exp()
    }

    /// The rate of the reference cell about which it drifts, tokens per second.
    pub fn level(&self) -> f64 {
        self.mean.exp()
    }

    /// Relative standard deviation of the drift.
    pub fn scale(&self) -> f64 {
        self.shape.drift
    }
}

impl Shape {
    fn shared(self, seconds: f64) -> f64 {
        self.drift.powi(2) * (-seconds.abs() / self.memory_seconds).exp()
    }
}

/// The standard deviation: the shapes are candidates about it, so a rough one does.
fn deviation(logs: &[f64]) -> f64 {
    let mut moments = Moments::default();
    logs.iter().for_each(|&log| moments.add(log));
    (moments.m2 / moments.count.saturating_sub(1).max(1) as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Forty samples, 30 s apart, with a noise of 1 % that alternates, times a drift.
    fn points(log_drift: impl Fn(f64) -> f64) -> Vec<ReferencePoint> {
        let signs = [1.0, -1.0, -1.0, 1.0, 1.0, -1.0, 1.0, -1.0, -1.0, 1.0, -1.0];
        let signs = signs.iter().cycle().take(40);
        signs
            .zip(0..)
            .map(|(sign, n)| {
                let at_seconds = f64::from(n) * 30.0;
                let noise = 0.01 * sign;
                ReferencePoint { at_seconds, tokens_per_second: 100.0 * (log_drift(at_seconds) + noise).exp() }
            })
            .collect()
    }

    #[test]
    fn a_machine_that_slows_down_is_seen_and_corrected() {
        let slope = |at: f64| 0.05 - 0.1 * at / 1_200.0;
        let drift = Drift::of(&points(slope)).expect("a drift of 10 %");
        for at in [100.0, 615.0, 1_000.0] {
            let rate = drift.corrected(at, 300.0 * f64::exp(slope(at)));
            assert!((rate / 300.0 - 1.0).abs() < 0.012, "{at} s: {rate}");
        }
        assert!((drift.level() - 100.0).abs() < 2.0);
    }

    #[test]
    fn noise_is_no_drift() {
        assert!(Drift::of(&points(|_| 0.0)).is_none());
        assert!(Drift::of(&points(|_| 0.0)[..3]).is_none());
    }

    /// The sizes of a drift in samples that are changed by `change`, and its factor at a time.
    fn sizes(at_seconds: f64, change: impl Fn(ReferencePoint) -> ReferencePoint) -> (f64, f64, f64) {
        let points: Vec<_> = points(|at| 0.05 - 0.1 * at / 1_200.0).into_iter().map(change).collect();
        let drift = Drift::of(&points).expect("a drift of 10 %");
        (drift.scale(), drift.level(), drift.log_factor(at_seconds))
    }

    #[test]
    fn a_drift_is_the_same_on_other_clocks_and_for_other_rates() {
        let close = |a: f64, b: f64| (a / b - 1.0).abs() < 1e-6;
        let (scale, level, factor) = sizes(600.0, |point| point);
        let later = sizes(5_600.0, |p| ReferencePoint { at_seconds: p.at_seconds + 5_000.0, ..p });
        assert!(close(later.0, scale) && close(later.2, factor), "{later:?}");
        let slower = sizes(6_000.0, |p| ReferencePoint { at_seconds: 10.0 * p.at_seconds, ..p });
        assert!(close(slower.0, scale) && close(slower.2, factor), "{slower:?}");
        let faster = sizes(600.0, |p| ReferencePoint { tokens_per_second: 7.0 * p.tokens_per_second, ..p });
        assert!(close(faster.0, scale) && close(faster.1, 7.0 * level) && close(faster.2, factor), "{faster:?}");
        // Twice the drift and twice the noise.
        let twice =
            sizes(600.0, |p| ReferencePoint { tokens_per_second: 100.0 * (p.tokens_per_second / 100.0).powi(2), ..p });
        assert!(close(twice.0, 2.0 * scale) && close(twice.2, 2.0 * factor), "{twice:?}");
    }

    #[test]
    fn six_samples_may_show_a_drift() {
        // Half of them a while after the others, and each half alike.
        let at = |seconds: f64| ReferencePoint {
            at_seconds: seconds,
            tokens_per_second: if seconds < 500.0 { 100.0 } else { 90.0 + seconds / 1_000.0 },
        };
        let halves = [0.0, 1.0, 2.0, 1_000.0, 1_001.0, 1_002.0].map(at);
        assert!(Drift::of(&halves).is_some());
        assert!(Drift::of(&halves[..5]).is_none());
        // Time does not go backwards.
        let backwards: Vec<ReferencePoint> = points(|at| 0.05 - 0.1 * at / 1_200.0).into_iter().rev().collect();
        assert!(Drift::of(&backwards).is_none());
    }

    #[test]
    fn what_shows_no_rate_or_no_time_shows_no_drift() {
        let slope = |at: f64| 0.05 - 0.1 * at / 1_200.0;
        let mut points = points(slope);
        let factor = Drift::of(&points).expect("a drift").log_factor(600.0);
        points.insert(20, ReferencePoint { at_seconds: 590.0, tokens_per_second: 0.0 });
        assert_eq!(Drift::of(&points).expect("a drift").log_factor(600.0), factor);
        let at_once: Vec<_> = points.iter().map(|p| ReferencePoint { at_seconds: 9.0, ..*p }).collect();
        assert!(Drift::of(&at_once).is_none());
        let alike: Vec<_> = points.iter().map(|p| ReferencePoint { tokens_per_second: 9.0, ..*p }).collect();
        assert!(Drift::of(&alike).is_none());
    }
}
