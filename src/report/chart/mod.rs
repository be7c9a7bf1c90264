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
mod latency;
mod palette;
mod panels;
mod parallelism;
mod rows;
mod scale;
mod step;
mod trend;

pub(super) use heat_map::has_latency_map;

pub(super) const HEAT_MAP_FILE: &str = "heat-map.svg";
pub(super) const ROWS_FILE: &str = "rows.svg";
pub(super) const LATENCY_MAP_FILE: &str = "heat-map-ttft.svg";
pub(super) const PARALLELISM_FILE: &str = "parallelism.svg";
pub(super) const STEP_FILE: &str = "step.svg";
pub(super) const LATENCY_FILE: &str = "latency.svg";
pub(super) const TREND_FILE: &str = "trend.svg";

/// The name of the chart of one worker count.
pub(super) fn row_file(workers: u32) -> String {
    format!("workers-{workers}.svg")
}

/// Every chart, in the order in which the report shows them.
pub(super) fn all(figures: &Figures<'_>, words: &Words) -> Result<Vec<Chart>, ReportError> {
    let overall =
        [Some(heat_map::rates(figures, words)), Some(rows::draw(figures, words)), heat_map::latencies(figures, words)];
    let rows = figures.input.grid.workers().iter().map(|&workers| Some(panels::draw(figures, words, workers)));
    let last = [
        Some(parallelism::draw(figures, words)),
        step::draw(figures, words),
        latency::draw(figures, words),
        trend::draw(figures, words),
    ];
    overall.into_iter().chain(rows).chain(last).flatten().collect()
}
