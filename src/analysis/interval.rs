//! A range of numbers, and the quantiles of the distributions that ranges are made of.
//!
//! Draws nothing; knows no samples.

use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

/// How sure every published interval is.
pub const CONFIDENCE: f64 = 0.95;

/// A closed range; `upper` may be infinite where nothing bounds it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    pub lower: f64,
    pub upper: f64,
}

impl Interval {
    pub fn around(centre: f64, half_width: f64) -> Self {
        Self { lower: centre - half_width, upper: centre + half_width }
    }

    pub fn contains(self, value: f64) -> bool {
        (self.lower..=self.upper).contains(&value)
    }

    pub fn width(self) -> f64 {
        self.upper - self.lower
    }
}

/// The standard normal's quantile at `probability`, inside (0, 1).
pub(super) fn normal_quantile(probability: f64) -> f64 {
    Normal::standard().inverse_cdf(probability)
}

/// The probability that a standard normal lies below `z`.
pub(super) fn normal_below(z: f64) -> f64 {
    Normal::standard().cdf(z)
}

/// Student's quantile at `probability`, inside (0, 1); the normal's for a freedom that is none.
pub(super) fn student_quantile(probability: f64, degrees_of_freedom: f64) -> f64 {
    StudentsT::new(0.0, 1.0, degrees_of_freedom)
        .map_or_else(|_| normal_quantile(probability), |student| student.inverse_cdf(probability))
}

/// The factor on a standard error that makes half a 95 % interval.
pub(super) fn student_factor(degrees_of_freedom: f64) -> f64 {
    student_quantile(0.5 + CONFIDENCE / 2.0, degrees_of_freedom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_tables() {
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-3, "{a} is not {b}");
        close(normal_quantile(0.975), 1.960);
        close(normal_below(-1.645), 0.050);
        close(student_factor(4.0), 2.776);
        close(student_factor(1.0), 12.706);
    }
}
