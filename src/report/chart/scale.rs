//! Axes that do not begin at zero: a range of values, and one of magnitudes.

use super::axis::round_values_between;
use super::canvas::{Anchor, Area, Canvas, Ink};
use super::palette;

/// What is left free above and below the values, as a share of their range.
const AIR: f64 = 0.15;
/// The least range in relation to the values: noise is not blown up to look like news.
const LEAST_RANGE: f64 = 0.06;
/// Fewer labels leave open how long a magnitude is.
const LEAST_LABELS: usize = 3;
/// The most labels of a scale of magnitudes that has those between the powers of ten too.
const MOST_LABELS: usize = 9;

/// A linear axis about some values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct RangeAxis {
    low: f64,
    high: f64,
}

impl RangeAxis {
    /// `None` without a finite value.
    pub(super) fn about(values: impl Iterator<Item = f64>) -> Option<Self> {
        let (low, high) = bounds(values)?;
        let range = (high - low).max(LEAST_RANGE * high.abs()).max(f64::MIN_POSITIVE);
        let middle = (low + high) / 2.0;
        let half = range * (0.5 + AIR);
        Some(Self { low: middle - half, high: middle + half })
    }

    pub(super) fn y(self, area: Area, value: f64) -> f64 {
        area.bottom() - ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0) * area.height
    }

    /// Hairlines and labels left of `area`.
    pub(super) fn draw(self, canvas: &mut Canvas<'_>, area: Area) {
        for (value, label) in round_values_between(self.low, self.high) {
            let y = self.y(area, value);
            canvas.hairline(area.left, area.right(), y, palette::GRID);
            canvas.text(&label, (area.left - 8.0, y), Ink::label(Anchor::End).small());
        }
    }
}

/// A logarithmic scale over some positive values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct LogScale {
    low: f64,
    high: f64,
}

impl LogScale {
    /// From the least to the greatest of the values. `None` without a positive one.
    pub(super) fn over(values: impl Iterator<Item = f64>) -> Option<Self> {
        let (low, high) = bounds(values.filter(|value| *value > 0.0))?;
        Some(Self { low, high })
    }

    /// The same with a little air at both ends, and at least a factor of two.
    pub(super) fn with_air(self) -> Self {
        let spare = (2.0 * self.low / self.high).max(1.0).sqrt() * 1.12;
        Self { low: self.low / spare, high: self.high * spare }
    }

    pub(super) fn is_a_point(self) -> bool {
        self.high <= self.low
    }

    /// Where a value lies, 0 at the low end and 1 at the high one.
    pub(super) fn share(self, value: f64) -> f64 {
        if self.is_a_point() || value <= 0.0 {
            return 0.0;
        }
        ((value / self.low).ln() / (self.high / self.low).ln()).clamp(0.0, 1.0)
    }

    /// The value at a share of the scale.
    pub(super) fn at(self, share: f64) -> f64 {
        self.low * (self.high / self.low).powf(share)
    }

    /// Round values within the scale: 1, 2 and 5 of each magnitude while they are few; within
    /// one magnitude even steps.
    pub(super) fn ticks(self) -> Vec<(f64, String)> {
        let all = self.multiples(&[1.0, 2.0, 5.0]);
        if all.len() < LEAST_LABELS && !self.is_a_point() {
            return round_values_between(self.low, self.high);
        }
        let tens = self.multiples(&[1.0]);
        let chosen = if all.len() > MOST_LABELS && tens.len() > 1 { tens } else { all };
        chosen.into_iter().map(|value| (value, format!("{value}"))).collect()
    }

    fn multiples(self, factors: &[f64]) -> Vec<f64> {
        #[expect(clippy::cast_possible_truncation, reason = "the logarithm of a float is small")]
        let magnitude = |value: f64| value.log10().floor() as i32;
        let values = (magnitude(self.low)..=magnitude(self.high)).flat_map(|power| {
            // A power below one is divided by, so that 0.02 is the number that is written so.
            let of = move |factor: f64| {
                if power < 0 { factor / 10_f64.powi(-power) } else { factor * 10_f64.powi(power) }
            };
            factors.iter().map(move |&factor| of(factor))
        });
        let is_within = |value: &f64| *value >= self.low * (1.0 - 1e-9) && *value <= self.high * (1.0 + 1e-9);
        values.filter(is_within).collect()
    }
}

fn bounds(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.filter(|value| value.is_finite()).fold(None, |bounds, value| match bounds {
        None => Some((value, value)),
        Some((low, high)) => Some((f64::min(low, value), f64::max(high, value))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn magnitudes_have_round_labels() {
        let check = |low: f64, high: f64, expected: &[&str]| {
            let scale = LogScale::over([low, high].into_iter()).expect("is positive");
            assert_eq!(scale.ticks().into_iter().map(|(_, label)| label).collect::<Vec<_>>(), expected, "{low} {high}");
        };
        check(0.018, 1.3, &["0.02", "0.05", "0.1", "0.2", "0.5", "1"]);
        check(1.0, 50.0, &["1", "2", "5", "10", "20", "50"]);
        check(0.016, 0.03, &["0.020", "0.025", "0.030"]);
        check(0.001, 1000.0, &["0.001", "0.01", "0.1", "1", "10", "100", "1000"]);
        assert_eq!(LogScale::over([0.0, -1.0, f64::NAN].into_iter()), None);
    }

    #[test]
    fn shares_run_from_end_to_end() {
        let scale = LogScale::over([1.0, 100.0].into_iter()).expect("is positive");
        assert_eq!([0.5, 1.0, 10.0, 100.0, 900.0].map(|value| scale.share(value)), [0.0, 0.0, 0.5, 1.0, 1.0]);
        assert!((scale.at(0.5) - 10.0).abs() < 1e-9);
        let air = scale.with_air();
        assert!(air.share(1.0) > 0.0 && air.share(100.0) < 1.0, "{air:?}");
    }

    #[test]
    fn a_range_shows_its_values_and_does_not_blow_up_noise() {
        let area = Area { left: 0.0, top: 0.0, width: 100.0, height: 100.0 };
        let axis = RangeAxis::about([100.0, 101.0].into_iter()).expect("has values");
        let (low, high) = (axis.y(area, 100.0), axis.y(area, 101.0));
        assert!(low - high < 15.0 && high > 0.0 && low < 100.0, "{low} {high}");
        assert_eq!(RangeAxis::about(std::iter::empty()), None);
    }
}
