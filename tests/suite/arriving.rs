//! Metrics that dashboards and rules use and the program does not have yet.
//!
//! Each leaves the list with the work that exposes it: a test fails for one that is there.

/// Names, each with what it waits for.
pub(crate) const ARRIVING: &[(&str, &str)] = &[
    ("llmsoak_environment_info", ENVIRONMENT),
    ("llmsoak_environment_changes_total", ENVIRONMENT),
    ("llmsoak_environment_changed_timestamp_seconds", ENVIRONMENT),
    ("llmsoak_cell_joules_per_output_token", ENVIRONMENT),
    ("llmsoak_change_ratio", REGRESSION),
    ("llmsoak_change_ratio_lower", REGRESSION),
    ("llmsoak_change_ratio_upper", REGRESSION),
    ("llmsoak_regression_active", REGRESSION),
    ("llmsoak_improvement_active", REGRESSION),
    ("llmsoak_change_detected_timestamp_seconds", REGRESSION),
    ("llmsoak_regressions_total", REGRESSION),
    ("llmsoak_improvements_total", REGRESSION),
    ("llmsoak_baseline_tokens_per_second", REGRESSION),
    ("llmsoak_baseline_epoch_timestamp_seconds", REGRESSION),
    ("llmsoak_reference_tokens_per_second", "adaptive cycles with a reference cell"),
];
const ENVIRONMENT: &str = "the environment's probes";
const REGRESSION: &str = "the daemon's watch for changes";

pub(crate) fn is_arriving(name: &str) -> bool {
    ARRIVING.iter().any(|(arriving, _)| *arriving == name)
}
