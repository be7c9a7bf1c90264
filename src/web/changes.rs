//! What changed of a target, for people: alarms that are on, the newest changes, the baseline.

use jiff::Timestamp;

use super::html::{escaped, time_element};
use crate::domain::{ActiveAlarm, Compared, Direction, ToldChange, percent_change};
use crate::soak::board::Changes;

/// Changes that are shown.
const NEWEST: usize = 6;

/// The section; empty where nothing is known.
pub(super) fn section(changes: &Changes, now: Timestamp) -> String {
    let alarms: String = changes.alarms.values().map(|alarm| alarm_line(alarm, now)).collect();
    let newest: String = changes.newest.iter().rev().take(NEWEST).map(|change| change_item(change, now)).collect();
    let compared = changes.compared.as_deref().map(comparison).unwrap_or_default();
    if alarms.is_empty() && newest.is_empty() && compared.is_empty() {
        return String::new();
    }
    let list = if newest.is_empty() { newest } else { format!("<ol class=\"notes\">\n{newest}</ol>\n") };
    format!("<h3>What changed</h3>\n{alarms}{compared}{list}")
}

fn alarm_line(alarm: &ActiveAlarm, now: Timestamp) -> String {
    let (measure, since) = (alarm.measure.words(), time_element(alarm.since.at, now));
    let (class, direction) = match alarm.direction {
        Direction::Regression => ("warning", "worse"),
        Direction::Improvement => ("better", "better"),
    };
    let change = percent(alarm.ratio);
    format!("<p class=\"{class}\">{measure}: {change}, {direction} than what was last accepted, since {since}.</p>\n")
}

fn change_item(change: &ToldChange, now: Timestamp) -> String {
    let event = &change.event;
    let cause = match event.components.first() {
        Some(component) => format!("{}: {component}", event.cause),
        None => event.cause.to_string(),
    };
    let returned = if change.returned.is_some() { "; taken back, it was a dip" } else { "" };
    format!(
        "<li>{} {}: {} ({} to {}), {}, {}{returned}</li>\n",
        time_element(event.detected.at, now),
        event.measure.words(),
        percent(event.ratio.value),
        percent(event.ratio.lower),
        percent(event.ratio.upper),
        escaped(&cause.replace('_', " ")),
        escaped(&event.scope.to_string()),
    )
}

fn comparison(compared: &Compared) -> String {
    let measure = |comparison: &crate::domain::Comparison| {
        let ratio = comparison.ratio()?;
        let (change, lower, upper) = (percent(ratio.value), percent(ratio.lower), percent(ratio.upper));
        Some(format!("{} {change} ({lower} to {upper})", comparison.measure.words()))
    };
    let measures: Vec<String> = compared.measures.iter().filter_map(measure).collect();
    if measures.is_empty() {
        return String::new();
    }
    format!("<p>Against epoch {}, the baseline: {}.</p>\n", compared.baseline, measures.join(", "))
}

/// A ratio as the change that it is, with a real minus.
fn percent(ratio: f64) -> String {
    percent_change(ratio).replace('-', "−")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::fixture::{board, now, tell};
    use super::*;
    use crate::domain::{
        Cause, ChangeEvent, Component, CycleRef, EpochId, Happening, Measure, Ratio, Scope, TargetId, Turn, Verdict,
    };

    #[test]
    fn a_regression_is_told_with_its_size_and_cause() {
        let board = board(&[("a", "m")]);
        let target = TargetId::new("a", "m");
        let shown = || section(&board.snapshot().targets["a"].changes, now());
        assert_eq!(shown(), "");
        let (measure, at) = (Measure::TokensPerSecond, CycleRef { cycle: 9, at: now() });
        let ratio = Ratio { value: 0.92, lower: 0.911, upper: 0.929 };
        let event = ChangeEvent {
            measure,
            direction: Direction::Regression,
            detected: at,
            changed: at,
            ratio,
            cause: Cause::EnvironmentChange,
            components: vec![Component::Driver],
            scope: Scope::BatchAtLeast(16),
            cycles_before: 8,
            cycles_after: 2,
            affected: Vec::new(),
            minimum_effect: 0.01,
        };
        tell(&board, &target, Happening::ChangeFound(Arc::new(event)));
        let active = Some(ActiveAlarm { measure, direction: Direction::Regression, since: at, ratio: 0.92 });
        let (turn, direction) = (Turn::Raised, Direction::Regression);
        tell(&board, &target, Happening::AlarmTurned { measure, turn, direction, active });
        let measures = Measure::ALL.map(|measure| crate::domain::Comparison {
            measure,
            verdict: if measure == Measure::TokensPerSecond { Verdict::Says(ratio) } else { Verdict::TooFew },
            baseline_cycles: 8,
            current_cycles: 2,
            cells: Vec::new(),
        });
        let compared = Compared { baseline: EpochId(1), current: EpochId(2), measures };
        tell(&board, &target, Happening::Compared(Arc::new(compared)));
        for expected in [
            "<p class=\"warning\">tokens per second: −8.0 %, worse than what was last accepted, since <time",
            "tokens per second: −8.0 % (−8.9 % to −7.1 %), environment change: driver, batch&gt;=16</li>",
            "<p>Against epoch 1, the baseline: tokens per second −8.0 % (−8.9 % to −7.1 %).</p>",
        ] {
            assert!(shown().contains(expected), "no {expected} in\n{}", shown());
        }
    }
}
