//! Entries as flat rows: the fields of JSON lines and the columns of CSV, in their order.
//!
//! Their names are those of the history's tables where those have the same thing. Times are
//! UTC, RFC 3339; durations are seconds. What is unknown is null, or an empty column.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::{
    Cell, CellAggregate, CycleEntry, Epoch, EpochEntry, EpochId, EventEntry, Facts, FailureKind, Grid, InvalidReason,
    Measurement, Moments, Quantiles, Sample, TargetId, TokenSource,
};

/// What is wrong with a row.
type Fault = String;

/// A time to the millisecond, which is what the history keeps.
fn show_time(at: Timestamp) -> String {
    format!("{at:.3}")
}

fn read_time(field: &str, text: &str) -> Result<Timestamp, Fault> {
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

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SampleRow {
    target: String,
    model: String,
    epoch: i64,
    cycle: u64,
    workers: u32,
    batch: u32,
    started_at: String,
    completed_at: String,
    total_seconds: f64,
    seconds_per_request: f64,
    tokens_per_second: f64,
    steady_tokens_per_second: Option<f64>,
    prompt_tokens_per_second: Option<f64>,
    requests: u32,
    failed_requests: u32,
    /// As `reset=1,http_5xx=2`.
    failures: Option<String>,
    output_tokens: u64,
    prompt_tokens: Option<u64>,
    cached_prompt_tokens: Option<u64>,
    token_source: String,
    short_outputs: u32,
    observed_parallelism: Option<f64>,
    observed_parallelism_peak: Option<u32>,
    reported_slots: Option<u32>,
    time_to_first_token_p50: Option<f64>,
    time_to_first_token_p95: Option<f64>,
    time_to_first_token_p99: Option<f64>,
    inter_token_latency_p50: Option<f64>,
    inter_token_latency_p95: Option<f64>,
    inter_token_latency_p99: Option<f64>,
    time_per_output_token_p50: Option<f64>,
    time_per_output_token_p95: Option<f64>,
    time_per_output_token_p99: Option<f64>,
    request_duration_p50: Option<f64>,
    request_duration_p95: Option<f64>,
    request_duration_p99: Option<f64>,
    worker_wait_p50: Option<f64>,
    worker_wait_p95: Option<f64>,
    worker_wait_p99: Option<f64>,
    queue_wait_p50: Option<f64>,
    queue_wait_p95: Option<f64>,
    queue_wait_p99: Option<f64>,
    gpu_share: Option<f64>,
    load_seconds: Option<f64>,
    timer_lag_p99_seconds: Option<f64>,
    client_cpu_ratio: f64,
    valid: bool,
    /// Separated by commas; the first is the one that counts.
    invalid_reason: Option<String>,
}

fn quantiles(p50: Option<f64>, p95: Option<f64>, p99: Option<f64>) -> Option<Quantiles> {
    Some(Quantiles { p50: p50?, p95: p95?, p99: p99? })
}

/// Separated by commas; nothing for nothing.
fn joined(items: impl Iterator<Item = String>) -> Option<String> {
    let items: Vec<String> = items.collect();
    (!items.is_empty()).then(|| items.join(","))
}

fn items(text: Option<&String>) -> impl Iterator<Item = &str> {
    text.map(String::as_str).unwrap_or_default().split(',').filter(|item| !item.is_empty())
}

impl SampleRow {
    pub(super) fn of(sample: &Sample) -> Self {
        let m = &sample.measurement;
        let (first, between, each) = (m.time_to_first_token, m.inter_token_latency, m.time_per_output_token);
        let (whole, wait, queue) = (m.request_duration, m.worker_wait, m.queue_wait);
        Self {
            target: sample.target.name.to_string(),
            model: sample.target.model.to_string(),
            epoch: sample.epoch.0,
            cycle: sample.cycle,
            workers: sample.cell.workers,
            batch: sample.cell.batch,
            started_at: show_time(sample.started_at),
            completed_at: show_time(sample.completed_at),
            total_seconds: m.total_seconds,
            seconds_per_request: m.seconds_per_request,
            tokens_per_second: m.tokens_per_second,
            steady_tokens_per_second: m.steady_tokens_per_second,
            prompt_tokens_per_second: m.prompt_tokens_per_second,
            requests: m.requests,
            failed_requests: m.failed_requests,
            failures: joined(m.failures.iter().map(|(kind, count)| format!("{kind}={count}"))),
            output_tokens: m.output_tokens,
            prompt_tokens: m.prompt_tokens,
            cached_prompt_tokens: m.cached_prompt_tokens,
            token_source: m.token_source.to_string(),
            short_outputs: m.short_outputs,
            observed_parallelism: m.observed_parallelism,
            observed_parallelism_peak: m.observed_parallelism_peak,
            reported_slots: m.reported_slots,
            time_to_first_token_p50: first.map(|q| q.p50),
            time_to_first_token_p95: first.map(|q| q.p95),
            time_to_first_token_p99: first.map(|q| q.p99),
            inter_token_latency_p50: between.map(|q| q.p50),
            inter_token_latency_p95: between.map(|q| q.p95),
            inter_token_latency_p99: between.map(|q| q.p99),
            time_per_output_token_p50: each.map(|q| q.p50),
            time_per_output_token_p95: each.map(|q| q.p95),
            time_per_output_token_p99: each.map(|q| q.p99),
            request_duration_p50: whole.map(|q| q.p50),
            request_duration_p95: whole.map(|q| q.p95),
            request_duration_p99: whole.map(|q| q.p99),
            worker_wait_p50: wait.map(|q| q.p50),
            worker_wait_p95: wait.map(|q| q.p95),
            worker_wait_p99: wait.map(|q| q.p99),
            queue_wait_p50: queue.map(|q| q.p50),
            queue_wait_p95: queue.map(|q| q.p95),
            queue_wait_p99: queue.map(|q| q.p99),
            gpu_share: m.gpu_share,
            load_seconds: m.load_seconds,
            timer_lag_p99_seconds: m.timer_lag_p99_seconds,
            client_cpu_ratio: m.client_cpu_ratio,
            valid: sample.is_valid(),
            invalid_reason: joined(sample.invalid.iter().map(ToString::to_string)),
        }
    }

    pub(super) fn sample(self) -> Result<Sample, Fault> {
        let (invalid, failures, token_source) = (self.invalid()?, self.failures()?, self.token_source()?);
        let measurement = Measurement {
            total_seconds: self.total_seconds,
            seconds_per_request: self.seconds_per_request,
            tokens_per_second: self.tokens_per_second,
            steady_tokens_per_second: self.steady_tokens_per_second,
            prompt_tokens_per_second: self.prompt_tokens_per_second,
            requests: self.requests,
            failed_requests: self.failed_requests,
            failures,
            output_tokens: self.output_tokens,
            prompt_tokens: self.prompt_tokens,
            cached_prompt_tokens: self.cached_prompt_tokens,
            token_source,
            short_outputs: self.short_outputs,
            observed_parallelism: self.observed_parallelism,
            observed_parallelism_peak: self.observed_parallelism_peak,
            reported_slots: self.reported_slots,
            time_to_first_token: quantiles(
                self.time_to_first_token_p50,
                self.time_to_first_token_p95,
                self.time_to_first_token_p99,
            ),
            inter_token_latency: quantiles(
                self.inter_token_latency_p50,
                self.inter_token_latency_p95,
                self.inter_token_latency_p99,
            ),
            time_per_output_token: quantiles(
                self.time_per_output_token_p50,
                self.time_per_output_token_p95,
                self.time_per_output_token_p99,
            ),
            request_duration: quantiles(
                self.request_duration_p50,
                self.request_duration_p95,
                self.request_duration_p99,
            ),
            worker_wait: quantiles(self.worker_wait_p50, self.worker_wait_p95, self.worker_wait_p99),
            queue_wait: quantiles(self.queue_wait_p50, self.queue_wait_p95, self.queue_wait_p99),
            gpu_share: self.gpu_share,
            load_seconds: self.load_seconds,
            timer_lag_p99_seconds: self.timer_lag_p99_seconds,
            client_cpu_ratio: self.client_cpu_ratio,
        };
        Ok(Sample {
            target: TargetId::new(&self.target, &self.model),
            epoch: EpochId(self.epoch),
            cycle: self.cycle,
            cell: Cell::new(self.workers, self.batch),
            started_at: read_time("started_at", &self.started_at)?,
            completed_at: read_time("completed_at", &self.completed_at)?,
            measurement,
            invalid,
        })
    }

    fn invalid(&self) -> Result<Vec<InvalidReason>, Fault> {
        let known = |name: &str| {
            InvalidReason::from_name(name).ok_or_else(|| format!("invalid_reason: no such reason: {name}"))
        };
        let reasons = items(self.invalid_reason.as_ref()).map(known).collect::<Result<Vec<_>, _>>()?;
        if reasons.is_empty() == self.valid {
            return Ok(reasons);
        }
        Err("valid and invalid_reason contradict each other".to_owned())
    }

    fn failures(&self) -> Result<BTreeMap<FailureKind, u32>, Fault> {
        let pair = |item: &str| {
            let (name, count) = item.split_once('=')?;
            Some((FailureKind::from_name(name)?, count.parse().ok()?))
        };
        let known = |item: &str| pair(item).ok_or_else(|| format!("failures: not a class with its count: {item}"));
        items(self.failures.as_ref()).map(known).collect()
    }

    fn token_source(&self) -> Result<TokenSource, Fault> {
        let found = TokenSource::ALL.iter().find(|source| source.as_str() == self.token_source);
        found.copied().ok_or_else(|| format!("token_source: no such source: {}", self.token_source))
    }
}
