//! Entries as flat rows: the fields of JSON lines and the columns of CSV, in their order. Samples
//! have a file of their own.
//!
//! Their names are those of the history's tables where those have the same thing. Times are
//! UTC, RFC 3339; durations are seconds. What is unknown is null, or an empty column.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::{
    Cell, CellAggregate, CycleEntry, Epoch, EpochEntry, EpochId, EventEntry, Facts, Grid, Moments, TargetId,
};

/// What is wrong with a row.
pub(super) type Fault = String;

/// A time to the millisecond, which is what the history keeps.
pub(super) fn show_time(at: Timestamp) -> String {
    format!("{at:.3}")
}

pub(super) fn read_time(field: &str, text: &str) -> Result<Timestamp, Fault> {
    text.parse().map_err(|_| format!("{field}: not a time such as 2026-11-24T17:01:02.345Z: {text}"))
}

/// An epoch; `F` is a JSON object, or the text of one where fields are flat.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EpochRow<F> {
    pub(super) epoch: i64,
    pub(super) target: String,
    pub(super) model: String,
    pub(super) url: String,
    pub(super) first_seen: String,
    pub(super) last_seen: String,
    pub(super) identity: F,
    pub(super) load: F,
}

impl<F> EpochRow<F> {
    pub(super) fn of(entry: &EpochEntry, facts: fn(&Facts) -> F) -> Self {
        let EpochEntry { target, url, epoch } = entry;
        Self {
            epoch: epoch.id.0,
            target: target.name.to_string(),
            model: target.model.to_string(),
            url: url.clone(),
            first_seen: show_time(epoch.first_seen),
            last_seen: show_time(epoch.last_seen),
            identity: facts(&epoch.identity),
            load: facts(&epoch.load),
        }
    }
}

impl EpochRow<Facts> {
    pub(super) fn entry(self) -> Result<EpochEntry, Fault> {
        let epoch = Epoch {
            id: EpochId(self.epoch),
            identity: self.identity,
            load: self.load,
            first_seen: read_time("first_seen", &self.first_seen)?,
            last_seen: read_time("last_seen", &self.last_seen)?,
        };
        Ok(EpochEntry { target: TargetId::new(&self.target, &self.model), url: self.url, epoch })
    }
}

/// A grid as JSON.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GridRow {
    workers: Vec<u32>,
    batch: Vec<u32>,
    share_equivalent_cells: bool,
}

impl GridRow {
    pub(super) fn of(grid: &Grid) -> Self {
        Self {
            workers: grid.workers().to_vec(),
            batch: grid.batch().to_vec(),
            share_equivalent_cells: grid.shares_equivalent_cells(),
        }
    }
}

/// A cycle; `G` is a grid as JSON, or the text of it where fields are flat.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CycleRow<G> {
    epoch: i64,
    cycle: u64,
    seed: u64,
    started_at: String,
    completed_at: Option<String>,
    grid: G,
}

impl<G> CycleRow<G> {
    pub(super) fn of(cycle: &CycleEntry, grid: fn(&Grid) -> G) -> Self {
        Self {
            epoch: cycle.epoch.0,
            cycle: cycle.number,
            seed: cycle.seed,
            started_at: show_time(cycle.started_at),
            completed_at: cycle.completed_at.map(show_time),
            grid: grid(&cycle.grid),
        }
    }
}

impl CycleRow<GridRow> {
    pub(super) fn entry(self) -> Result<CycleEntry, Fault> {
        let GridRow { workers, batch, share_equivalent_cells } = self.grid;
        let grid = Grid::new(&workers, &batch, share_equivalent_cells).map_err(|error| format!("grid: {error}"))?;
        let completed_at = self.completed_at.map(|text| read_time("completed_at", &text)).transpose()?;
        Ok(CycleEntry {
            epoch: EpochId(self.epoch),
            number: self.cycle,
            grid,
            seed: self.seed,
            started_at: read_time("started_at", &self.started_at)?,
            completed_at,
        })
    }
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventRow {
    target: String,
    model: String,
    at: String,
    kind: String,
    detail: String,
}

impl EventRow {
    pub(super) fn of(event: &EventEntry) -> Self {
        Self {
            target: event.target.name.to_string(),
            model: event.target.model.to_string(),
            at: show_time(event.at),
            kind: event.kind.clone(),
            detail: event.detail.clone(),
        }
    }

    pub(super) fn entry(self) -> Result<EventEntry, Fault> {
        Ok(EventEntry {
            target: TargetId::new(&self.target, &self.model),
            at: read_time("at", &self.at)?,
            kind: self.kind,
            detail: self.detail,
        })
    }
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CellRow {
    epoch: i64,
    workers: u32,
    batch: u32,
    attempts: u64,
    first_at: String,
    last_at: String,
    valid_samples: u64,
    log_tokens_per_second_count: u64,
    log_tokens_per_second_mean: Option<f64>,
    log_tokens_per_second_m2: Option<f64>,
    tokens_per_second_min: Option<f64>,
    tokens_per_second_max: Option<f64>,
    requests: u64,
    failed_requests: u64,
    output_tokens: u64,
    total_seconds: f64,
    log_time_to_first_token_p50_count: u64,
    log_time_to_first_token_p50_mean: Option<f64>,
    log_time_to_first_token_p50_m2: Option<f64>,
    log_inter_token_latency_p50_count: u64,
    log_inter_token_latency_p50_mean: Option<f64>,
    log_inter_token_latency_p50_m2: Option<f64>,
}

fn known(moments: Moments, value: f64) -> Option<f64> {
    (moments.count > 0).then_some(value)
}

fn moments(count: u64, mean: Option<f64>, m2: Option<f64>) -> Moments {
    Moments { count, mean: mean.unwrap_or_default(), m2: m2.unwrap_or_default() }
}

impl CellRow {
    pub(super) fn of(epoch: EpochId, a: &CellAggregate) -> Self {
        let (rate, first, between) = (a.log_rate, a.log_time_to_first_token, a.log_inter_token_latency);
        Self {
            epoch: epoch.0,
            workers: a.cell.workers,
            batch: a.cell.batch,
            attempts: a.attempts,
            first_at: show_time(a.first_at),
            last_at: show_time(a.last_at),
            valid_samples: a.valid_samples,
            log_tokens_per_second_count: rate.count,
            log_tokens_per_second_mean: known(rate, rate.mean),
            log_tokens_per_second_m2: known(rate, rate.m2),
            tokens_per_second_min: a.lowest_tokens_per_second,
            tokens_per_second_max: a.highest_tokens_per_second,
            requests: a.requests,
            failed_requests: a.failed_requests,
            output_tokens: a.output_tokens,
            total_seconds: a.total_seconds,
            log_time_to_first_token_p50_count: first.count,
            log_time_to_first_token_p50_mean: known(first, first.mean),
            log_time_to_first_token_p50_m2: known(first, first.m2),
            log_inter_token_latency_p50_count: between.count,
            log_inter_token_latency_p50_mean: known(between, between.mean),
            log_inter_token_latency_p50_m2: known(between, between.m2),
        }
    }

    pub(super) fn entry(self) -> Result<(EpochId, CellAggregate), Fault> {
        let aggregate = CellAggregate {
            cell: Cell::new(self.workers, self.batch),
            attempts: self.attempts,
            first_at: read_time("first_at", &self.first_at)?,
            last_at: read_time("last_at", &self.last_at)?,
            valid_samples: self.valid_samples,
            log_rate: moments(
                self.log_tokens_per_second_count,
                self.log_tokens_per_second_mean,
                self.log_tokens_per_second_m2,
            ),
            lowest_tokens_per_second: self.tokens_per_second_min,
            highest_tokens_per_second: self.tokens_per_second_max,
            requests: self.requests,
            failed_requests: self.failed_requests,
            output_tokens: self.output_tokens,
            total_seconds: self.total_seconds,
            log_time_to_first_token: moments(
                self.log_time_to_first_token_p50_count,
                self.log_time_to_first_token_p50_mean,
                self.log_time_to_first_token_p50_m2,
            ),
            log_inter_token_latency: moments(
                self.log_inter_token_latency_p50_count,
                self.log_inter_token_latency_p50_mean,
                self.log_inter_token_latency_p50_m2,
            ),
        };
        Ok((EpochId(self.epoch), aggregate))
    }
}
