//! The results: a gauge of each figure of each cell, and the optimum.
//!
//! Values are those of the cell's last valid sample in the running epoch; an epoch that
//! ends takes its series with it.

use super::family::{Family, Labelled, Reading, families, unix_seconds, zero_or_one};
use crate::analysis::estimate::RateEstimate;
use crate::analysis::optimum::{Best, Optimum};
use crate::analysis::slots::RowSlots;
use crate::analysis::step::StepFit;
use crate::domain::plan::CellDetail;
use crate::domain::{Cell, Grid, Measurement, Quantiles, Sample};
use crate::soak::board::{CellSnapshot, Snapshot, TargetSnapshot};

/// What an objective names.
type Named = fn(&Optimum) -> Option<&Best>;
/// The objectives that there are.
pub(super) const OBJECTIVES: [(&str, Named); 3] = [
    ("throughput", |optimum| Some(&optimum.throughput)),
    ("frugal", |optimum| Some(&optimum.frugal)),
    ("slo", |optimum| optimum.slo.as_ref()),
];

/// A cell as it is shown: a copy has the figures of the cell that was measured for it.
pub(super) struct Shown {
    cell: CellSnapshot,
    estimate: Option<RateEstimate>,
    is_copy: bool,
}

impl Shown {
    /// `None` for a cell that was not attempted yet.
    pub(super) fn of(target: &TargetSnapshot, cell: Cell) -> Option<Self> {
        let is_copy = target.grid.as_ref().is_some_and(|grid| grid.is_copy(cell));
        Some(Self { cell: target.cell(cell)?.clone(), estimate: target.estimate(cell).copied(), is_copy })
    }
}

/// Reads a figure off the last valid sample.
macro_rules! of_sample {
    ($name:literal, $help:literal, $read:expr) => {
        Reading {
            name: concat!("llmsoak_cell_", $name),
            help: $help,
            value: |shown: &Shown| {
                let read: fn(&Measurement) -> Option<f64> = $read;
                read(&shown.cell.last_valid.as_ref()?.measurement)
            },
        }
    };
}

/// Reads a figure off the last attempt, valid or not.
macro_rules! of_attempt {
    ($name:literal, $help:literal, $read:expr) => {
        Reading {
            name: concat!("llmsoak_cell_", $name),
            help: $help,
            value: |shown: &Shown| {
                let read: fn(&Sample) -> f64 = $read;
                Some(read(&shown.cell.last_attempt))
            },
        }
    };
}

fn p50(quantiles: Option<Quantiles>) -> Option<f64> {
    Some(quantiles?.p50)
}

fn p95(quantiles: Option<Quantiles>) -> Option<f64> {
    Some(quantiles?.p95)
}

fn p99(quantiles: Option<Quantiles>) -> Option<f64> {
    Some(quantiles?.p99)
}

/// What an optimum and a heat map need.
const CORE_READINGS: &[Reading<Shown>] = &[
    of_sample!("tokens_per_second", "Output tokens of all successful answers / total seconds.", |m| Some(
        m.tokens_per_second
    )),
    of_sample!("duration_seconds", "First send to last completion of the batch.", |m| Some(m.total_seconds)),
    of_sample!("time_to_first_token_p95_seconds", "Send to first text-bearing chunk, 95th percentile.", |m| p95(
        m.time_to_first_token
    )),
    of_attempt!("valid", "Whether the last attempt gave a valid sample.", |s| zero_or_one(s.is_valid())),
    of_attempt!("completed_timestamp_seconds", "End of the last attempt.", |s| unix_seconds(s.completed_at)),
    Reading {
        name: "llmsoak_cell_samples",
        help: "Valid samples of the running epoch that the estimate is of.",
        value: |shown| Some(shown.estimate.map_or(0.0, |estimate| estimate.samples as f64)),
    },
    Reading {
        name: "llmsoak_cell_tokens_per_second_estimate",
        help: "Median token rate of the cell's samples.",
        value: |shown| shown.estimate.map(|estimate| estimate.median),
    },
    Reading {
        name: "llmsoak_cell_tokens_per_second_estimate_lower",
        help: "Lower end of the 95 % interval of the median token rate.",
        value: |shown| shown.estimate.map(|estimate| estimate.interval.lower),
    },
    Reading {
        name: "llmsoak_cell_tokens_per_second_estimate_upper",
        help: "Upper end of the 95 % interval of the median token rate.",
        value: |shown| shown.estimate.map(|estimate| estimate.interval.upper),
    },
    Reading {
        name: "llmsoak_cell_shared",
        help: "1 on copies of an equivalent cell, 0 on measured ones.",
        value: |shown| Some(zero_or_one(shown.is_copy)),
    },
];

/// The rest.
const FURTHER_READINGS: &[Reading<Shown>] = &[
    of_sample!(
        "steady_tokens_per_second",
        "Output tokens a second while at least 90 % of min(W, B, slots) streams decode.",
        |m| m.steady_tokens_per_second
    ),
    of_sample!("seconds_per_request", "Duration / batch.", |m| Some(m.seconds_per_request)),
    of_sample!("output_tokens", "Output tokens of all successful answers.", |m| Some(m.output_tokens as f64)),
    of_sample!("prompt_tokens_per_second", "Uncached prompt tokens / the server's time on them.", |m| m
        .prompt_tokens_per_second),
    of_sample!("time_to_first_token_p50_seconds", "Send to first text-bearing chunk, median.", |m| p50(
        m.time_to_first_token
    )),
    of_sample!("time_to_first_token_p99_seconds", "Send to first text-bearing chunk, 99th percentile.", |m| p99(
        m.time_to_first_token
    )),
    of_sample!("inter_token_latency_p50_seconds", "Gap between tokens, median.", |m| p50(m.inter_token_latency)),
    of_sample!("inter_token_latency_p95_seconds", "Gap between tokens, 95th percentile.", |m| p95(
        m.inter_token_latency
    )),
    of_sample!("inter_token_latency_p99_seconds", "Gap between tokens, 99th percentile.", |m| p99(
        m.inter_token_latency
    )),
    of_sample!("request_duration_p50_seconds", "Send to end of stream, median.", |m| p50(m.request_duration)),
    of_sample!("request_duration_p95_seconds", "Send to end of stream, 95th percentile.", |m| p95(m.request_duration)),
    of_sample!("request_duration_p99_seconds", "Send to end of stream, 99th percentile.", |m| p99(m.request_duration)),
    of_sample!(
        "queue_wait_p50_seconds",
        "Time to first token less the server's own load and prompt times, median.",
        |m| p50(m.queue_wait)
    ),
    of_sample!("joules_per_output_token", "Energy of the GPUs / output tokens of all successful answers.", |m| m
        .joules_per_output_token()),
    of_sample!("observed_parallelism", "Mean number of streams between first and last token.", |m| m
        .observed_parallelism),
    of_sample!("observed_parallelism_peak", "Most such streams held for half a median inter-token latency.", |m| m
        .observed_parallelism_peak
        .map(f64::from)),
    of_attempt!("requests", "Requests of the last attempt.", |s| f64::from(s.measurement.requests)),
    of_attempt!("request_failures", "Failed requests of the last attempt.", |s| f64::from(
        s.measurement.failed_requests
    )),
];

pub(super) fn cell_readings(detail: CellDetail) -> impl Iterator<Item = &'static Reading<Shown>> + Clone {
    let (core, further) = match detail {
        CellDetail::Full => (CORE_READINGS, FURTHER_READINGS),
        CellDetail::Core => (CORE_READINGS, &[][..]),
        CellDetail::Off => (&[][..], &[][..]),
    };
    core.iter().chain(further)
}

pub(super) const ROW_READINGS: &[Reading<Best>] = &[
    Reading {
        name: "llmsoak_optimum_batch_for_workers",
        help: "The batch with the highest token rate of the row.",
        value: |best| Some(f64::from(best.cell.batch)),
    },
    Reading {
        name: "llmsoak_optimum_tokens_per_second_for_workers",
        help: "The token rate of the row's best batch.",
        value: |best| Some(best.tokens_per_second),
    },
];

pub(super) const SLOT_READINGS: &[Reading<RowSlots>] = &[
    Reading {
        name: "llmsoak_requested_slots",
        help: "Requests to be worked on at once: the workers of the row.",
        value: |row| Some(f64::from(row.requested)),
    },
    Reading {
        name: "llmsoak_reported_slots",
        help: "Requests that the server said it works on at once.",
        value: |row| row.reported.map(f64::from),
    },
    Reading {
        name: "llmsoak_effective_slots",
        help: "Requests that the server was seen to work on at once.",
        value: |row| row.effective.map(|effective| effective.slots),
    },
    Reading {
        name: "llmsoak_row_mismatch",
        help: "Whether the server did not get the slots that the row asked for.",
        value: |row| Some(zero_or_one(row.verdict.is_warned())),
    },
];

/// The best cell of the grid, with what its last valid sample says.
pub(super) struct Crown {
    best: Best,
    time_to_first_token: Option<Quantiles>,
}

impl Crown {
    pub(super) fn of(target: &TargetSnapshot, best: &Best) -> Self {
        let last = target.cell(best.cell).and_then(|cell| cell.last_valid.as_ref());
        let time_to_first_token = last.and_then(|sample| sample.measurement.time_to_first_token);
        Self { best: best.clone(), time_to_first_token }
    }
}

pub(super) const OPTIMUM_READINGS: &[Reading<Crown>] = &[
    Reading {
        name: "llmsoak_optimum_workers",
        help: "Workers of the best configuration by objective.",
        value: |crown| Some(f64::from(crown.best.cell.workers)),
    },
    Reading {
        name: "llmsoak_optimum_batch",
        help: "Batch of the best configuration by objective.",
        value: |crown| Some(f64::from(crown.best.cell.batch)),
    },
    Reading {
        name: "llmsoak_optimum_tokens_per_second",
        help: "Token rate of the best configuration: its median, drawn towards its neighbours.",
        value: |crown| Some(crown.best.tokens_per_second),
    },
    Reading {
        name: "llmsoak_optimum_time_to_first_token_p95_seconds",
        help: "95th percentile of the time to first token at the best configuration, last valid sample.",
        value: |crown| p95(crown.time_to_first_token),
    },
    Reading {
        name: "llmsoak_optimum_probability",
        help: "The probability that its token rate is within 1 % of the best one.",
        value: |crown| Some(crown.best.probability),
    },
    Reading {
        name: "llmsoak_optimum_tied_cells",
        help: "Cells that may be as good, itself among them.",
        value: |crown| Some(crown.best.tied.len() as f64),
    },
];

pub(super) const STEP_READINGS: &[Reading<StepFit>] = &[
    Reading {
        name: "llmsoak_step_fixed_seconds",
        help: "The part of a step of the server that does not depend on the streams: a of a + b c.",
        value: |step| Some(step.fixed_seconds.value),
    },
    Reading {
        name: "llmsoak_step_per_stream_seconds",
        help: "What each stream adds to a step of the server: b of a + b c.",
        value: |step| Some(step.per_stream_seconds.value),
    },
];

/// How many series a target of that grid has here when all is measured.
pub(super) fn series(detail: CellDetail, grid: &Grid) -> usize {
    let rows = grid.workers().len();
    let cells = rows * grid.batch().len();
    cells * cell_readings(detail).count()
        + rows * (ROW_READINGS.len() + SLOT_READINGS.len())
        + OBJECTIVES.len() * OPTIMUM_READINGS.len()
        + STEP_READINGS.len()
}

/// The results of all targets.
pub(super) fn collect(snapshot: &Snapshot, detail: CellDetail) -> Vec<Family> {
    let targets = || snapshot.targets.values().map(AsRef::as_ref);
    let cells: Vec<_> = if detail == CellDetail::Off { Vec::new() } else { targets().flat_map(shown).collect() };
    let rows: Vec<_> = targets().flat_map(rows).collect();
    let crowns: Vec<_> = targets().flat_map(crowns).collect();
    let steps: Vec<_> = targets().filter_map(step).collect();
    let slots: Vec<_> = targets().flat_map(row_slots).collect();
    let mut all = families(cell_readings(detail), &cells);
    all.extend(families(ROW_READINGS, &rows));
    all.extend(families(SLOT_READINGS, &slots));
    all.extend(families(OPTIMUM_READINGS, &crowns));
    all.extend(families(STEP_READINGS, &steps));
    all
}

/// The cells of a target that were attempted, and the copies of them.
fn shown(target: &TargetSnapshot) -> impl Iterator<Item = Labelled<Shown>> {
    let cells = target.grid.iter().flat_map(|grid| grid.cells());
    cells.filter_map(|cell| {
        let (workers, batch) = (cell.workers.to_string(), cell.batch.to_string());
        let [name, model] = target_labels(target);
        let labels = [name, model, ("workers", workers.as_str()), ("batch", batch.as_str())];
        Some(Labelled::new(&labels, Shown::of(target, cell)?))
    })
}

fn rows(target: &TargetSnapshot) -> impl Iterator<Item = Labelled<Best>> {
    target.optimum().into_iter().flat_map(|optimum| &optimum.rows).map(|best| {
        let workers = best.cell.workers.to_string();
        let [name, model] = target_labels(target);
        Labelled::new(&[name, model, ("workers", workers.as_str())], best.clone())
    })
}

fn row_slots(target: &TargetSnapshot) -> impl Iterator<Item = Labelled<RowSlots>> {
    target.conclusions.rows.iter().map(|row| {
        let workers = row.requested.to_string();
        let [name, model] = target_labels(target);
        Labelled::new(&[name, model, ("workers", workers.as_str())], *row)
    })
}

fn crowns(target: &TargetSnapshot) -> impl Iterator<Item = Labelled<Crown>> {
    OBJECTIVES.iter().filter_map(move |&(objective, named)| {
        let [name, model] = target_labels(target);
        let crown = Crown::of(target, named(target.optimum()?)?);
        Some(Labelled::new(&[name, model, ("objective", objective)], crown))
    })
}

fn step(target: &TargetSnapshot) -> Option<Labelled<StepFit>> {
    Some(Labelled::new(&target_labels(target), target.conclusions.step.clone()?))
}

fn target_labels(target: &TargetSnapshot) -> [(&'static str, &str); 2] {
    [("target", &target.id.name), ("model", &target.id.model)]
}
