//! Counters and histograms of the work: they grow with the events of the bus.
//!
//! A target has all of its series from the moment it is known, the counters at 0, and none
//! once it has left.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::family::{Family, Labelled, Reading, families};
use super::histogram::{self, HISTOGRAMS, Histograms, Shape};
use crate::domain::event::RequestEnd;
use crate::domain::plan::MetricsPlan;
use crate::domain::{Event, FailureKind, Grid, Happening, InvalidReason, Latencies, Sample, TargetId, TokenSource};

/// What one target did so far.
#[derive(Clone, Debug, Default)]
struct Counts {
    cycles_completed: u64,
    samples: u64,
    sample_failures: BTreeMap<InvalidReason, u64>,
    requests: u64,
    request_failures: BTreeMap<FailureKind, u64>,
    requests_in_flight: u64,
    prompt_tokens: u64,
    output_tokens: u64,
    cached_prompt_tokens: u64,
    requests_by_token_source: BTreeMap<TokenSource, u64>,
    requests_without_inter_token_latency: u64,
    short_outputs: u64,
    histograms: Histograms,
}

const READINGS: &[Reading<Counts>] = &[
    Reading {
        name: "llmsoak_cycles_completed_total",
        help: "Complete cycles.",
        value: |counts| Some(counts.cycles_completed as f64),
    },
    Reading {
        name: "llmsoak_samples_total",
        help: "Samples that were begun and ended, valid or not.",
        value: |counts| Some(counts.samples as f64),
    },
    Reading {
        name: "llmsoak_requests_total",
        help: "Requests that ended, warm-ups included.",
        value: |counts| Some(counts.requests as f64),
    },
    Reading {
        name: "llmsoak_requests_in_flight",
        help: "Requests in flight now.",
        value: |counts| Some(counts.requests_in_flight as f64),
    },
    Reading {
        name: "llmsoak_prompt_tokens_total",
        help: "Prompt tokens of successful requests, warm-ups included.",
        value: |counts| Some(counts.prompt_tokens as f64),
    },
    Reading {
        name: "llmsoak_output_tokens_total",
        help: "Output tokens of successful requests, warm-ups included.",
        value: |counts| Some(counts.output_tokens as f64),
    },
    Reading {
        name: "llmsoak_cached_prompt_tokens_total",
        help: "Prompt tokens that the server answered from a cache.",
        value: |counts| Some(counts.cached_prompt_tokens as f64),
    },
    Reading {
        name: "llmsoak_requests_without_inter_token_latency_total",
        help: "Requests of valid samples whose tokens per chunk are unknown.",
        value: |counts| Some(counts.requests_without_inter_token_latency as f64),
    },
    Reading {
        name: "llmsoak_short_outputs_total",
        help: "Answers that ended before the asked length.",
        value: |counts| Some(counts.short_outputs as f64),
    },
];

/// A family with a series for each value of a label of its own.
struct Split {
    name: &'static str,
    help: &'static str,
    label: &'static str,
    values: fn(&Counts) -> Vec<(&'static str, u64)>,
}

const SPLITS: &[Split] = &[
    Split {
        name: "llmsoak_sample_failures_total",
        help: "Samples that were not valid, by reason.",
        label: "reason",
        values: |counts| each(InvalidReason::ALL, InvalidReason::as_str, &counts.sample_failures),
    },
    Split {
        name: "llmsoak_request_failures_total",
        help: "Requests that failed, by reason.",
        label: "reason",
        values: |counts| each(FailureKind::ALL, FailureKind::as_str, &counts.request_failures),
    },
    Split {
        name: "llmsoak_requests_by_token_source_total",
        help: "Successful requests by where their token count comes from.",
        label: "source",
        values: |counts| each(TokenSource::ALL, TokenSource::as_str, &counts.requests_by_token_source),
    },
];

/// All members with their counts, 0 for what never was.
fn each<K: Copy + Ord>(all: &[K], name: fn(K) -> &'static str, counts: &BTreeMap<K, u64>) -> Vec<(&'static str, u64)> {
    all.iter().map(|&member| (name(member), counts.get(&member).copied().unwrap_or(0))).collect()
}

/// How many series a target of that grid has here.
pub(super) fn series(plan: &MetricsPlan, grid: &Grid) -> usize {
    let nothing = Counts::default();
    let splits: usize = SPLITS.iter().map(|split| (split.values)(&nothing).len()).sum();
    READINGS.len() + splits + histogram::series(plan, grid)
}

/// The work of all targets. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Work {
    shape: Shape,
    targets: Arc<Mutex<BTreeMap<Arc<str>, Target>>>,
}

#[derive(Debug)]
struct Target {
    /// With the model of which the counts are.
    id: TargetId,
    counts: Counts,
}

impl Work {
    pub(super) fn new(plan: &MetricsPlan) -> Self {
        Self { shape: Shape::new(plan), targets: Arc::default() }
    }

    fn targets(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Target>> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the series of a target; those that it has already go on.
    pub(super) fn adopt(&self, id: &TargetId, grid: Option<&Grid>) {
        let mut targets = self.targets();
        let target = targets.entry(id.name.clone()).or_insert_with(|| Target::new(id));
        if let Some(grid) = grid {
            self.shape.fit(&mut target.counts.histograms, grid);
        }
    }

    /// The families of all targets.
    pub(super) fn collect(&self) -> Vec<Family> {
        let targets = self.targets();
        let counts: Vec<_> = targets.values().map(|target| Labelled::new(&target.labels(), &target.counts)).collect();
        let mut all = families(READINGS, &counts);
        let splits = SPLITS.iter().map(|split| {
            let mut family = Family::new(split.name, split.help);
            for target in targets.values() {
                let [name, model] = target.labels();
                for (value, count) in (split.values)(&target.counts) {
                    family.add(&[name, model, (split.label, value)], count as f64);
                }
            }
            family
        });
        let histograms = HISTOGRAMS.iter().map(|(measure, name, help)| {
            let mut family = Family::histogram(name, help);
            for Target { id, counts } in targets.values() {
                self.shape.write(&mut family, *measure, id, &counts.histograms);
            }
            family
        });
        all.extend(splits.chain(histograms));
        all
    }

    pub(super) fn observe(&self, event: &Event) {
        let id = &event.target;
        match &event.happening {
            Happening::Joined { .. } => self.adopt(id, None),
            Happening::Left => _ = self.targets().remove(&id.name),
            happening => {
                // Who has left does not come back with a late word.
                if let Some(target) = self.targets().get_mut(&id.name) {
                    target.observe(id, happening, &self.shape);
                }
            }
        }
    }
}

impl Target {
    fn new(id: &TargetId) -> Self {
        Self { id: id.clone(), counts: Counts::default() }
    }

    fn labels(&self) -> [(&'static str, &str); 2] {
        [("target", &self.id.name), ("model", &self.id.model)]
    }

    fn observe(&mut self, id: &TargetId, happening: &Happening, shape: &Shape) {
        if self.id != *id {
            // Another model: nothing that was counted for the last one may bear its name.
            *self = Self::new(id);
        }
        let counts = &mut self.counts;
        match happening {
            Happening::EpochEntered { grid, .. } => shape.fit(&mut counts.histograms, grid),
            // What still seems to be in flight is of a sample that was dropped.
            Happening::SampleStarted { .. } => counts.cancel_requests(),
            Happening::RequestStarted => counts.requests_in_flight += 1,
            Happening::RequestEnded(end) => counts.end_request(end),
            Happening::SampleEnded { sample, latencies } => {
                counts.end_sample(sample.invalid.first().copied());
                if sample.is_valid() {
                    counts.add_latencies(sample, latencies, shape);
                }
            }
            Happening::SampleDropped { .. } => {
                counts.end_sample(Some(InvalidReason::Cancelled));
                counts.cancel_requests();
            }
            Happening::CycleEnded { .. } => counts.cycles_completed += 1,
            Happening::Joined { .. }
            | Happening::Left
            | Happening::Identified(_)
            | Happening::EpochLearned(_)
            | Happening::StateChanged { .. }
            | Happening::Away { .. }
            | Happening::SlotsSwitched { .. }
            | Happening::CanaryEnded(_)
            | Happening::FieldsDropped { .. }
            | Happening::ChangesRestored(_)
            | Happening::ChangeFound(_)
            | Happening::ChangeWithdrawn { .. }
            | Happening::AlarmTurned { .. }
            | Happening::BaselineChosen(_)
            | Happening::Compared(_)
            | Happening::CycleStarted { .. } => {}
        }
    }
}

impl Counts {
    fn end_request(&mut self, end: &RequestEnd) {
        // One that was under way when its sample was dropped is counted already.
        let Some(others) = self.requests_in_flight.checked_sub(1) else { return };
        self.requests_in_flight = others;
        self.requests += 1;
        if let Some(failure) = &end.failure {
            *self.request_failures.entry(failure.kind).or_default() += 1;
            return;
        }
        self.output_tokens += end.tokens.output;
        self.prompt_tokens += end.tokens.prompt.unwrap_or(0);
        self.cached_prompt_tokens += end.tokens.cached_prompt.unwrap_or(0);
        *self.requests_by_token_source.entry(end.tokens.source).or_default() += 1;
        self.short_outputs += u64::from(end.short);
    }

    /// Requests of a dropped sample never tell of their end.
    fn cancel_requests(&mut self) {
        let cancelled = std::mem::take(&mut self.requests_in_flight);
        self.requests += cancelled;
        *self.request_failures.entry(FailureKind::Cancelled).or_default() += cancelled;
    }

    fn end_sample(&mut self, reason: Option<InvalidReason>) {
        self.samples += 1;
        if let Some(reason) = reason {
            *self.sample_failures.entry(reason).or_default() += 1;
        }
    }

    fn add_latencies(&mut self, sample: &Sample, latencies: &Latencies, shape: &Shape) {
        self.requests_without_inter_token_latency += u64::from(latencies.requests_without_inter_token_latency);
        shape.add(&mut self.histograms, sample.cell, latencies);
    }
}
