//! What the detector says of a cycle, and how a ratio gets its interval.

use crate::domain::{ChangeEvent, CycleRef, Measure, Ratio};

/// A log-ratio with its 95 % interval, as ratios: from its standard error, and how many rows
/// the noise is known from.
pub(super) fn ratio(log_ratio: f64, standard_error: f64, noise_rows: f64) -> Ratio {
    // The 97.5 % quantile of Student's t: the normal's, and the first term of what few degrees
    // of freedom add (Cornish and Fisher, 1938).
    let half = (1.96 + 2.37 / noise_rows.max(1.0)) * standard_error;
    Ratio { value: log_ratio.exp(), lower: (log_ratio - half).exp(), upper: (log_ratio + half).exp() }
}

/// What one cycle brings to light.
#[derive(Clone, Debug, PartialEq)]
pub enum Finding {
    Changed(ChangeEvent),
    /// The level of a change that was found is back without a change of identity: a dip.
    Withdrawn {
        measure: Measure,
        changed: CycleRef,
        returned: CycleRef,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_as_wide_as_students_t_makes_it() {
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} is not {b}");
        for (rows, factor) in [(0.0, 4.33), (1.0, 4.33), (10.0, 2.197), (f64::INFINITY, 1.96)] {
            let ratio = ratio(0.9_f64.ln(), 0.02, rows);
            close(ratio.value, 0.9);
            close(ratio.lower, 0.9 * (-factor * 0.02_f64).exp());
            close(ratio.upper, 0.9 * (factor * 0.02_f64).exp());
        }
    }
}
