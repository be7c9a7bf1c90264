//! The results: a gauge of each figure of each cell, and the optimum.
//!
//! Values are those of the cell's last valid sample in the running epoch; an epoch that
//! ends takes its series with it.

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

use super::family::{Family, Reading, describe, unix_seconds};
use crate::analysis::optimum::Best;
use crate::domain::{Measurement, Quantiles};
use crate::soak::board::{Board, CellSnapshot, TargetSnapshot};

const CELL_LABELS: [&str; 4] = ["target", "model", "workers", "batch"];
const ROW_LABELS: [&str; 3] = ["target", "model", "workers"];
const OBJECTIVE_LABELS: [&str; 3] = ["target", "model", "objective"];
/// The one objective that there is.
const THROUGHPUT: &str = "throughput";

/// Reads a figure off the last valid sample.
macro_rules! of_sample {
    ($name:literal, $help:literal, $read:expr) => {
        Reading {
            name: concat!("llmsoak_cell_", $name),
            help: $help,
            value: |cell: &CellSnapshot| {
                let read: fn(&Measurement) -> Option<f64> = $read;
                read(&cell.last_valid.as_ref()?.measurement)
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
            value: |cell: &CellSnapshot| Some($read(&cell.last_attempt)),
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

const CELL_READINGS: &[Reading<CellSnapshot>] = &[
    of_sample!("tokens_per_second", "Output tokens of all successful answers / total seconds.", |m| Some(
        m.tokens_per_second
    )),
    of_sample!(
        "steady_tokens_per_second",
        "Output tokens a second while at least 90 % of min(W, B, slots) streams decode.",
        |m| m.steady_tokens_per_second
    ),
    of_sample!("duration_seconds", "First send to last completion of the batch.", |m| Some(m.total_seconds)),
    of_sample!("seconds_per_request", "Duration / batch.", |m| Some(m.seconds_per_request)),
    of_sample!("output_tokens", "Output tokens of all successful answers.", |m| Some(m.output_tokens as f64)),
    of_sample!("prompt_tokens_per_second", "Uncached prompt tokens / the server's time on them.", |m| m
        .prompt_tokens_per_second),
    of_sample!("time_to_first_token_p50_seconds", "Send to first text-bearing chunk, median.", |m| p50(
        m.time_to_first_token
    )),
    of_sample!("time_to_first_token_p95_seconds", "Send to first text-bearing chunk, 95th percentile.", |m| p95(
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
    of_sample!("observed_parallelism", "Mean number of streams between first and last token.", |m| m
        .observed_parallelism),
    of_sample!("observed_parallelism_peak", "Most such streams held for half a median inter-token latency.", |m| m
        .observed_parallelism_peak
        .map(f64::from)),
    of_attempt!("requests", "Requests of the last attempt.", |s: &crate::domain::Sample| f64::from(
        s.measurement.requests
    )),
    of_attempt!("request_failures", "Failed requests of the last attempt.", |s: &crate::domain::Sample| f64::from(
        s.measurement.failed_requests
    )),
    of_attempt!("valid", "Whether the last attempt gave a valid sample.", |s: &crate::domain::Sample| f64::from(
        u8::from(s.is_valid())
    )),
    of_attempt!("completed_timestamp_seconds", "End of the last attempt.", |s: &crate::domain::Sample| unix_seconds(
        s.completed_at
    )),
    Reading {
        name: "llmsoak_cell_samples",
        help: "Valid samples of the running epoch.",
        value: |cell| Some(cell.estimate.map_or(0.0, |estimate| estimate.samples as f64)),
    },
];

const SHARED: (&str, &str) = ("llmsoak_cell_shared", "1 on copies of an equivalent cell, 0 on measured ones.");

const ROW_READINGS: &[Reading<Best>] = &[
    Reading {
        name: "llmsoak_optimum_batch_for_workers",
        help: "The batch with the highest median token rate of the row.",
        value: |best| Some(f64::from(best.cell.batch)),
    },
    Reading {
        name: "llmsoak_optimum_tokens_per_second_for_workers",
        help: "The median token rate of the row's best batch.",
        value: |best| Some(best.tokens_per_second),
    },
];

/// The best cell of the grid, with what its last valid sample says.
struct Crown {
    best: Best,
    time_to_first_token: Option<Quantiles>,
}

const OPTIMUM_READINGS: &[Reading<Crown>] = &[
    Reading {
        name: "llmsoak_optimum_workers",
        help: "Workers of the best configuration.",
        value: |crown| Some(f64::from(crown.best.cell.workers)),
    },
    Reading {
        name: "llmsoak_optimum_batch",
        help: "Batch of the best configuration.",
        value: |crown| Some(f64::from(crown.best.cell.batch)),
    },
    Reading {
        name: "llmsoak_optimum_tokens_per_second",
        help: "Median token rate of the best configuration.",
        value: |crown| Some(crown.best.tokens_per_second),
    },
    Reading {
        name: "llmsoak_optimum_time_to_first_token_p95_seconds",
        help: "95th percentile of the time to first token at the best configuration, last valid sample.",
        value: |crown| p95(crown.time_to_first_token),
    },
];

/// Collects the results of all targets.
#[derive(Debug)]
pub(super) struct Cells {
    board: Board,
    descriptions: Vec<Desc>,
}

impl Cells {
    pub(super) fn new(board: Board) -> Result<Self, prometheus::Error> {
        let cells = CELL_READINGS.iter().map(|reading| (reading.name, reading.help, &CELL_LABELS[..]));
        let rows = ROW_READINGS.iter().map(|reading| (reading.name, reading.help, &ROW_LABELS[..]));
        let optimum = OPTIMUM_READINGS.iter().map(|reading| (reading.name, reading.help, &OBJECTIVE_LABELS[..]));
        let all = cells.chain(rows).chain(optimum).chain([(SHARED.0, SHARED.1, &CELL_LABELS[..])]);
        let descriptions = all.map(|(name, help, labels)| describe(name, help, labels)).collect::<Result<_, _>>()?;
        Ok(Self { board, descriptions })
    }
}

impl Collector for Cells {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let snapshot = self.board.snapshot();
        let targets: Vec<Target<'_>> = snapshot.targets.values().map(|target| Target::new(target)).collect();
        let mut families = Vec::new();
        for reading in CELL_READINGS {
            let mut family = Family::gauge(reading.name, reading.help);
            for cell in targets.iter().flat_map(|target| &target.cells) {
                if let Some(value) = (reading.value)(cell.snapshot) {
                    family.add(&cell.labels(), value);
                }
            }
            families.push(family.finish());
        }
        let mut shared = Family::gauge(SHARED.0, SHARED.1);
        for cell in targets.iter().flat_map(|target| &target.cells) {
            shared.add(&cell.labels(), f64::from(u8::from(cell.is_copy)));
        }
        families.push(shared.finish());
        for reading in ROW_READINGS {
            let mut family = Family::gauge(reading.name, reading.help);
            for target in &targets {
                for best in target.snapshot.optimum.iter().flat_map(|optimum| &optimum.rows) {
                    let [name, model] = target.labels();
                    let workers = best.cell.workers.to_string();
                    if let Some(value) = (reading.value)(best) {
                        family.add(&[name, model, ("workers", &workers)], value);
                    }
                }
            }
            families.push(family.finish());
        }
        for reading in OPTIMUM_READINGS {
            let mut family = Family::gauge(reading.name, reading.help);
            for target in &targets {
                let Some(optimum) = &target.snapshot.optimum else { continue };
                let last = target.snapshot.cell(optimum.overall.cell).and_then(|cell| cell.last_valid.as_ref());
                let time_to_first_token = last.and_then(|sample| sample.measurement.time_to_first_token);
                let crown = Crown { best: optimum.overall, time_to_first_token };
                let [name, model] = target.labels();
                if let Some(value) = (reading.value)(&crown) {
                    family.add(&[name, model, ("objective", THROUGHPUT)], value);
                }
            }
            families.push(family.finish());
        }
        families.retain(|family| !family.get_metric().is_empty());
        families
    }
}

/// A target with the cells that it shows, their labels rendered once.
struct Target<'a> {
    snapshot: &'a TargetSnapshot,
    cells: Vec<ShownCell<'a>>,
}

struct ShownCell<'a> {
    target: &'a TargetSnapshot,
    snapshot: &'a CellSnapshot,
    workers: String,
    batch: String,
    is_copy: bool,
}

impl<'a> Target<'a> {
    fn new(target: &'a TargetSnapshot) -> Self {
        let shown = target.grid.iter().flat_map(|grid| grid.cells().map(move |cell| (cell, grid.is_copy(cell))));
        let cells = shown.filter_map(|(cell, is_copy)| {
            let (workers, batch) = (cell.workers.to_string(), cell.batch.to_string());
            Some(ShownCell { target, snapshot: target.cell(cell)?, workers, batch, is_copy })
        });
        Self { snapshot: target, cells: cells.collect() }
    }

    fn labels(&self) -> [(&'static str, &'a str); 2] {
        [("target", &self.snapshot.id.name), ("model", &self.snapshot.id.model)]
    }
}

impl ShownCell<'_> {
    fn labels(&self) -> [(&'static str, &str); 4] {
        let id = &self.target.id;
        [("target", &id.name), ("model", &id.model), ("workers", &self.workers), ("batch", &self.batch)]
    }
}
