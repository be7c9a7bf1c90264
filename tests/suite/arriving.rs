//! Metrics that dashboards and rules use and the program does not have yet.
//!
//! Each leaves the list with the work that exposes it: a test fails for one that is there.

/// Names, each with what it waits for.
pub(crate) const ARRIVING: &[(&str, &str)] = &[
    ("llmsoak_environment_info", ENVIRONMENT),
    ("llmsoak_environment_changes_total", ENVIRONMENT),
    ("llmsoak_environment_changed_timestamp_seconds", ENVIRONMENT),
    ("llmsoak_cell_joules_per_output_token", ENVIRONMENT),
];
const ENVIRONMENT: &str = "the environment's probes";

pub(crate) fn is_arriving(name: &str) -> bool {
    ARRIVING.iter().any(|(arriving, _)| *arriving == name)
}
