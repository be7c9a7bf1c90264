//! The state of each target's work: gauges over a snapshot.

use super::family::{Family, Labelled, Reading, families, unix_seconds, zero_or_one};
use crate::domain::SchedulerState;
use crate::soak::board::{Snapshot, TargetSnapshot};

pub(super) const READINGS: &[Reading<TargetSnapshot>] = &[
    Reading {
        name: "llmsoak_target_up",
        help: "Whether the server answered its last request or probe.",
        value: |target| target.up.map(zero_or_one),
    },
    Reading {
        name: "llmsoak_current_workers",
        help: "Workers of the cell that is being measured; 0 between samples.",
        value: |target| Some(target.current.map_or(0.0, |cell| cell.workers.into())),
    },
    Reading {
        name: "llmsoak_current_batch",
        help: "Batch of the cell that is being measured; 0 between samples.",
        value: |target| Some(target.current.map_or(0.0, |cell| cell.batch.into())),
    },
    Reading {
        name: "llmsoak_cycle_cells",
        help: "Cells that a cycle measures.",
        value: |target| (target.cycle > 0).then(|| target.cycle_cells.into()),
    },
    Reading {
        name: "llmsoak_cycle_cells_done",
        help: "Cells measured in the running cycle.",
        value: |target| (target.cycle > 0).then(|| target.cycle_cells_done().into()),
    },
    Reading {
        name: "llmsoak_cycle_duration_seconds",
        help: "Duration of the last complete cycle.",
        value: |target| target.cycle_seconds,
    },
    Reading {
        name: "llmsoak_cycle_completed_timestamp_seconds",
        help: "End of the last complete cycle.",
        value: |target| target.cycle_completed_at.map(unix_seconds),
    },
    Reading {
        name: "llmsoak_cycle_due_timestamp_seconds",
        help: "When the running or next cycle should be complete, going by the one before.",
        value: |target| target.cycle_due_at.map(unix_seconds),
    },
    Reading {
        name: "llmsoak_sample_completed_timestamp_seconds",
        help: "End of the last sample, valid or not.",
        value: |target| target.sample_completed_at.map(unix_seconds),
    },
    Reading {
        name: "llmsoak_sample_due_timestamp_seconds",
        help: "When the running or next sample must have ended, time-outs, pauses and waits included.",
        value: |target| target.sample_due.map(|due| unix_seconds(due.at)),
    },
    Reading {
        name: "llmsoak_reference_tokens_per_second",
        help: "The last sample of the cell that is measured several times a cycle.",
        value: |target| target.reference().map(|sample| sample.measurement.tokens_per_second),
    },
    Reading {
        name: "llmsoak_canary_load_seconds",
        help: "Loading the model, when it was last unloaded for it.",
        value: |target| target.canary.and_then(|(_, canary)| canary.load_seconds),
    },
    Reading {
        name: "llmsoak_canary_time_to_first_token_seconds",
        help: "From a request to a model that is not loaded, or the start of its server, to the first token.",
        value: |target| target.canary.map(|(_, canary)| canary.time_to_first_token_seconds),
    },
    Reading {
        name: "llmsoak_canary_timestamp_seconds",
        help: "When the model was last unloaded and loaded again.",
        value: |target| target.canary.map(|(at, _)| unix_seconds(at)),
    },
];

const STATE: (&str, &str) = ("llmsoak_scheduler_state", "What the scheduler does with the target: one state is 1.");
const INFO: (&str, &str) = ("llmsoak_target_info", "How the target is reached: API, kind of server, URL.");

/// How many series a target has here when all of it is known.
pub(super) fn series() -> usize {
    let info = 1;
    READINGS.len() + SchedulerState::ALL.len() + info
}

/// The states of all targets.
pub(super) fn collect(snapshot: &Snapshot) -> Vec<Family> {
    let mut targets = Vec::new();
    let (mut states, mut info) = (Family::new(STATE.0, STATE.1), Family::new(INFO.0, INFO.1));
    for target in snapshot.targets.values().map(AsRef::as_ref) {
        let (name, model) = (("target", &*target.id.name), ("model", &*target.id.model));
        targets.push(Labelled::new(&[name, model], target));
        for state in SchedulerState::ALL {
            states.add(&[name, model, ("state", state.as_str())], zero_or_one(*state == target.state));
        }
        if let Some(identity) = &target.identity {
            let api = target.epoch.as_ref().and_then(|epoch| epoch.load.get("api")).map_or("", String::as_str);
            let server = identity.kind.as_str();
            info.add(&[name, model, ("api", api), ("server", server), ("url", &target.url)], 1.0);
        }
    }
    let mut all = families(READINGS, &targets);
    all.extend([states, info]);
    all
}
