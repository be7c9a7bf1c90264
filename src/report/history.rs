//! A report's input, read from the history.

use jiff::Timestamp;

use super::ReportInput;
use crate::domain::Grid;
use crate::store::{Reader, StoreError};

impl ReportInput {
    /// The newest epoch of a target, of any model where none is named; `None` where it was
    /// never measured.
    pub fn from_history(
        history: &Reader,
        name: &str,
        model: Option<&str>,
        generated_at: Timestamp,
    ) -> Result<Option<Self>, StoreError> {
        let Some(summary) = history.newest_epoch(name, model)? else { return Ok(None) };
        let samples = history.samples(&summary.target, summary.epoch.id)?;
        let slots = summary.epoch.identity.get("slots").and_then(|slots| slots.parse().ok());
        Ok(Some(Self {
            // An epoch without a cycle has no grid yet.
            grid: summary.grid.unwrap_or_else(|| Grid::automatic(slots, true)),
            target: summary.target,
            url: summary.url,
            epoch: summary.epoch,
            samples,
            complete_cycles: summary.complete_cycles,
            seed: summary.seed,
            generated_at,
            version: env!("CARGO_PKG_VERSION"),
        }))
    }
}
