//! The history: every sample, epoch, cycle and event in one SQLite file.
//!
//! One thread writes, one transaction a sample; readers have connections of their own, and so
//! has an import, which may write beside that thread. A kill at any moment loses at most what is
//! being measured. Nothing here knows the engine, and nothing that measures waits for it.

use std::path::Path;
use std::time::SystemTime;

mod aggregates;
mod baselines;
mod canaries;
mod changes;
mod cycles;
mod distribution;
mod error;
mod export;
mod import;
#[cfg(test)]
mod import_tests;
mod latency;
mod ledger;
mod listing;
mod reader;
mod retention;
mod rows;
mod schema;
#[cfg(test)]
mod tests;
mod writer;

pub use baselines::give_order;
pub use cycles::{Cycle, KnownEpoch};
pub use error::StoreError;
pub use import::{Import, ImportedEpoch};
pub use listing::{ListedEpoch, ListedEvent};
pub use reader::{EpochSummary, Reader, SAMPLES_OF_CELL};
pub use retention::Pruned;
pub use writer::{CycleStart, Entered, Sighting, Writer, WriterStatus};

/// The file's name within the storage folder.
pub const FILE_NAME: &str = "llmsoak.db";

/// When somebody last wrote to the history of a folder, by the clock of the file system; `None`
/// where that cannot be told. Looks at one entry of a directory: there is no need to wait for it.
pub fn last_write(folder: &Path) -> Option<SystemTime> {
    // In this mode of SQLite all that is written goes to the log first.
    std::fs::metadata(folder.join(format!("{FILE_NAME}-wal"))).and_then(|log| log.modified()).ok()
}
