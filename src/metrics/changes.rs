//! What changed: the alarms, the changes told so far, and the running epoch beside its baseline.

use std::sync::Arc;

use jiff::Timestamp;

use super::cells::OBJECTIVES;
use super::family::{Family, Labelled, Reading, families, unix_seconds, zero_or_one};
use crate::domain::{BaselineOptimum, Cause, Direction, Measure, Ratio};
use crate::soak::board::{Changes, Snapshot, TargetSnapshot};

/// The baseline for one objective.
struct OfObjective {
    optimum: BaselineOptimum,
    began_at: Timestamp,
}

/// The changes of one measure.
struct OfMeasure {
    changes: Arc<Changes>,
    measure: Measure,
}

impl OfMeasure {
    fn ratio(&self) -> Option<Ratio> {
        self.changes.compared.as_ref()?.measures.get(self.measure.index())?.ratio()
    }

    fn is_active(&self, direction: Direction) -> Option<f64> {
        Some(zero_or_one(self.changes.is_active(direction, self.measure)))
    }
}

/// The changes of one measure that were laid to one cause.
struct OfCause {
    changes: Arc<Changes>,
    measure: Measure,
    cause: Cause,
}

impl OfCause {
    fn count(&self, direction: Direction) -> Option<f64> {
        Some(self.changes.count(direction, self.measure, self.cause) as f64)
    }
}

const OBJECTIVE_READINGS: &[Reading<OfObjective>] = &[
    Reading {
        name: "llmsoak_baseline_tokens_per_second",
        help: "Token rate of the baseline at its best configuration.",
        value: |of| Some(of.optimum.tokens_per_second),
    },
    Reading {
        name: "llmsoak_baseline_epoch_timestamp_seconds",
        help: "When the epoch that is the baseline began.",
        value: |of| Some(unix_seconds(of.began_at)),
    },
];

const MEASURE_READINGS: &[Reading<OfMeasure>] = &[
    Reading {
        name: "llmsoak_change_ratio",
        help: "Running epoch / baseline, paired and pooled over the grid.",
        value: |of| Some(of.ratio()?.value),
    },
    Reading {
        name: "llmsoak_change_ratio_lower",
        help: "Lower end of the 95 % interval of the ratio.",
        value: |of| Some(of.ratio()?.lower),
    },
    Reading {
        name: "llmsoak_change_ratio_upper",
        help: "Upper end of the 95 % interval of the ratio.",
        value: |of| Some(of.ratio()?.upper),
    },
    Reading {
        name: "llmsoak_regression_active",
        help: "Whether the measure is worse than the level that was last accepted.",
        value: |of| of.is_active(Direction::Regression),
    },
    Reading {
        name: "llmsoak_improvement_active",
        help: "Whether the measure is better than the level that was last accepted.",
        value: |of| of.is_active(Direction::Improvement),
    },
    Reading {
        name: "llmsoak_change_detected_timestamp_seconds",
        help: "When a change was last found.",
        value: |of| of.changes.detected_at.get(&of.measure).copied().map(unix_seconds),
    },
];

const CAUSE_READINGS: &[Reading<OfCause>] = &[
    Reading {
        name: "llmsoak_regressions_total",
        help: "Changes for the worse that were found, by cause.",
        value: |of| of.count(Direction::Regression),
    },
    Reading {
        name: "llmsoak_improvements_total",
        help: "Changes for the better that were found, by cause.",
        value: |of| of.count(Direction::Improvement),
    },
];

/// How many series a target has here when all of it is known.
pub(super) fn series() -> usize {
    let measures = Measure::ALL.len();
    OBJECTIVE_READINGS.len() * OBJECTIVES.len()
        + MEASURE_READINGS.len() * measures
        + CAUSE_READINGS.len() * measures * Cause::ALL.len()
}

/// The changes of all targets.
pub(super) fn collect(snapshot: &Snapshot) -> Vec<Family> {
    let targets = || snapshot.targets.values().map(AsRef::as_ref);
    let objectives: Vec<_> = targets().flat_map(objectives).collect();
    let measures: Vec<_> = targets().flat_map(measures).collect();
    let causes: Vec<_> = targets().flat_map(causes).collect();
    let mut all = families(OBJECTIVE_READINGS, &objectives);
    all.extend(families(MEASURE_READINGS, &measures));
    all.extend(families(CAUSE_READINGS, &causes));
    all
}

fn objectives(target: &TargetSnapshot) -> impl Iterator<Item = Labelled<OfObjective>> {
    target.changes.baseline.iter().flat_map(|baseline| {
        baseline.optima.iter().map(|&optimum| {
            let labels = [("target", &*target.id.name), ("model", &*target.id.model), ("objective", optimum.objective)];
            Labelled::new(&labels, OfObjective { optimum, began_at: baseline.epoch.first_seen })
        })
    })
}

fn measures(target: &TargetSnapshot) -> impl Iterator<Item = Labelled<OfMeasure>> {
    Measure::ALL.into_iter().map(|measure| {
        let labels = [("target", &*target.id.name), ("model", &*target.id.model), ("measure", measure.as_str())];
        Labelled::new(&labels, OfMeasure { changes: target.changes.clone(), measure })
    })
}

fn causes(target: &TargetSnapshot) -> impl Iterator<Item = Labelled<OfCause>> {
    Measure::ALL.into_iter().flat_map(move |measure| {
        Cause::ALL.iter().map(move |&cause| {
            let (name, model) = (("target", &*target.id.name), ("model", &*target.id.model));
            let labels = [name, model, ("measure", measure.as_str()), ("cause", cause.as_str())];
            Labelled::new(&labels, OfCause { changes: target.changes.clone(), measure, cause })
        })
    })
}
