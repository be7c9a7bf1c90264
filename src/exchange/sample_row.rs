//! A sample as a flat row, and back.
//!
//! Names, order and forms are as `rows` says.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::rows::{Fault, read_time, show_time};
use crate::domain::{
    Cell, Conditions, EpochId, FailureKind, InvalidReason, Measurement, Quantiles, Sample, TargetId, ThrottleReason,
    TokenSource,
};

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
    gpu_temperature_celsius: Option<f64>,
    sm_clock_megahertz: Option<f64>,
    memory_clock_megahertz: Option<f64>,
    gpu_utilization: Option<f64>,
    power_watts: Option<f64>,
    gpu_memory_used_bytes: Option<u64>,
    /// Separated by commas.
    throttle_reasons: Option<String>,
    energy_joules: Option<f64>,
    /// Follows from others: it is written and not read.
    joules_per_output_token: Option<f64>,
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
        let conditions = &m.conditions;
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
            gpu_temperature_celsius: conditions.gpu_temperature_celsius,
            sm_clock_megahertz: conditions.sm_clock_megahertz,
            memory_clock_megahertz: conditions.memory_clock_megahertz,
            gpu_utilization: conditions.gpu_utilization,
            power_watts: conditions.power_watts,
            gpu_memory_used_bytes: conditions.gpu_memory_used_bytes,
            throttle_reasons: joined(conditions.throttle_reasons.iter().map(ToString::to_string)),
            energy_joules: conditions.energy_joules,
            joules_per_output_token: m.joules_per_output_token(),
            valid: sample.is_valid(),
            invalid_reason: joined(sample.invalid.iter().map(ToString::to_string)),
        }
    }

    pub(super) fn sample(self) -> Result<Sample, Fault> {
        let (invalid, failures, token_source) = (self.invalid()?, self.failures()?, self.token_source()?);
        let conditions = self.conditions()?;
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
            conditions,
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

    fn conditions(&self) -> Result<Conditions, Fault> {
        let known = |name: &str| {
            ThrottleReason::from_name(name).ok_or_else(|| format!("throttle_reasons: no such reason: {name}"))
        };
        Ok(Conditions {
            gpu_temperature_celsius: self.gpu_temperature_celsius,
            sm_clock_megahertz: self.sm_clock_megahertz,
            memory_clock_megahertz: self.memory_clock_megahertz,
            gpu_utilization: self.gpu_utilization,
            power_watts: self.power_watts,
            gpu_memory_used_bytes: self.gpu_memory_used_bytes,
            throttle_reasons: items(self.throttle_reasons.as_ref()).map(known).collect::<Result<_, _>>()?,
            energy_joules: self.energy_joules,
        })
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
        let found = TokenSource::from_name(&self.token_source);
        found.ok_or_else(|| format!("token_source: no such source: {}", self.token_source))
    }
}
