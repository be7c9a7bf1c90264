//! What bounds the load, the history and the metrics.

use std::collections::BTreeMap;

use crate::domain::LatencyMeasure;
use crate::domain::plan::{BudgetPlan, CellDetail, HistogramLabels, ValidityPlan};

use super::*;

/// What `metrics` change in a configuration of nothing but defaults.
#[track_caller]
fn check_metrics(metrics: &str, change: impl FnOnce(&mut MetricsPlan)) {
    let config = read(&target(&format!("metrics: {metrics}"))).unwrap_or_else(|problems| panic!("{problems}"));
    let mut expected = MetricsPlan::default();
    change(&mut expected);
    assert_eq!(config.metrics, expected, "\n{metrics}");
}

#[test]
fn a_retention_is_read() {
    let config = read(&target("storage: {retention: 3650d}")).expect("is sound");
    assert_eq!(config.storage.retention, Duration::from_secs(3650 * 86_400));
    let refused = |seen: &str| format!("f:4: storage.retention: must be from 1d to 3650d, not `{seen}`");
    check(&target("storage: {retention: 23h}"), &refused("23h"));
    check(&target("storage: {retention: 3651d}"), &refused("3651d"));
}

#[test]
fn budgets_are_read() {
    check_plan("    budget: {requests_per_hour: 1}", |t| t.budget.requests_per_hour = Some(1));
    check_plan("    budget: {requests_per_day: 2, tokens_per_hour: 3, tokens_per_day: 4}", |t| {
        t.budget = BudgetPlan {
            requests_per_hour: None,
            requests_per_day: Some(2),
            tokens_per_hour: Some(3),
            tokens_per_day: Some(4),
        };
    });
    check_plan("    budget: {}", |_| {});
}

#[test]
fn a_budget_is_of_whole_numbers() {
    check_target(
        "    budget: {requests_per_hour: 0, requests_per_day: 1.5, tokens_per_hour: 5s, tokens_per_dag: 1}",
        "\
f:4: targets[0].budget.requests_per_hour: must be a whole number from 1 to 9007199254740991, not 0
f:4: targets[0].budget.requests_per_day: must be a whole number from 1 to 9007199254740991, not 1.5
f:4: targets[0].budget.tokens_per_hour: must be a whole number from 1 to 9007199254740991, not `5s`
f:4: targets[0].budget.tokens_per_dag: unknown key; hint: did you mean `tokens_per_day`?",
    );
}

#[test]
fn a_budget_fits_the_largest_cell() {
    // 8 requests of 64 + 200 tokens, 4 warm-ups of 64 + 16.
    let grid = "    grid: {workers: [1, 4], batch: [2, 8]}\n";
    check_target(
        &format!("{grid}    budget:\n      requests_per_hour: 11\n      tokens_per_day: 2431\n"),
        "\
f:6: targets[0].budget.requests_per_hour: never fits a sample of the cell 4×8, which takes 12 requests with its warm-ups; hint: allow 12, or take that cell out of the grid
f:7: targets[0].budget.tokens_per_day: never fits a sample of the cell 4×8, which takes 2432 tokens with its warm-ups; hint: allow 2432, or take that cell out of the grid",
    );
    check_target(&format!("{grid}    budget: {{requests_per_hour: 12, tokens_per_day: 2432}}\n"), "");
    check_target(&format!("{grid}    budget: {{requests_per_hour: 8}}\nschedule: {{warmup_requests: 0}}\n"), "");
    check_target(
        &format!("{grid}    request: {{output_tokens: 1, prompt_tokens: 8}}\n    budget: {{tokens_per_hour: 108}}"),
        "",
    );
}

#[test]
fn a_grid_that_is_not_known_yet_fits_any_budget() {
    check_target("    budget: {requests_per_hour: 1, tokens_per_hour: 1}", "");
}

#[test]
fn bounds_of_validity_are_read() {
    check_plan("    validity: {}", |_| {});
    check_plan("    validity: {output_length: 5%}", |t| t.validity.output_length_ratio = 0.05);
    check_plan(
        "    validity: {timer_lag: 5ms, timer_lag_ratio: 20%, client_cpu: 50%, cached_prompt_tokens: 0, \
         cached_prompt_ratio: 0%, load_time: 2s, load_ratio: 1.5, failed_requests: 0, polls_in_excess: 3, \
         foreign_tokens: 100, foreign_tokens_ratio: 0.25, output_length: 100%}",
        |t| {
            t.validity = ValidityPlan {
                timer_lag: Duration::from_millis(5),
                timer_lag_ratio: 0.2,
                client_cpu_ratio: 0.5,
                cached_prompt_tokens: 0,
                cached_prompt_ratio: 0.0,
                load_time: Duration::from_secs(2),
                load_time_of_median: 1.5,
                failed_requests_ratio: 0.0,
                polls_in_excess: 3,
                foreign_tokens: 100,
                foreign_tokens_ratio: 0.25,
                output_length_ratio: 1.0,
            };
        },
    );
}

#[test]
fn other_bounds_of_validity_are_refused() {
    check_target(
        "    validity: {timer_lag: 2, client_cpu: 0%, load_ratio: 0.5, failed_requests: 5, polls_in_excess: 0, \
         output_length: 101%, cached_prompt_tokens: -1, output_lenght: 5%}",
        "\
f:4: targets[0].validity.timer_lag: needs a unit; hint: write `2s` for seconds
f:4: targets[0].validity.client_cpu: must be from 1% to 100%, not `0%`; hint: such as 50%, or 0.5
f:4: targets[0].validity.cached_prompt_tokens: must be a whole number from 0 to 9007199254740991, not -1
f:4: targets[0].validity.load_ratio: must be a number from 1 to 1000000, not 0.5
f:4: targets[0].validity.failed_requests: must be from 0% to 100%, not 5; hint: write `5%`
f:4: targets[0].validity.polls_in_excess: must be a whole number from 1 to 1000, not 0
f:4: targets[0].validity.output_length: must be from 0% to 100%, not `101%`; hint: such as 50%, or 0.5
f:4: targets[0].validity.output_lenght: unknown key; hint: did you mean `output_length`?",
    );
}

#[test]
fn metrics_are_read() {
    check_metrics("{cells: core}", |m| m.cells = CellDetail::Core);
    check_metrics("{cells: off}", |m| m.cells = CellDetail::Off);
    check_metrics("{histogram_labels: []}", |m| m.histogram_labels = HistogramLabels::None);
    check_metrics("{histogram_labels: [workers]}", |_| {});
    check_metrics("{histogram_labels: [workers, batch]}", |m| m.histogram_labels = HistogramLabels::WorkersAndBatch);
    check_metrics("{max_series: 1}", |m| m.max_series = 1);
    check_metrics("{buckets: {time_to_first_token: [0.1, 1, 2.5], request_duration: [60]}}", |m| {
        m.buckets = BTreeMap::from([
            (LatencyMeasure::TimeToFirstToken, vec![0.1, 1.0, 2.5]),
            (LatencyMeasure::RequestDuration, vec![60.0]),
        ]);
    });
}

#[test]
fn other_metrics_are_refused() {
    check(
        &target("metrics: {cells: some, histogram_labels: [batch], max_series: 0}"),
        "\
f:4: metrics.cells: must be full or core or off, not `some`
f:4: metrics.histogram_labels: must be [] or [workers] or [workers, batch], not a list
f:4: metrics.max_series: must be a whole number from 1 to 9007199254740991, not 0",
    );
    check(
        &target("metrics: {cells: false, histogram_labels: workers, buckets: {ttft: [1], inter_token_latencies: [1]}}"),
        "\
f:4: metrics.cells: must be full or core or off, not false
f:4: metrics.histogram_labels: must be [] or [workers] or [workers, batch], not `workers`
f:4: metrics.buckets.inter_token_latencies: unknown key; hint: known here: time_to_first_token, \
time_per_output_token, inter_token_latency, request_duration
f:4: metrics.buckets.ttft: unknown key; hint: known here: time_to_first_token, \
time_per_output_token, inter_token_latency, request_duration",
    );
    let many = (1..=101).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
    for bounds in
        ["[]", "[1, 1]", "[2, 1]", "[0, 1]", "[-1, 1]", "[.inf]", "[.nan]", "[100ms]", "1", &format!("[{many}]")]
    {
        check(
            &target(&format!("metrics: {{buckets: {{request_duration: {bounds}}}}}")),
            "f:4: metrics.buckets.request_duration: must be 1 to 100 ascending numbers of seconds, each above 0; \
             hint: such as [0.1, 0.5, 1, 5]",
        );
    }
}
