//! What Prometheus scrapes.
//!
//! Counters and histograms grow with the events of the bus ([`work`]); everything that is a
//! state comes from one snapshot of the board, so that one scrape sees one state
//! ([`state`], [`environment`], [`cells`], [`changes`]). Each part lists its families in tables,
//! from which [`size`] also says how many series they will be, and [`figures`] what their
//! values are, for those who do not scrape. The `prometheus` crate stays in this folder.

mod cells;
mod changes;
mod environment;
mod family;
pub mod figures;
mod histogram;
mod process;
pub mod size;
mod state;
#[cfg(test)]
mod tests;
mod work;

pub use process::{LogCounter, NotificationCounter, ProcessSources, ReloadStatus, ReportCounter};

use prometheus::{Registry, TextEncoder};

use crate::domain::Event;
use crate::domain::plan::MetricsPlan;
use crate::soak::Board;

/// The content type of the text format.
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// All families, on a registry of their own.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    work: work::Work,
}

impl Metrics {
    /// Registers every family. The board's targets have their series from now on, others
    /// once they join.
    pub fn new(board: Board, sources: ProcessSources, plan: &MetricsPlan) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        process::register(&registry, board.clone(), sources)?;
        let work = work::Work::new(plan);
        for target in board.snapshot().targets.values() {
            work.adopt(&target.id, target.grid.as_deref());
        }
        registry.register(Box::new(work::Works::new(work.clone())?))?;
        registry.register(Box::new(state::States::new(board.clone())?))?;
        registry.register(Box::new(changes::ChangeMetrics::new(board.clone())?))?;
        registry.register(Box::new(environment::Environments::new(board.clone())?))?;
        registry.register(Box::new(cells::Cells::new(board, plan.cells)?))?;
        Ok(Self { registry, work })
    }

    /// Counts what an event says.
    pub fn observe(&self, event: &Event) {
        self.work.observe(event);
    }

    /// All families in the text format, version 0.0.4.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}
