//! Counters and histograms of the work: they grow with the events of the bus.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry};

use crate::domain::event::RequestEnd;
use crate::domain::{Event, FailureKind, Happening, InvalidReason, Latencies, Sample, TargetId, TokenSource};

const TARGET: [&str; 2] = ["target", "model"];
const REASON: [&str; 3] = ["target", "model", "reason"];
const WORKERS: [&str; 3] = ["target", "model", "workers"];

/// Seconds. They contain the bounds of OpenTelemetry's GenAI server metrics and of vLLM, so
/// that client and server curves share them; the finer start is for fast GPUs.
const FIRST_TOKEN_BOUNDS: [f64; 20] = [
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0,
];
const TOKEN_BOUNDS: [f64; 22] = [
    0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0,
    7.5, 10.0, 20.0,
];
const REQUEST_BOUNDS: [f64; 22] = [
    0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0,
    480.0, 960.0,
];

/// A target that has series.
#[derive(Debug)]
struct Adopted {
    /// With the model under which it has them.
    id: TargetId,
    /// The worker counts that have histograms.
    workers: BTreeSet<u32>,
}

/// The families, and the targets that have series in them.
#[derive(Debug)]
pub(super) struct Work {
    cycles_completed: IntCounterVec,
    samples: IntCounterVec,
    sample_failures: IntCounterVec,
    requests: IntCounterVec,
    request_failures: IntCounterVec,
    requests_in_flight: IntGaugeVec,
    prompt_tokens: IntCounterVec,
    output_tokens: IntCounterVec,
    cached_prompt_tokens: IntCounterVec,
    requests_by_token_source: IntCounterVec,
    requests_without_inter_token_latency: IntCounterVec,
    short_outputs: IntCounterVec,
    time_to_first_token: HistogramVec,
    time_per_output_token: HistogramVec,
    inter_token_latency: HistogramVec,
    request_duration: HistogramVec,
    adopted: Mutex<BTreeMap<Arc<str>, Adopted>>,
}

impl Work {
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let family = IntCounterVec::new(Opts::new(format!("llmsoak_{name}"), help), labels)?;
            registry.register(Box::new(family.clone()))?;
            Ok::<_, prometheus::Error>(family)
        };
        let histogram = |name: &str, help: &str, bounds: &[f64]| {
            let options = HistogramOpts::new(format!("llmsoak_{name}"), help).buckets(bounds.to_vec());
            let family = HistogramVec::new(options, &WORKERS)?;
            registry.register(Box::new(family.clone()))?;
            Ok::<_, prometheus::Error>(family)
        };
        let in_flight = IntGaugeVec::new(Opts::new("llmsoak_requests_in_flight", "Requests in flight now."), &TARGET)?;
        registry.register(Box::new(in_flight.clone()))?;
        Ok(Self {
            cycles_completed: counter("cycles_completed_total", "Complete cycles.", &TARGET)?,
            samples: counter("samples_total", "Samples, valid or not.", &TARGET)?,
            sample_failures: counter("sample_failures_total", "Samples that were not valid, by reason.", &REASON)?,
            requests: counter("requests_total", "Requests that ended, warm-ups included.", &TARGET)?,
            request_failures: counter("request_failures_total", "Requests that failed, by reason.", &REASON)?,
            requests_in_flight: in_flight,
            prompt_tokens: counter(
                "prompt_tokens_total",
                "Prompt tokens of successful requests, warm-ups included.",
                &TARGET,
            )?,
            output_tokens: counter(
                "output_tokens_total",
                "Output tokens of successful requests, warm-ups included.",
                &TARGET,
            )?,
            cached_prompt_tokens: counter(
                "cached_prompt_tokens_total",
                "Prompt tokens that the server answered from a cache.",
                &TARGET,
            )?,
            requests_by_token_source: counter(
                "requests_by_token_source_total",
                "Successful requests by where their token count comes from.",
                &["target", "model", "source"],
            )?,
            requests_without_inter_token_latency: counter(
                "requests_without_inter_token_latency_total",
                "Requests of valid samples whose tokens per chunk are unknown.",
                &TARGET,
            )?,
            short_outputs: counter("short_outputs_total", "Answers that ended before the asked length.", &TARGET)?,
            time_to_first_token: histogram(
                "time_to_first_token_seconds",
                "Send to first text-bearing chunk, of a request.",
                &FIRST_TOKEN_BOUNDS,
            )?,
            time_per_output_token: histogram(
                "time_per_output_token_seconds",
                "(last token - first token) / (tokens - 1), of a request.",
                &TOKEN_BOUNDS,
            )?,
            inter_token_latency: histogram(
                "inter_token_latency_seconds",
                "Gap between tokens, of a token.",
                &TOKEN_BOUNDS,
            )?,
            request_duration: histogram(
                "request_duration_seconds",
                "Send to end of stream, of a request.",
                &REQUEST_BOUNDS,
            )?,
            adopted: Mutex::default(),
        })
    }

    /// Makes every counter of a target, at 0, and drops those under a model that it had before.
    pub(super) fn adopt(&self, id: &TargetId) {
        let mut adopted = self.adopted.lock().unwrap_or_else(PoisonError::into_inner);
        if adopted.get(&id.name).is_some_and(|known| known.id == *id) {
            return;
        }
        let fresh = Adopted { id: id.clone(), workers: BTreeSet::new() };
        if let Some(before) = adopted.insert(id.name.clone(), fresh) {
            self.forget(&before);
        }
        for family in self.plain_counters() {
            family.with_label_values(&labels(id)).reset();
        }
        self.requests_in_flight.with_label_values(&labels(id)).set(0);
        for (family, third) in self.counters_with_a_third_label() {
            for value in third {
                family.with_label_values(&with(id, value)).reset();
            }
        }
    }

    fn forget(&self, adopted: &Adopted) {
        let id = &adopted.id;
        // What is not there need not be removed.
        for family in self.plain_counters() {
            let _ = family.remove_label_values(&labels(id));
        }
        let _ = self.requests_in_flight.remove_label_values(&labels(id));
        for (family, third) in self.counters_with_a_third_label() {
            for value in third {
                let _ = family.remove_label_values(&with(id, value));
            }
        }
        for workers in &adopted.workers {
            for family in self.histograms() {
                let _ = family.remove_label_values(&with(id, &workers.to_string()));
            }
        }
    }

    fn histograms(&self) -> [&HistogramVec; 4] {
        [&self.time_to_first_token, &self.time_per_output_token, &self.inter_token_latency, &self.request_duration]
    }

    fn plain_counters(&self) -> [&IntCounterVec; 8] {
        [
            &self.cycles_completed,
            &self.samples,
            &self.requests,
            &self.prompt_tokens,
            &self.output_tokens,
            &self.cached_prompt_tokens,
            &self.requests_without_inter_token_latency,
            &self.short_outputs,
        ]
    }

    fn counters_with_a_third_label(&self) -> [(&IntCounterVec, Vec<&'static str>); 3] {
        [
            (&self.sample_failures, InvalidReason::ALL.iter().map(|reason| reason.as_str()).collect()),
            (&self.request_failures, FailureKind::ALL.iter().map(|kind| kind.as_str()).collect()),
            (&self.requests_by_token_source, TokenSource::ALL.iter().map(|source| source.as_str()).collect()),
        ]
    }

    pub(super) fn observe(&self, event: &Event) {
        let id = &event.target;
        match &event.happening {
            Happening::Identified(_) | Happening::EpochEntered { .. } => self.adopt(id),
            Happening::RequestStarted => self.requests_in_flight.with_label_values(&labels(id)).inc(),
            Happening::RequestEnded(end) => self.observe_request(id, end),
            Happening::SampleEnded { sample, latencies } => self.observe_sample(id, sample, latencies),
            Happening::CycleEnded { .. } => self.cycles_completed.with_label_values(&labels(id)).inc(),
            Happening::Joined { .. }
            | Happening::Left
            | Happening::SampleDropped { .. }
            | Happening::StateChanged { .. }
            | Happening::Away { .. }
            | Happening::FieldsDropped { .. }
            | Happening::CycleStarted { .. }
            | Happening::SampleStarted { .. } => {}
        }
    }

    fn observe_request(&self, id: &TargetId, end: &RequestEnd) {
        self.requests_in_flight.with_label_values(&labels(id)).dec();
        self.requests.with_label_values(&labels(id)).inc();
        if let Some(failure) = &end.failure {
            self.request_failures.with_label_values(&with(id, failure.kind.as_str())).inc();
            return;
        }
        self.output_tokens.with_label_values(&labels(id)).inc_by(end.tokens.output);
        self.prompt_tokens.with_label_values(&labels(id)).inc_by(end.tokens.prompt.unwrap_or(0));
        self.cached_prompt_tokens.with_label_values(&labels(id)).inc_by(end.tokens.cached_prompt.unwrap_or(0));
        self.requests_by_token_source.with_label_values(&with(id, end.tokens.source.as_str())).inc();
        self.short_outputs.with_label_values(&labels(id)).inc_by(end.short.into());
    }

    fn observe_sample(&self, id: &TargetId, sample: &Sample, latencies: &Latencies) {
        self.samples.with_label_values(&labels(id)).inc();
        if let Some(reason) = sample.invalid.first() {
            self.sample_failures.with_label_values(&with(id, reason.as_str())).inc();
            return;
        }
        let without = u64::from(latencies.requests_without_inter_token_latency);
        self.requests_without_inter_token_latency.with_label_values(&labels(id)).inc_by(without);
        if let Some(adopted) = self.adopted.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&id.name) {
            adopted.workers.insert(sample.cell.workers);
        }
        let workers = sample.cell.workers.to_string();
        let values = [
            &latencies.time_to_first_token,
            &latencies.time_per_output_token,
            &latencies.inter_token_latency,
            &latencies.request_duration,
        ];
        for (family, values) in self.histograms().into_iter().zip(values) {
            // Collected apart and added at once: a scrape sees whole samples.
            let histogram = family.with_label_values(&with(id, &workers)).local();
            values.iter().for_each(|value| histogram.observe(*value));
        }
    }
}

fn labels(id: &TargetId) -> [&str; 2] {
    [&id.name, &id.model]
}

fn with<'a>(id: &'a TargetId, third: &'a str) -> [&'a str; 3] {
    [&id.name, &id.model, third]
}
