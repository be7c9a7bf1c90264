//! Under what each target is measured, and what of it changed: gauges and counters over a snapshot.
//!
//! The counters are those of the history, so that they go on after a restart.

use super::family::{Family, unix_seconds};
use crate::domain::Component;
use crate::soak::board::{Snapshot, TargetSnapshot};

const INFO: (&str, &str) =
    ("llmsoak_environment_info", "What the running epoch is of; what nobody tells is empty. One series a target.");
const CHANGES: (&str, &str) =
    ("llmsoak_environment_changes_total", "How often a component changed, over all of the history.");
const CHANGED: (&str, &str) = ("llmsoak_environment_changed_timestamp_seconds", "When a component last changed.");

/// The facts of the identity that are labels. Slots are none where each row has its own.
const FACTS: [&str; 9] = [
    "gpu",
    "driver_version",
    "cuda_version",
    "kernel",
    "server",
    "server_version",
    "model_digest",
    "quantization",
    "slots",
];

/// How many series a target has here once everything has changed.
pub(super) fn series() -> usize {
    let info = 1;
    info + 2 * Component::ALL.len()
}

/// The environments of all targets.
pub(super) fn collect(snapshot: &Snapshot) -> [Family; 3] {
    let [mut info, mut changes, mut changed] = [INFO, CHANGES, CHANGED].map(|(name, help)| Family::new(name, help));
    for target in snapshot.targets.values().map(AsRef::as_ref) {
        let of_target = [("target", &*target.id.name), ("model", &*target.id.model)];
        let labels: Vec<_> = of_target.into_iter().chain(facts(target)).collect();
        info.add(&labels, 1.0);
        for component in Component::ALL {
            let [name, model] = of_target;
            let labels = [name, model, ("component", component.as_str())];
            let known = target.environment_changes.of(*component);
            changes.add(&labels, known.map_or(0.0, |change| change.count as f64));
            if let Some(change) = known {
                changed.add(&labels, unix_seconds(change.last_at));
            }
        }
    }
    [info, changes, changed]
}

fn facts(target: &TargetSnapshot) -> impl Iterator<Item = (&'static str, &str)> {
    FACTS.into_iter().map(|fact| {
        let known = target.epoch.as_ref().and_then(|epoch| epoch.identity.get(fact));
        (fact, known.map_or("", String::as_str))
    })
}
