//! What stands in the charts, in English.

use super::super::ChartWords;
use super::counted;
use crate::domain::{Cell, LatencyMeasure};

pub(super) const CHARTS: ChartWords = ChartWords {
    batch_axis: "batch, requests",
    workers_axis: "workers",
    rate_unit: "tokens/s",
    row_title: |workers| counted(workers, "worker", "workers"),
    total_time: "Total time, s",
    time_per_request: "Time per request, s",
    token_rate: "Token rate, tokens/s",
    token_sum: "Sum of tokens",
    median_line: "line: median of the samples",
    spread_band: "band: quartiles; whiskers: 95 % interval of the median",
    shared_point: "hollow point: measured at fewer workers, the same work",
    best_of_row: |rate, batch| format!("best: {rate} at batch {batch}"),
    no_figures: "no valid sample yet",
    heat_map_title: "Token rate over workers and batch, tokens/s",
    median_cells: "median of the samples",
    shared_cells: "= one measurement for all rows of a block: the same work",
    best_cell: "framed: the best cell",
    best_of_each_row: "bold: the best of its row",
    heat_map_alt: |best| {
        let grid = "Heat map of the token rate over workers and batch";
        best.map_or_else(
            || format!("{grid}; no valid sample yet"),
            |(cell, rate)| {
                let Cell { workers, batch } = cell;
                format!("{grid}; the best cell is workers {workers}, batch {batch} with {rate} tokens/s")
            },
        )
    },
    rows_title: "Token rate of all rows, tokens/s",
    rows_note: "bold: the row of the best cell, which is ringed",
    rows_alt: |rows| {
        format!("Token rate over the batch size, one line for each of {}", counted(rows as u64, "row", "rows"))
    },
    row_label: |workers| counted(workers, "worker", "workers"),
    scale_not_from_zero: "the scale does not begin at 0",
    tied_cells: "thin: perhaps as good, within 1 %",
    latency_map_title: "Time to first token over workers and batch, p95, s",
    latency_map_alt: "Heat map of the time to first token over workers and batch, p95",
    brighter_is_better: "brighter is better",
    log_scale: "both axes are logarithmic",
    seconds_unit: "s",
    parallelism_title: "Requests at once: asked for and observed",
    parallelism_note: "point: effective slots with their 95 % interval; hollow point: at least so many",
    as_asked: "as asked",
    requested_axis: "workers: requests at once that were asked for",
    observed_axis: "observed at once",
    step_title: |fixed, per_stream| format!("Time of one step: {fixed} ms + {per_stream} ms · c"),
    step_note: "point: a cell; line: the fit; c answers get one token each in a step",
    step_axis: "c: answers that are written at once",
    step_unit: "ms a step",
    step_misfits: "ringed: cells that do not fit",
    trend_title: |best| format!("Token rate of the best cell, {best}, over time, tokens/s"),
    trend_note: "line: median of each epoch; numbered: a change of the environment, see the table",
    trend_buckets: |samples| format!("point: median of {}", counted(samples as u64, "sample", "samples")),
    latency_title: |best| format!("Latencies in the best cell, {best}: share of values up to that time"),
    latency_note: "of the newest samples; logarithmic time axis, seconds",
    latency_measure: |measure| match measure {
        LatencyMeasure::TimeToFirstToken => "Time to first token, s",
        LatencyMeasure::InterTokenLatency => "Between two tokens, s",
        LatencyMeasure::TimePerOutputToken => "Time per output token, s",
        LatencyMeasure::RequestDuration => "Whole request, s",
    },
    latency_before: |epoch, p50, p95| format!("before, epoch {epoch}: p50 {p50}, p95 {p95}"),
    latency_since: |epoch, p50, p95| format!("now, epoch {epoch}: p50 {p50}, p95 {p95}"),
};
