//! What the detector is fed: the figures of one cycle, and the identity it was measured under.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::analysis::quantile::median;
use crate::domain::{Cell, Facts, Sample};

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

/// The cycles of an epoch of that identity, the oldest first: what their valid samples say. A
/// cycle is dated by its newest one; a cell that was measured several times has their median.
pub fn cycles_of<'s>(identity: &Facts, samples: impl IntoIterator<Item = &'s Sample>) -> Vec<CycleView> {
    let mut cycles: BTreeMap<u64, BTreeMap<Cell, Vec<&Sample>>> = BTreeMap::new();
    for sample in samples.into_iter().filter(|sample| sample.is_valid()) {
        cycles.entry(sample.cycle).or_default().entry(sample.cell).or_default().push(sample);
    }
    let view = |cells: BTreeMap<Cell, Vec<&Sample>>| {
        let at = cells.values().flatten().map(|sample| sample.completed_at).max()?;
        let cells = cells.iter().map(|(&cell, samples)| CellFigures { cell, figures: figures(samples) }).collect();
        Some(CycleView { at, identity: identity.clone(), cells })
    };
    cycles.into_values().filter_map(view).collect()
}

fn figures(samples: &[&Sample]) -> [Option<f64>; 3] {
    Measure::ALL.map(|measure| {
        let figure = |sample: &&Sample| {
            let m = &sample.measurement;
            match measure {
                Measure::TokensPerSecond => Some(m.tokens_per_second),
                Measure::TimeToFirstToken => m.time_to_first_token.map(|quantiles| quantiles.p50),
                Measure::InterTokenLatency => m.inter_token_latency.map(|quantiles| quantiles.p50),
            }
        };
        median(&samples.iter().filter_map(figure).collect::<Vec<_>>())
    })
}
