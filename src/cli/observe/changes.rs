//! The log lines of changes: what became slower, by how much, how surely, and why.

use super::round;
use crate::domain::{ChangeEvent, Compared, Direction, Happening, Turn};

/// Logs what an event says of changes; others say nothing.
pub(super) fn log(target: &str, happening: &Happening) {
    match happening {
        Happening::ChangeFound(event) => log_change(target, event),
        Happening::ChangeWithdrawn { measure, changed, returned } => {
            let (from_cycle, to_cycle) = (changed.cycle, returned.cycle);
            tracing::info!(target, %measure, from_cycle, to_cycle, "change withdrawn: it was a dip");
        }
        Happening::AlarmTurned { turn: Turn::Persists, .. } => {}
        Happening::AlarmTurned { measure, turn, direction, active } => {
            let ratio = active.map(|alarm| round(alarm.ratio));
            tracing::info!(target, %measure, alarm = %direction, ratio, "alarm {turn}");
        }
        Happening::BaselineChosen(Some(baseline)) => {
            let (epoch, pinned) = (baseline.epoch.id.0, baseline.is_pinned);
            if let Some(source) = baseline.epoch.source() {
                tracing::warn!(
                    target,
                    epoch,
                    source,
                    "the baseline was imported: its load and identity are known in part only"
                );
            } else {
                tracing::info!(target, epoch, pinned, "baseline");
            }
        }
        Happening::BaselineChosen(None) => tracing::debug!(target, "no earlier epoch is fit to be the baseline"),
        Happening::Compared(compared) => log_comparison(target, compared),
        _ => {}
    }
}

fn log_change(target: &str, event: &ChangeEvent) {
    let ChangeEvent { measure, direction, ratio, cause, scope, .. } = event;
    let (value, lower, upper) = (round(ratio.value), round(ratio.lower), round(ratio.upper));
    let component = event.components.first().map(|component| component.as_str());
    let (since_cycle, cells) = (event.changed.cycle, event.affected.len());
    let since = event.changed.at;
    if *direction == Direction::Regression {
        tracing::warn!(
            target, %measure, ratio = value, lower, upper, %cause, component, %scope, %since, since_cycle, cells,
            "regression"
        );
    } else {
        tracing::info!(
            target, %measure, ratio = value, lower, upper, %cause, component, %scope, %since, since_cycle, cells,
            "improvement"
        );
    }
}

fn log_comparison(target: &str, compared: &Compared) {
    for comparison in &compared.measures {
        let Some(ratio) = comparison.ratio() else { continue };
        let (value, lower, upper) = (round(ratio.value), round(ratio.lower), round(ratio.upper));
        let (measure, baseline) = (comparison.measure, compared.baseline.0);
        tracing::debug!(target, %measure, baseline, ratio = value, lower, upper, "compared with the baseline");
    }
}
