//! A report's input, read from the history.

use jiff::Timestamp;

use super::ReportInput;
use crate::domain::{EstimatePlan, Grid};
use crate::store::{EpochSummary, Reader, StoreError};

impl ReportInput {
    /// The newest epoch of a target, of any model where none is named. One that was never
    /// measured here may have been imported; `None` where it was not either.
    pub fn from_history(
        history: &Reader,
        name: &str,
        model: Option<&str>,
        estimates: EstimatePlan,
        generated_at: Timestamp,
    ) -> Result<Option<Self>, StoreError> {
        let summary = match history.newest_epoch(name, model)? {
            Some(measured) => Some(measured),
            None => history.newest_import(name, model)?,
        };
        summary.map(|summary| Self::of_epoch(history, summary, estimates, generated_at)).transpose()
    }

    /// Any epoch.
    pub fn of_epoch(
        history: &Reader,
        summary: EpochSummary,
        estimates: EstimatePlan,
        generated_at: Timestamp,
    ) -> Result<Self, StoreError> {
        let samples = history.samples(&summary.target, summary.epoch.id)?;
        let slots = summary.epoch.slots();
        Ok(Self {
            // An epoch without a cycle has no grid yet.
            grid: summary.grid.unwrap_or_else(|| Grid::automatic(slots, true)),
            target: summary.target,
            url: summary.url,
            epoch: summary.epoch,
            named: summary.named,
            estimates,
            samples,
            complete_cycles: summary.complete_cycles,
            seed: summary.seed,
            generated_at,
            version: env!("CARGO_PKG_VERSION"),
        })
    }
}
