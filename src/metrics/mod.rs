//! What Prometheus scrapes.
//!
//! Counters and histograms grow with the events of the bus ([`work`]); everything that is a
//! state comes from one snapshot of the board, so that one scrape sees one state
//! ([`state`], [`environment`], [`cells`], [`changes`]). Each part lists its families in tables,
//! from which [`size`] also says how many series they will be, and [`figures`] what their
//! values are, for those who do not scrape.

mod cells;
mod changes;
mod environment;
mod family;
pub mod figures;
mod histogram;
mod process;
pub mod size;
mod state;
mod system;
#[cfg(test)]
mod tests;
mod work;

pub use process::{LogCounter, NotificationCounter, ProcessSources, ReloadStatus, ReportCounter};

use crate::domain::Event;
use crate::domain::plan::{CellDetail, MetricsPlan};
use crate::soak::Board;

/// The content type of the text format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4";

/// All families.
#[derive(Debug)]
pub struct Metrics {
    board: Board,
    sources: ProcessSources,
    cells: CellDetail,
    work: work::Work,
}

impl Metrics {
    /// The board's targets have their series from now on, others once they join.
    pub fn new(board: Board, sources: ProcessSources, plan: &MetricsPlan) -> Self {
        let work = work::Work::new(plan);
        for target in board.snapshot().targets.values() {
            work.adopt(&target.id, target.grid.as_deref());
        }
        Self { board, sources, cells: plan.cells, work }
    }

    /// Counts what an event says.
    pub fn observe(&self, event: &Event) {
        self.work.observe(event);
    }

    /// All families in the text format, version 0.0.4.
    pub fn render(&self) -> String {
        let snapshot = self.board.snapshot();
        let mut all = process::collect(&snapshot, &self.sources);
        all.extend(self.work.collect());
        all.extend(state::collect(&snapshot));
        all.extend(changes::collect(&snapshot));
        all.extend(environment::collect(&snapshot));
        all.extend(cells::collect(&snapshot, self.cells));
        family::page(all)
    }
}
