//! The report: what the running epoch of one target has shown, as Markdown with SVG charts.
//!
//! [`render`] is a pure function: the same input gives the same bytes. It reads no clock
//! and no history; only [`ReportInput::from_history`] does. Files of this folder use each other: `figures` turns
//! samples into what is shown, `change` sets it beside what was before, `words` holds every phrase, `section` writes the Markdown,
//! `chart` draws, `page` and `snapshot` carry the result to browsers and to the disk.

use jiff::Timestamp;

use crate::domain::plan::Language;
use crate::domain::{Epoch, EstimatePlan, Grid, NamedCells, Sample, TargetId};

mod change;
mod chart;
mod figures;
#[cfg(test)]
mod fixture;
mod history;
mod index;
mod markdown;
mod number;
mod page;
mod section;
pub mod snapshot;
#[cfg(test)]
mod tests;
mod words;

pub use change::{EarlierEpoch, LatencyChange, Past};
pub use page::{Links, html};

/// All that a report is made of.
#[derive(Clone, Debug)]
pub struct ReportInput {
    pub target: TargetId,
    pub url: String,
    /// The running epoch.
    pub epoch: Epoch,
    /// The cells that were named best in it, while it was measured.
    pub named: Option<NamedCells>,
    pub estimates: EstimatePlan,
    pub grid: Grid,
    /// Of this epoch, valid and invalid, in any order.
    pub samples: Vec<Sample>,
    pub complete_cycles: u64,
    pub past: Past,
    /// Of the schedule, where it is known.
    pub seed: Option<u64>,
    pub generated_at: Timestamp,
    /// Of this program.
    pub version: &'static str,
}

/// A finished report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Shows its charts as `charts/NAME.svg`.
    pub markdown: String,
    pub charts: Vec<Chart>,
}

/// One picture of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chart {
    /// Unique within the report, and free of anything that a path could misunderstand.
    pub file_name: String,
    pub svg: String,
}

/// Why there is no report.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    #[error("chart {file_name} could not be drawn: {reason}")]
    Chart { file_name: String, reason: String },
}

/// Writes the report in that language and draws its charts.
pub fn render(input: &ReportInput, language: Language) -> Result<Report, ReportError> {
    let figures = figures::Figures::of(input);
    let words = words::of(language);
    Ok(Report { markdown: section::all(&figures, words), charts: chart::all(&figures, words)? })
}
