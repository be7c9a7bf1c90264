//! The latency histograms of a target: which there are, their bounds, their labels.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::family::{Family, series_of_histogram};
use crate::domain::plan::{HistogramLabels, MetricsPlan};
use crate::domain::{Cell, Grid, Latencies, LatencyMeasure, TargetId};

/// Seconds. They contain the bounds of OpenTelemetry's GenAI server metrics and of vLLM, so
/// that client and server curves share them; the finer start is for fast GPUs.
const FIRST_TOKEN_BOUNDS: &[f64] = &[
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0,
];
const TOKEN_BOUNDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0,
    7.5, 10.0, 20.0,
];
const REQUEST_BOUNDS: &[f64] = &[
    0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0,
    480.0, 960.0,
];

/// A histogram of each measure.
pub(super) const HISTOGRAMS: [(LatencyMeasure, &str, &str); 4] = [
    (
        LatencyMeasure::TimeToFirstToken,
        "llmsoak_time_to_first_token_seconds",
        "Send to first text-bearing chunk, of a request.",
    ),
    (
        LatencyMeasure::TimePerOutputToken,
        "llmsoak_time_per_output_token_seconds",
        "(last token - first token) / (tokens - 1), of a request.",
    ),
    (LatencyMeasure::InterTokenLatency, "llmsoak_inter_token_latency_seconds", "Gap between tokens, of a token."),
    (LatencyMeasure::RequestDuration, "llmsoak_request_duration_seconds", "Send to end of stream, of a request."),
];

fn bounds(plan: &MetricsPlan, measure: LatencyMeasure) -> &[f64] {
    let usual = match measure {
        LatencyMeasure::TimeToFirstToken => FIRST_TOKEN_BOUNDS,
        LatencyMeasure::TimePerOutputToken | LatencyMeasure::InterTokenLatency => TOKEN_BOUNDS,
        LatencyMeasure::RequestDuration => REQUEST_BOUNDS,
    };
    plan.buckets.get(&measure).map_or(usual, Vec::as_slice)
}

/// How many series a target of that grid has here.
pub(super) fn series(plan: &MetricsPlan, grid: &Grid) -> usize {
    let of_each: usize = HISTOGRAMS.iter().map(|(measure, ..)| series_of_histogram(bounds(plan, *measure).len())).sum();
    of_each * Key::all(plan.histogram_labels, grid).len()
}

/// What the histograms of one target are told apart by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    workers: Option<u32>,
    batch: Option<u32>,
}

impl Key {
    fn of(labels: HistogramLabels, cell: Cell) -> Self {
        match labels {
            HistogramLabels::None => Self::default(),
            HistogramLabels::Workers => Self { workers: Some(cell.workers), batch: None },
            HistogramLabels::WorkersAndBatch => Self { workers: Some(cell.workers), batch: Some(cell.batch) },
        }
    }

    /// Those of a grid: cells that are measured, never copies.
    fn all(labels: HistogramLabels, grid: &Grid) -> BTreeSet<Self> {
        grid.measured().into_iter().map(|cell| Self::of(labels, cell)).collect()
    }
}

/// What all targets' histograms are like.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    plan: Arc<MetricsPlan>,
}

/// The histograms of one target.
#[derive(Clone, Debug, Default)]
pub(super) struct Histograms {
    of: BTreeMap<(Key, LatencyMeasure), Distribution>,
}

#[derive(Clone, Debug)]
struct Distribution {
    /// By bucket, not cumulative; the last is beyond all bounds.
    counts: Vec<u64>,
    sum: f64,
}

impl Shape {
    pub(super) fn new(plan: &MetricsPlan) -> Self {
        Self { plan: Arc::new(plan.clone()) }
    }

    /// Makes the histograms of a grid and drops those of the one before.
    ///
    /// They are there before they count: all values of a sample come at once, and no rate
    /// sees those with which a series begins.
    pub(super) fn fit(&self, histograms: &mut Histograms, grid: &Grid) {
        let keys = Key::all(self.plan.histogram_labels, grid);
        histograms.of.retain(|(key, _), _| keys.contains(key));
        for key in keys {
            for (measure, ..) in HISTOGRAMS {
                histograms.of.entry((key, measure)).or_insert_with(|| self.empty(measure));
            }
        }
    }

    /// Counts the latencies of a sample.
    pub(super) fn add(&self, histograms: &mut Histograms, cell: Cell, latencies: &Latencies) {
        let key = Key::of(self.plan.histogram_labels, cell);
        for (measure, ..) in HISTOGRAMS {
            let distribution = histograms.of.entry((key, measure)).or_insert_with(|| self.empty(measure));
            let bounds = bounds(&self.plan, measure);
            for &value in latencies.of(measure) {
                let bucket = bounds.partition_point(|&bound| bound < value);
                if let Some(count) = distribution.counts.get_mut(bucket) {
                    *count += 1;
                }
                distribution.sum += value;
            }
        }
    }

    fn empty(&self, measure: LatencyMeasure) -> Distribution {
        Distribution { counts: vec![0; bounds(&self.plan, measure).len() + 1], sum: 0.0 }
    }

    /// Writes a target's histograms of one measure.
    pub(super) fn write(&self, family: &mut Family, measure: LatencyMeasure, id: &TargetId, histograms: &Histograms) {
        for ((key, _), distribution) in histograms.of.iter().filter(|((_, of), _)| *of == measure) {
            let [workers, batch] = [key.workers, key.batch].map(|number| number.map(|number| number.to_string()));
            let further = workers.as_deref().into_iter().chain(batch.as_deref());
            let values = [&*id.name, &*id.model].into_iter().chain(further);
            let labels: Vec<_> = ["target", "model", "workers", "batch"].into_iter().zip(values).collect();
            let buckets = bounds(&self.plan, measure).iter().copied().zip(distribution.counts.iter().copied());
            let beyond = distribution.counts.last().copied().unwrap_or(0);
            family.add_histogram(&labels, buckets, beyond, distribution.sum);
        }
    }
}
