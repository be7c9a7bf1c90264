//! What a step of the server costs: one token of each of c streams in a + b·c seconds.
//!
//! The most compact description of a server. A straight line has no knee: cells that lie
//! off it are named, not bent to.

use super::interval::{Interval, student_factor};
use super::quantile::median;
use crate::domain::Cell;

/// What one cell says of the steps: `seconds` = a · `waves` + b · `streams`.
///
/// Steady decoding of c streams is one wave of c. A whole batch of B through n slots is
/// ⌈B/n⌉ waves whose streams add up to B; its seconds are total · B / tokens, the time that
/// one token of each answer took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepPoint {
    pub cell: Cell,
    pub waves: f64,
    pub streams: f64,
    pub seconds: f64,
}

/// A fitted number with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fitted {
    pub value: f64,
    pub interval: Interval,
}

/// The fitted line.
#[derive(Clone, Debug, PartialEq)]
pub struct StepFit {
    /// a: what a step costs whatever the streams, seconds.
    pub fixed_seconds: Fitted,
    /// b: what each stream adds, seconds.
    pub per_stream_seconds: Fitted,
    /// Robust scale of the relative residuals.
    pub relative_error: f64,
    pub points: usize,
    /// Cells off the line, with measured / fitted seconds; in the order of the points.
    pub misfits: Vec<(Cell, f64)>,
}

/// Points below which a line through them says nothing.
const FEWEST_POINTS: usize = 4;
/// Tukey's biweight gives a residual beyond this many scales no weight: 95 % efficient on
/// normal errors.
const BIWEIGHT: f64 = 4.685;
/// A cell this many scales off the line does not fit it.
const MISFIT: f64 = 3.0;
/// No measurement is better than this, so that exact data do not make each other misfits.
const LEAST_RELATIVE_ERROR: f64 = 0.005;
/// A median of absolute normal errors, times this, is their standard deviation.
pub(super) const MEDIAN_TO_DEVIATION: f64 = 1.4826;
/// Rounds of reweighting; the weights of real data stand still after about ten.
const ROUNDS: usize = 25;

/// Fits a and b to the points, or `None` while they are too few or all alike.
///
/// Robust regression with relative errors: iteratively reweighted least squares, at first
/// by least absolute residuals, then an M-estimate with Tukey's biweight about the scale
/// that was found (Huber and Ronchetti, "Robust Statistics", 2009, chapter 7).
pub fn fit(points: &[StepPoint]) -> Option<StepFit> {
    let points: Vec<StepPoint> = points.iter().copied().filter(|p| p.seconds > 0.0 && p.seconds.is_finite()).collect();
    if points.len() < FEWEST_POINTS {
        return None;
    }
    let mut weights = vec![1.0; points.len()];
    let mut line = Line::through(&points, &weights)?;
    for _ in 0..ROUNDS {
        weights = line.residuals(&points).map(|r| 1.0 / r.abs().max(LEAST_RELATIVE_ERROR)).collect();
        line = Line::through(&points, &weights)?;
    }
    let absolute: Vec<f64> = line.residuals(&points).map(f64::abs).collect();
    let scale = (MEDIAN_TO_DEVIATION * median(&absolute)?).max(LEAST_RELATIVE_ERROR);
    for _ in 0..ROUNDS {
        weights = line.residuals(&points).map(|r| biweight(r / scale)).collect();
        line = Line::through(&points, &weights)?;
    }
    let kept: f64 = weights.iter().sum();
    let factor = student_factor((kept - 2.0).max(1.0)) * scale;
    let fitted = |value: f64, variance: f64| Fitted {
        value,
        interval: Interval::around(value, factor * variance.max(0.0).sqrt()),
    };
    let misfits = points
        .iter()
        .zip(line.residuals(&points))
        .filter(|(_, residual)| residual.abs() > MISFIT * scale)
        .map(|(point, _)| (point.cell, point.seconds / line.seconds(point)))
        .collect();
    Some(StepFit {
        fixed_seconds: fitted(line.fixed, line.fixed_variance),
        per_stream_seconds: fitted(line.per_stream, line.per_stream_variance),
        relative_error: scale,
        points: points.len(),
        misfits,
    })
}

fn biweight(scales: f64) -> f64 {
    let inside = 1.0 - (scales / BIWEIGHT).powi(2);
    if inside > 0.0 { inside * inside } else { 0.0 }
}

/// A weighted least squares line; variances are of unit relative error.
struct Line {
    fixed: f64,
    per_stream: f64,
    fixed_variance: f64,
    per_stream_variance: f64,
}

impl Line {
    /// Each point is divided by its seconds, so that residuals are relative: the regression
    /// is of 1 on waves/seconds and streams/seconds.
    fn through(points: &[StepPoint], weights: &[f64]) -> Option<Self> {
        let (mut ww, mut ws, mut ss, mut w1, mut s1) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for (point, weight) in points.iter().zip(weights) {
            let (waves, streams) = (point.waves / point.seconds, point.streams / point.seconds);
            ww += weight * waves * waves;
            ws += weight * waves * streams;
            ss += weight * streams * streams;
            w1 += weight * waves;
            s1 += weight * streams;
        }
        let determinant = ww * ss - ws * ws;
        (determinant > 1e-9 * ww * ss).then(|| Self {
            fixed: (ss * w1 - ws * s1) / determinant,
            per_stream: (ww * s1 - ws * w1) / determinant,
            fixed_variance: ss / determinant,
            per_stream_variance: ww / determinant,
        })
    }

    fn seconds(&self, point: &StepPoint) -> f64 {
        self.fixed * point.waves + self.per_stream * point.streams
    }

    fn residuals<'a>(&'a self, points: &'a [StepPoint]) -> impl Iterator<Item = f64> + 'a {
        points.iter().map(|point| 1.0 - self.seconds(point) / point.seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One wave of each number of streams, a = 20 ms and b = 2 ms, times a factor.
    fn points(factors: &[(u32, f64)]) -> Vec<StepPoint> {
        factors
            .iter()
            .map(|&(c, factor)| {
                let streams = f64::from(c);
                let seconds = (0.020 + 0.002 * streams) * factor;
                StepPoint { cell: Cell::new(c, c), waves: 1.0, streams, seconds }
            })
            .collect()
    }

    #[test]
    fn exact_points_give_the_line() {
        let fit = fit(&points(&[(1, 1.0), (2, 1.0), (4, 1.0), (8, 1.0), (16, 1.0)])).expect("enough points");
        assert!((fit.fixed_seconds.value - 0.020).abs() < 1e-9);
        assert!((fit.per_stream_seconds.value - 0.002).abs() < 1e-9);
        assert!(fit.misfits.is_empty());
    }

    #[test]
    fn a_knee_is_named_and_does_not_bend_the_line() {
        let noisy =
            [(1, 1.01), (2, 0.99), (4, 1.0), (6, 1.01), (8, 0.99), (12, 1.0), (16, 1.01), (24, 0.99), (40, 1.6)];
        let fit = fit(&points(&noisy)).expect("enough points");
        assert!(fit.fixed_seconds.interval.contains(0.020), "{fit:?}");
        assert!(fit.per_stream_seconds.interval.contains(0.002), "{fit:?}");
        assert_eq!(fit.misfits.iter().map(|(cell, _)| *cell).collect::<Vec<_>>(), [Cell::new(40, 40)]);
        assert!((fit.misfits[0].1 - 1.6).abs() < 0.03);
    }

    #[test]
    fn waves_of_a_queue_tell_the_two_apart() {
        let of = |batch: u32| StepPoint {
            cell: Cell::new(4, batch),
            waves: f64::from(batch.div_ceil(4)),
            streams: f64::from(batch),
            seconds: 0.020 * f64::from(batch.div_ceil(4)) + 0.002 * f64::from(batch),
        };
        let fit = fit(&[1, 2, 4, 8, 16].map(of)).expect("enough points");
        assert!((fit.fixed_seconds.value - 0.020).abs() < 1e-9);
    }

    #[test]
    fn points_that_are_few_or_alike_give_none() {
        assert_eq!(fit(&points(&[(1, 1.0), (2, 1.0)])), None);
        assert_eq!(fit(&points(&[(4, 1.0), (4, 1.1), (4, 0.9), (4, 1.0)])), None);
    }

    #[test]
    fn the_line_is_the_same_in_any_unit() {
        let noisy = [(1, 1.01), (2, 0.99), (4, 1.0), (6, 1.02), (8, 0.99), (12, 1.0), (16, 1.6)];
        let usual = fit(&points(&noisy)).expect("enough points");
        for unit in [1e-6, 1e-3, 1e3, 1e6] {
            let of = |point: StepPoint| StepPoint { seconds: point.seconds * unit, ..point };
            let scaled: Vec<StepPoint> = points(&noisy).into_iter().map(of).collect();
            let scaled = fit(&scaled).expect("enough points");
            let is_close = |a: f64, b: f64| (a / b - 1.0).abs() < 1e-6;
            assert!(is_close(scaled.fixed_seconds.value, unit * usual.fixed_seconds.value), "{unit}");
            assert!(is_close(scaled.per_stream_seconds.value, unit * usual.per_stream_seconds.value), "{unit}");
        }
    }

    #[test]
    fn points_that_are_nearly_alike_give_no_line() {
        // Of two, waves by streams are 1 : 1 and 1 : 1 + d: the determinant is d² / (1 + (1 + d)²).
        let through = |d: f64, unit: f64| {
            let of = |streams: f64| StepPoint { cell: Cell::new(1, 1), waves: 1.0, streams, seconds: unit };
            Line::through(&[of(1.0), of(1.0 + d)], &[1.0, 1.0]).is_some()
        };
        assert!(Line::through(&points(&[(1, 1.0), (2, 1.0)]), &[0.0, 0.0]).is_none(), "nothing weighs");
        for unit in [1e-3, 1.0, 1e3] {
            assert!(through(1e-4, unit) && !through(2e-5, unit), "{unit}");
        }
    }

    #[test]
    fn points_without_a_time_are_left_out() {
        let mut points = points(&[(1, 1.01), (2, 0.99), (4, 1.0), (8, 1.01)]);
        let fitted = fit(&points).expect("enough points");
        for seconds in [0.0, -1.0, f64::INFINITY, f64::NAN] {
            points.push(StepPoint { seconds, ..points[0] });
        }
        assert_eq!(fit(&points), Some(fitted));
        points.remove(0);
        assert_eq!(fit(&points), None);
    }

    #[test]
    fn the_further_off_a_point_is_the_less_it_weighs() {
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} is not {b}");
        close(biweight(0.0), 1.0);
        close(biweight(4.685 / 2.0), 0.5625);
        close(biweight(-4.685 / 2.0), 0.5625);
        assert_eq!(biweight(4.7), 0.0);
    }

    #[test]
    fn intervals_are_those_of_weighted_least_squares() {
        // Exact points are taken to err by the least there is, and all count alike.
        let points = points(&[(1, 1.0), (2, 1.0), (4, 1.0), (8, 1.0), (16, 1.0)]);
        let sum =
            |term: fn(f64, f64) -> f64| points.iter().map(|p| term(p.waves / p.seconds, p.streams / p.seconds)).sum();
        let (ww, ws, ss): (f64, f64, f64) = (sum(|w, _| w * w), sum(|w, s| w * s), sum(|_, s| s * s));
        let determinant = ww * ss - ws * ws;
        let fit = fit(&points).expect("enough points");
        assert_eq!((fit.relative_error, fit.points), (LEAST_RELATIVE_ERROR, 5));
        for (fitted, variance) in [(fit.fixed_seconds, ss / determinant), (fit.per_stream_seconds, ww / determinant)] {
            let half_width = student_factor(3.0) * LEAST_RELATIVE_ERROR * variance.sqrt();
            assert!((fitted.interval.width() / 2.0 / half_width - 1.0).abs() < 1e-6, "{fitted:?}");
        }
    }

    #[test]
    fn the_error_is_the_deviation_of_a_usual_residual() {
        let noisy: Vec<(u32, f64)> = (0..39).map(|n| (n + 1, [1.0, 1.01, 0.99][n as usize % 3])).collect();
        let fit = fit(&points(&noisy)).expect("enough points");
        assert!((fit.relative_error - 1.4826 * 0.01).abs() < 1e-3, "{fit:?}");
    }
}
