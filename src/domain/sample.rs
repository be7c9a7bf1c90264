//! One measurement of one cell, as it is stored, shown and estimated from.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::cell::Cell;
use super::conditions::Conditions;
use super::environment::{EpochId, TargetId};
use super::failure::{FailureKind, InvalidReason};
use super::named::named;
use super::request::TokenSource;

/// Exact quantiles of the raw values of one sample, seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Quantiles {
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
}

/// The figures of a sample: the columns of the history.
///
/// Rates are of successful answers. `None` is what could not be measured, never zero.
#[derive(Clone, Debug, PartialEq)]
pub struct Measurement {
    /// First send → last completion.
    pub total_seconds: f64,
    /// Total / requests.
    pub seconds_per_request: f64,
    /// Output tokens of all successful answers / total.
    pub tokens_per_second: f64,
    /// The rate while at least 90 % of min(W, B, slots) streams decode.
    pub steady_tokens_per_second: Option<f64>,
    /// Prompt tokens that came from no cache / prompt time, summed over the requests, where the server tells both.
    pub prompt_tokens_per_second: Option<f64>,
    pub requests: u32,
    pub failed_requests: u32,
    pub failures: BTreeMap<FailureKind, u32>,
    pub output_tokens: u64,
    pub prompt_tokens: Option<u64>,
    pub cached_prompt_tokens: Option<u64>,
    /// The least trusted source among the requests.
    pub token_source: TokenSource,
    /// Successful answers that ended before the asked length.
    pub short_outputs: u32,
    /// Time integral of the requests between first and last token, over the span in which
    /// there are any.
    pub observed_parallelism: Option<f64>,
    /// The highest such level held for at least half a median ITL.
    pub observed_parallelism_peak: Option<u32>,
    /// The requests that the server said it works on at once.
    pub reported_slots: Option<u32>,
    pub time_to_first_token: Option<Quantiles>,
    pub inter_token_latency: Option<Quantiles>,
    pub time_per_output_token: Option<Quantiles>,
    pub request_duration: Option<Quantiles>,
    /// Client-side wait for a free worker; in none of the other latencies.
    pub worker_wait: Option<Quantiles>,
    /// Time to first token less the server's own times, of the answers with which it tells
    /// them.
    pub queue_wait: Option<Quantiles>,
    /// The longest model load that the server reported.
    pub load_seconds: Option<f64>,
    /// The share of the model in the GPU's memory, 0 to 1, where the server tells.
    pub gpu_share: Option<f64>,
    /// 99th percentile of the measuring runtime's timer lag during the sample, where enough
    /// timers fired to have one.
    pub timer_lag_p99_seconds: Option<f64>,
    /// Own processor time / (wall time × own cores).
    pub client_cpu_ratio: f64,
    /// What the GPUs did meanwhile, where they are this machine's.
    pub conditions: Conditions,
}

impl Measurement {
    /// Energy of the GPUs / output tokens of successful answers, where both are known.
    pub fn joules_per_output_token(&self) -> Option<f64> {
        let joules = self.conditions.energy_joules.filter(|_| self.output_tokens > 0)?;
        Some(joules / self.output_tokens as f64)
    }
}

named! {
    /// What a latency is of.
    LatencyMeasure {
        TimeToFirstToken = "time_to_first_token",
        TimePerOutputToken = "time_per_output_token",
        InterTokenLatency = "inter_token_latency",
        RequestDuration = "request_duration",
    }
}

/// The raw latencies behind a sample's quantiles, seconds, in no order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Latencies {
    pub time_to_first_token: Vec<f64>,
    /// One value a token: a chunk's gap, shared over its tokens.
    pub inter_token_latency: Vec<f64>,
    pub time_per_output_token: Vec<f64>,
    pub request_duration: Vec<f64>,
    /// Requests whose tokens per chunk are unknown.
    pub requests_without_inter_token_latency: u32,
}

/// How often each latency was seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Distribution {
    /// Seconds and their count, ascending.
    pub counts: Vec<(f64, u64)>,
}

impl Distribution {
    pub fn total(&self) -> u64 {
        self.counts.iter().map(|(_, count)| count).sum()
    }
}

impl Latencies {
    /// The values of one measure, seconds.
    pub fn of(&self, measure: LatencyMeasure) -> &[f64] {
        match measure {
            LatencyMeasure::TimeToFirstToken => &self.time_to_first_token,
            LatencyMeasure::TimePerOutputToken => &self.time_per_output_token,
            LatencyMeasure::InterTokenLatency => &self.inter_token_latency,
            LatencyMeasure::RequestDuration => &self.request_duration,
        }
    }
}

/// One measurement of one cell, with its keys.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub target: TargetId,
    pub epoch: EpochId,
    /// Counts the cycles of a target from 1, through restarts.
    pub cycle: u64,
    /// The canonical cell.
    pub cell: Cell,
    pub started_at: Timestamp,
    pub completed_at: Timestamp,
    pub measurement: Measurement,
    /// Why it enters no estimate; empty for a valid sample. The first is the one counted.
    pub invalid: Vec<InvalidReason>,
}

impl Sample {
    pub fn is_valid(&self) -> bool {
        self.invalid.is_empty()
    }
}
