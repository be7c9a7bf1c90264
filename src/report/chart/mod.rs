//! The pictures of the report.
//!
//! They are drawn from primitives, not by a chart builder: without a font stack a builder
//! guesses how wide labels are and lets them collide. `canvas` alone knows plotters.

use super::figures::Figures;
use super::words::Words;
use super::{Chart, ReportError};

mod axis;
mod canvas;
mod heat_map;
mod palette;
mod panels;
mod rows;

pub(super) const HEAT_MAP_FILE: &str = "heat-map.svg";
pub(super) const ROWS_FILE: &str = "rows.svg";

/// The name of the chart of one worker count.
pub(super) fn row_file(workers: u32) -> String {
    format!("workers-{workers}.svg")
}

/// Every chart, in the order in which the report shows them.
pub(super) fn all(figures: &Figures<'_>, words: &Words) -> Result<Vec<Chart>, ReportError> {
    let overall = [heat_map::draw(figures, words), rows::draw(figures, words)];
    let rows = figures.input.grid.workers().iter().map(|&workers| panels::draw(figures, words, workers));
    overall.into_iter().chain(rows).collect()
}
