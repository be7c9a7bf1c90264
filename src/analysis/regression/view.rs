//! What the detector is fed: the figures of one cycle, and the identity it was measured under.

use jiff::Timestamp;

use crate::domain::{Cell, Facts, Measure, Quantiles, Sample};

/// What one cycle measured of one cell; `None` is a missing measurement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CellFigures {
    pub cell: Cell,
    /// Tokens per second, median TTFT in seconds, median ITL in seconds: by [`Measure::index`].
    pub figures: [Option<f64>; 3],
}

impl CellFigures {
    /// What a sample says of its cell.
    pub fn of(sample: &Sample) -> Self {
        let measured = &sample.measurement;
        let p50 = |quantiles: Option<Quantiles>| quantiles.map(|quantiles| quantiles.p50);
        let (ttft, itl) = (p50(measured.time_to_first_token), p50(measured.inter_token_latency));
        Self { cell: sample.cell, figures: [Some(measured.tokens_per_second), ttft, itl] }
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_positive_and_finite_figures_have_a_logarithm() {
        let log = |figure: Option<f64>| {
            let figures = CellFigures { cell: Cell::new(1, 1), figures: [None, figure, Some(1.0)] };
            figures.log(Measure::TimeToFirstToken)
        };
        assert_eq!(log(Some(2.0)), Some(2.0_f64.ln()));
        for figure in [None, Some(0.0), Some(-2.0), Some(f64::INFINITY), Some(f64::NAN)] {
            assert_eq!(log(figure), None, "{figure:?}");
        }
    }
}
