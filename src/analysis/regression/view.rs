//! What the detector is fed: the figures of one cycle, and the identity it was measured under.

use jiff::Timestamp;

use crate::domain::{Cell, Facts};

/// A figure that is watched for changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Measure {
    TokensPerSecond,
    TimeToFirstToken,
    InterTokenLatency,
}

impl Measure {
    /// Every measure, in the order of [`Measure::index`].
    pub const ALL: [Self; 3] = [Self::TokensPerSecond, Self::TimeToFirstToken, Self::InterTokenLatency];

    /// The word for it in metrics and events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TokensPerSecond => "tokens_per_second",
            Self::TimeToFirstToken => "time_to_first_token",
            Self::InterTokenLatency => "inter_token_latency",
        }
    }

    /// Its place in [`CellFigures::figures`].
    pub const fn index(self) -> usize {
        match self {
            Self::TokensPerSecond => 0,
            Self::TimeToFirstToken => 1,
            Self::InterTokenLatency => 2,
        }
    }

    /// Whether more of it is better; of latencies, less is.
    pub const fn is_better_higher(self) -> bool {
        matches!(self, Self::TokensPerSecond)
    }
}

/// What one cycle measured of one cell; `None` is a missing measurement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CellFigures {
    pub cell: Cell,
    /// Tokens per second, median TTFT in seconds, median ITL in seconds: by [`Measure::index`].
    pub figures: [Option<f64>; 3],
}

impl CellFigures {
    /// The natural logarithm of a figure, where there is a positive and finite one.
    pub fn log(&self, measure: Measure) -> Option<f64> {
        let figure = self.figures.get(measure.index()).copied().flatten()?;
        (figure > 0.0 && figure.is_finite()).then(|| figure.ln())
    }
}

/// One cycle of a target.
#[derive(Clone, Debug, PartialEq)]
pub struct CycleView {
    pub at: Timestamp,
    /// What is known of the identity, by the labels of `llmsoak_environment_info`. A key that
    /// is left out is unknown, which is no change.
    pub identity: Facts,
    pub cells: Vec<CellFigures>,
}
