//! Every phrase of the report and its charts, one file a language. A further language is a
//! further [`Words`]: one that forgets a phrase does not compile.
//!
//! Arguments that are words of a server or a user come escaped. Numbers come as text, and
//! are the same in all languages: with a decimal point, as the legacy report's scripts and
//! the metrics have them.

use crate::domain::plan::Language;
use crate::domain::{Cause, Cell, Direction, FailureKind, InvalidReason, LatencyMeasure, Measure};

mod english;
mod russian;

/// The phrases of a language.
pub(super) fn of(language: Language) -> &'static Words {
    match language {
        Language::English => &english::ENGLISH,
        Language::Russian => &russian::RUSSIAN,
    }
}

/// The language of a report with that title.
pub(super) fn language_of(title: &str) -> Language {
    let is_of = |language: &Language| title.starts_with(&(of(*language).title)(""));
    Language::ALL.iter().copied().find(is_of).unwrap_or_default()
}

/// One language. Phrases with holes are functions, so that a language that forgets a hole
/// does not compile.
pub(super) struct Words {
    // The top.
    pub(super) title: fn(model: &str) -> String,
    pub(super) about: fn(target: &str, url: &str, epoch: i64) -> String,
    pub(super) period: fn(from: &str, to: &str) -> String,
    pub(super) extent: fn(&Extent) -> String,
    pub(super) written: fn(time: &str, version: &str) -> String,
    /// Links of the page.
    pub(super) to_status: &'static str,
    pub(super) to_all_reports: &'static str,
    pub(super) no_sample_yet: &'static str,
    pub(super) no_valid_sample_yet: fn(rejected: usize) -> String,
    pub(super) partly_on_cpu: fn(samples: usize, least: &str) -> String,
    // Overall conclusions.
    pub(super) summary: SummaryWords,
    pub(super) conclusions: &'static str,
    pub(super) optima: &'static str,
    pub(super) optima_columns: [&'static str; 5],
    pub(super) best_configuration: &'static str,
    pub(super) best_workers: fn(workers: u32) -> String,
    pub(super) best_batch: fn(batch: u32) -> String,
    pub(super) best_rate: fn(rate: &str) -> String,
    pub(super) best_time_per_request: fn(seconds: &str) -> String,
    pub(super) best_steady_rate: fn(rate: &str) -> String,
    pub(super) best_repeats: fn(samples: usize) -> String,
    pub(super) nothing_to_conclude: &'static str,
    pub(super) whole_grid: &'static str,
    // Rows.
    pub(super) details: &'static str,
    pub(super) row_title: fn(workers: u32) -> String,
    pub(super) row_chart: fn(workers: u32) -> String,
    pub(super) row_table: &'static str,
    pub(super) row_columns: [&'static str; 14],
    pub(super) row_note_column: &'static str,
    pub(super) best_mark: &'static str,
    pub(super) tied_mark: &'static str,
    pub(super) tied_note: &'static str,
    pub(super) copy_mark: fn(canonical: Cell) -> String,
    pub(super) copy_note: fn(workers: u32) -> String,
    pub(super) unmeasured: &'static str,
    pub(super) only_rejected: fn(samples: usize) -> String,
    pub(super) row_best_batch: fn(batch: u32) -> String,
    pub(super) row_best_rate: fn(rate: &str) -> String,
    pub(super) row_without_best: &'static str,
    // How sure.
    pub(super) confidence: &'static str,
    pub(super) confidence_note: &'static str,
    pub(super) confidence_columns: [&'static str; 11],
    pub(super) fewest_repeats: fn(samples: usize) -> String,
    pub(super) few_repeats: &'static str,
    pub(super) typical_spread: fn(percent: &str) -> String,
    pub(super) ties: fn(cells: &str) -> String,
    pub(super) no_ties: &'static str,
    pub(super) frugal_cell: fn(cell: Cell) -> String,
    pub(super) steady_disagrees: fn(cell: Cell, rate: &str) -> String,
    pub(super) more_cells: fn(count: usize) -> String,
    // Parallelism.
    pub(super) parallelism: &'static str,
    pub(super) parallelism_note: &'static str,
    pub(super) slots_known: fn(slots: u32) -> String,
    pub(super) slots_unknown: &'static str,
    pub(super) slots_of_each_row: &'static str,
    pub(super) parallelism_columns: [&'static str; 8],
    pub(super) queueing: &'static str,
    pub(super) not_granted: &'static str,
    pub(super) out_of_line: &'static str,
    pub(super) warned_rows: fn(rows: &str) -> String,
    pub(super) warned_row: fn(workers: u32, reported: Option<u32>, seen: Option<&str>) -> String,
    pub(super) step: StepWords,
    // Errors.
    pub(super) failures: &'static str,
    pub(super) failure_columns: [&'static str; 4],
    pub(super) no_failures: fn(requests: u64) -> String,
    pub(super) failure_meaning: fn(FailureKind) -> &'static str,
    pub(super) short_outputs: fn(answers: u64) -> String,
    pub(super) rejections: &'static str,
    pub(super) rejection_columns: [&'static str; 3],
    pub(super) no_rejections: &'static str,
    pub(super) rejection_meaning: fn(InvalidReason) -> &'static str,
    pub(super) outside_the_grid: fn(samples: usize) -> String,
    // Environment.
    pub(super) environment: &'static str,
    pub(super) fact_columns: [&'static str; 2],
    pub(super) identity: &'static str,
    pub(super) load: &'static str,
    pub(super) run: &'static str,
    pub(super) no_facts: &'static str,
    pub(super) run_facts: RunFacts,
    pub(super) conditions: &'static str,
    pub(super) condition_columns: [&'static str; 2],
    pub(super) condition_facts: ConditionFacts,
    pub(super) changes: ChangeWords,
    // Definitions.
    pub(super) definitions: &'static str,
    pub(super) definition_list: &'static [(&'static str, &'static str)],
    pub(super) charts: ChartWords,
}

/// What a reader needs who reads nothing else: five sentences, each a line.
pub(super) struct SummaryWords {
    pub(super) best: fn(best: Cell, rate: &str) -> String,
    pub(super) frugal: fn(frugal: Cell, rate: &str) -> String,
    pub(super) no_frugal: &'static str,
    pub(super) sureness: fn(&Sureness) -> String,
    pub(super) slots: fn(seen: Option<&str>, reported: Option<u32>) -> String,
    pub(super) slots_queueing: &'static str,
    pub(super) slots_not_granted: fn(rows: &str) -> String,
    pub(super) no_baseline: &'static str,
    pub(super) too_few_cycles: &'static str,
    pub(super) unchanged: fn(baseline: &str, change: &str, interval: &str) -> String,
    pub(super) changed: fn(Direction, baseline: &str, size: &str, interval: &str) -> String,
    /// The baseline that the two above name.
    pub(super) baseline: fn(epoch: i64, until: &str) -> String,
    pub(super) since: fn(time: &str, changes: &str) -> String,
    pub(super) since_without_changes: fn(time: &str) -> String,
    /// Of a change that the detector found: without a baseline, and in any case.
    pub(super) within: fn(Direction) -> &'static str,
    pub(super) found: fn(time: &str, change: &str, cause: &str) -> String,
    pub(super) latency_worse: fn(Measure, change: &str) -> String,
}

/// How sure the best configuration is.
pub(super) struct Sureness {
    /// Samples of the cell that has the fewest.
    pub(super) fewest: usize,
    /// Whether they say something of the spread.
    pub(super) is_enough: bool,
    /// Other cells that may be as good.
    pub(super) tied: usize,
    /// Whether its rate is known to a few percent only.
    pub(super) is_rough: bool,
    /// Of the best cell's rate.
    pub(super) interval: Option<String>,
}

/// What a step of the server costs.
pub(super) struct StepWords {
    pub(super) heading: &'static str,
    pub(super) formula: fn(fixed: &str, per_stream: &str) -> String,
    pub(super) no_fixed: &'static str,
    pub(super) limit: fn(rate: &str, half: &str) -> String,
    pub(super) fits: fn(error: &str, cells: usize) -> String,
    pub(super) misfits: fn(cells: &str) -> String,
    pub(super) too_few: &'static str,
}

/// What changed since the baseline.
pub(super) struct ChangeWords {
    pub(super) heading: &'static str,
    pub(super) compared: fn(baseline: &str) -> String,
    pub(super) no_baseline: &'static str,
    pub(super) pinned: &'static str,
    pub(super) columns: [&'static str; 6],
    pub(super) measure: fn(Measure) -> &'static str,
    pub(super) verdict: fn(Option<Direction>) -> &'static str,
    pub(super) too_few: &'static str,
    pub(super) cells: fn(cells: &str) -> String,
    pub(super) environment: &'static str,
    pub(super) environment_columns: [&'static str; 3],
    pub(super) no_changes: &'static str,
    pub(super) latencies: &'static str,
    pub(super) found: &'static str,
    pub(super) found_columns: [&'static str; 6],
    pub(super) cause: fn(Cause, components: &str) -> String,
    pub(super) returned: fn(time: &str) -> String,
    pub(super) trend: &'static str,
    pub(super) trend_columns: [&'static str; 5],
}

/// How far the measurements have come.
pub(super) struct Extent {
    pub(super) cycles: u64,
    pub(super) valid: usize,
    pub(super) rejected: usize,
    pub(super) measured_cells: usize,
    pub(super) cells: usize,
}

/// Names of the facts about the measurements themselves.
pub(super) struct RunFacts {
    pub(super) epoch: &'static str,
    pub(super) epoch_began: &'static str,
    pub(super) period: &'static str,
    pub(super) cycles: &'static str,
    pub(super) samples: &'static str,
    pub(super) requests: &'static str,
    pub(super) output_tokens: &'static str,
    pub(super) token_source: &'static str,
    pub(super) seed: &'static str,
    pub(super) url: &'static str,
}

/// Names of what the GPUs did, with their units.
pub(super) struct ConditionFacts {
    pub(super) temperature: &'static str,
    pub(super) sm_clock: &'static str,
    pub(super) memory_clock: &'static str,
    pub(super) utilization: &'static str,
    pub(super) memory: &'static str,
    pub(super) power: &'static str,
    pub(super) energy: &'static str,
    pub(super) throttled: &'static str,
}

/// What stands in the charts, and what is said for them where they cannot be seen.
pub(super) struct ChartWords {
    pub(super) batch_axis: &'static str,
    pub(super) workers_axis: &'static str,
    pub(super) rate_unit: &'static str,
    pub(super) row_title: fn(workers: u32) -> String,
    pub(super) total_time: &'static str,
    pub(super) time_per_request: &'static str,
    pub(super) token_rate: &'static str,
    pub(super) token_sum: &'static str,
    pub(super) median_line: &'static str,
    pub(super) spread_band: &'static str,
    pub(super) shared_point: &'static str,
    pub(super) best_of_row: fn(rate: &str, batch: u32) -> String,
    pub(super) no_figures: &'static str,
    pub(super) heat_map_title: &'static str,
    pub(super) median_cells: &'static str,
    pub(super) shared_cells: &'static str,
    pub(super) best_cell: &'static str,
    pub(super) best_of_each_row: &'static str,
    pub(super) heat_map_alt: fn(best: Option<(Cell, &str)>) -> String,
    pub(super) rows_title: &'static str,
    pub(super) rows_note: &'static str,
    pub(super) rows_alt: fn(rows: usize) -> String,
    pub(super) row_label: fn(workers: u32) -> String,
    pub(super) scale_not_from_zero: &'static str,
    pub(super) tied_cells: &'static str,
    pub(super) latency_map_title: &'static str,
    pub(super) latency_map_alt: &'static str,
    pub(super) brighter_is_better: &'static str,
    pub(super) log_scale: &'static str,
    pub(super) seconds_unit: &'static str,
    pub(super) parallelism_title: &'static str,
    pub(super) parallelism_note: &'static str,
    pub(super) as_asked: &'static str,
    pub(super) requested_axis: &'static str,
    pub(super) observed_axis: &'static str,
    pub(super) step_title: fn(fixed: &str, per_stream: &str) -> String,
    pub(super) step_note: &'static str,
    pub(super) step_axis: &'static str,
    pub(super) step_unit: &'static str,
    pub(super) step_misfits: &'static str,
    pub(super) trend_title: fn(best: Cell) -> String,
    pub(super) trend_note: &'static str,
    pub(super) trend_buckets: fn(samples: usize) -> String,
    pub(super) latency_title: fn(best: Cell) -> String,
    pub(super) latency_note: &'static str,
    pub(super) latency_measure: fn(LatencyMeasure) -> &'static str,
    pub(super) latency_before: fn(epoch: i64, p50: &str, p95: &str) -> String,
    pub(super) latency_since: fn(epoch: i64, p50: &str, p95: &str) -> String,
}
