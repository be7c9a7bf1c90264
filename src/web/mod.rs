//! What browsers and scrapers see: the status page, `/metrics`, the reports, the health.
//!
//! Pages read the board, the history and the reports on the disk and never ask the engine: nothing that a
//! visitor does can delay a measurement, but for the orders in [`lifecycle`], which the operator
//! has to allow. Beside the floors below, this folder uses `metrics` and `report` of its own
//! floor.

mod api;
#[cfg(test)]
mod api_tests;
mod changes;
mod door;
#[cfg(test)]
mod fixture;
mod grid;
mod health;
mod html;
mod lifecycle;
mod measure;
mod patience;
mod report;
mod security;
mod server;
mod status;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::metrics::Metrics;
use crate::soak::{Board, WallClock};

pub use api::compared_measure;
pub use door::{SEATS, serve};
pub use lifecycle::{Lifecycle, ReloadRequest};
pub use security::Security;
pub use server::router;

/// All that the pages are made of.
#[derive(Clone, Debug)]
pub struct App {
    pub board: Board,
    pub metrics: Arc<Metrics>,
    /// The folder of the history.
    pub storage: PathBuf,
    /// The folder with one folder of reports a target.
    pub reports: PathBuf,
    pub clock: WallClock,
    pub readiness: Readiness,
    /// `None`: nobody may order anything.
    pub lifecycle: Option<Lifecycle>,
}

/// Whether the history was restored. Cheap to clone; all clones say the same.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    pub fn set_ready(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub fn is_ready(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
