//! What the detector says: a change, its size, how sure, and what it is laid to.

use std::fmt;

use jiff::Timestamp;

use super::environment::Component;
use super::scope::Scope;
use super::view::Measure;
use crate::domain::Cell;

/// Whether a change is for the worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    Regression,
    Improvement,
}

impl Direction {
    /// Of a change of a measure by a log-ratio.
    pub fn of(measure: Measure, log_ratio: f64) -> Self {
        if (log_ratio > 0.0) == measure.is_better_higher() { Self::Improvement } else { Self::Regression }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Regression => "regression",
            Self::Improvement => "improvement",
        }
    }
}

/// What a change is laid to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    EnvironmentChange,
    UnexplainedStep,
    SlowDecay,
}

impl Cause {
    /// The word for it in metrics and events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EnvironmentChange => "environment_change",
            Self::UnexplainedStep => "unexplained_step",
            Self::SlowDecay => "slow_decay",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A log-ratio with its 95 % interval, as ratios: current / baseline.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio {
    pub value: f64,
    pub lower: f64,
    pub upper: f64,
}

impl Ratio {
    /// From a log-ratio, its standard error, and how many rows the noise is known from.
    pub(super) fn new(log_ratio: f64, standard_error: f64, noise_rows: f64) -> Self {
        // The 97.5 % quantile of Student's t: the normal's, and the first term of what few
        // degrees of freedom add (Cornish and Fisher, 1938).
        let half = (1.96 + 2.37 / noise_rows.max(1.0)) * standard_error;
        Self { value: log_ratio.exp(), lower: (log_ratio - half).exp(), upper: (log_ratio + half).exp() }
    }
}

/// A cycle, by its number and its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CycleRef {
    /// From 0, the first that the detector saw.
    pub cycle: u64,
    pub at: Timestamp,
}

/// A change that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct ChangeEvent {
    pub measure: Measure,
    pub direction: Direction,
    pub detected: CycleRef,
    /// The first cycle of the new level.
    pub changed: CycleRef,
    /// Paired and pooled over the cells of the scope.
    pub ratio: Ratio,
    pub cause: Cause,
    /// The components that changed then, the first suspect first; none where the identity
    /// stayed.
    pub components: Vec<Component>,
    pub scope: Scope,
    /// Cycles before and since the change that were weighed.
    pub cycles_before: usize,
    pub cycles_after: usize,
    /// The cells that moved by themselves, at a false discovery rate of 10 %.
    pub affected: Vec<Cell>,
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
