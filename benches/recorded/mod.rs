//! Samples as a soak of the legacy grid would record them, for benches that need a full history.
//!
//! Figures are invented, and different in each cycle; nothing is measured here.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use llmsoak::analysis::quantile::quantiles;
use llmsoak::domain::{
    Cell, Conditions, EpochId, Event, Happening, Latencies, Measurement, Sample, TargetId, TokenSource,
};

/// From one sample to the next, seconds.
pub(crate) const APART: i64 = 30;
const OUTPUT_TOKENS: u32 = 204;

pub(crate) fn target() -> TargetId {
    TargetId::new("workstation", "gemma3:4b")
}

/// An event of a sample with latencies, different in each cycle.
pub(crate) fn measured(epoch: EpochId, cycle: u64, cell: Cell, factor: f64, completed_at: Timestamp) -> Event {
    let wobble = 1.0 + 0.02 * (cycle as f64 * 1.7 + f64::from(cell.batch) + 0.3 * f64::from(cell.workers)).sin();
    let step = (0.019 + 0.002_15 * f64::from(cell.concurrency())) * factor * wobble;
    let noisy = |index: u32| step * (1.0 + 0.2 * (f64::from(index) + 0.1 * cycle as f64).sin());
    let tokens = cell.batch * OUTPUT_TOKENS;
    let of_requests = |factor: f64| -> Vec<f64> { (0..cell.batch).map(|index| factor * noisy(index)).collect() };
    let latencies = Latencies {
        time_to_first_token: of_requests(3.0),
        time_per_output_token: of_requests(1.0),
        request_duration: of_requests(f64::from(OUTPUT_TOKENS)),
        requests_without_inter_token_latency: 0,
        // A tenth of the tokens: a histogram is as large with all of them.
        inter_token_latency: (0..tokens / 10).map(noisy).collect(),
    };
    let total_seconds = f64::from(tokens) * step / f64::from(cell.concurrency());
    let measurement = Measurement {
        total_seconds,
        seconds_per_request: total_seconds / f64::from(cell.batch),
        tokens_per_second: f64::from(tokens) / total_seconds,
        steady_tokens_per_second: Some(f64::from(cell.concurrency()) / step),
        prompt_tokens_per_second: Some(1000.0 / step),
        requests: cell.batch,
        failed_requests: 0,
        failures: Default::default(),
        output_tokens: tokens.into(),
        prompt_tokens: Some(64 * u64::from(cell.batch)),
        cached_prompt_tokens: Some(0),
        token_source: TokenSource::Usage,
        short_outputs: 0,
        observed_parallelism: Some(f64::from(cell.concurrency())),
        observed_parallelism_peak: Some(cell.concurrency()),
        reported_slots: None,
        time_to_first_token: quantiles(&latencies.time_to_first_token),
        inter_token_latency: quantiles(&latencies.inter_token_latency),
        time_per_output_token: quantiles(&latencies.time_per_output_token),
        request_duration: quantiles(&latencies.request_duration),
        worker_wait: quantiles(&[0.0]),
        queue_wait: quantiles(&[0.0]),
        load_seconds: Some(0.0),
        gpu_share: Some(1.0),
        timer_lag_p99_seconds: Some(0.0002),
        client_cpu_ratio: 0.01,
        conditions: Conditions {
            gpu_temperature_celsius: Some(60.0 + 5.0 * wobble),
            power_watts: Some(250.0 * wobble),
            energy_joules: Some(250.0 * total_seconds),
            ..Conditions::default()
        },
    };
    let started_at = completed_at - SignedDuration::from_secs(APART / 2);
    let sample =
        Sample { target: target(), epoch, cycle, cell, started_at, completed_at, measurement, invalid: Vec::new() };
    let happening = Happening::SampleEnded { sample: Arc::new(sample), latencies: Arc::new(latencies) };
    Event { at: completed_at, target: target(), happening }
}
