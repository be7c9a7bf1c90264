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
