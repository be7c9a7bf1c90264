//! The alarms of a target, for the page and the API: what is slower or faster than it was.

use serde_json::{Value, json};

use super::grid::View;
use super::html::{escaped, time_element};
use crate::domain::{ActiveAlarm, Direction, Measure};
use crate::soak::TargetSnapshot;

/// A line for each alarm that is on.
pub(super) fn lines(target: &TargetSnapshot, view: View) -> String {
    target.changes.alarms.values().map(|alarm| line(target, alarm, view)).collect()
}

fn line(target: &TargetSnapshot, alarm: &ActiveAlarm, view: View) -> String {
    let (class, word) = match alarm.direction {
        Direction::Regression => ("warning", "Slower"),
        Direction::Improvement => ("notice", "Faster"),
    };
    let figure = match alarm.measure {
        Measure::TokensPerSecond => "token rate",
        Measure::TimeToFirstToken => "time to first token",
        Measure::InterTokenLatency => "inter-token latency",
    };
    let percent = (alarm.ratio - 1.0) * 100.0;
    let change = format!("{:.1} % {}", percent.abs(), if percent < 0.0 { "below" } else { "above" });
    let suspects = suspects(target, alarm);
    let then = if suspects.is_empty() { String::new() } else { format!("; changed then: {}", suspects.join(", ")) };
    let since = time_element(alarm.since.at, view.now);
    format!("<p class=\"{class}\">{word}: the {figure} is {change} what it was, since {since}{}.</p>\n", escaped(&then))
}

/// What changed in the environment when the change began, the first suspect first.
fn suspects(target: &TargetSnapshot, alarm: &ActiveAlarm) -> Vec<&'static str> {
    let told = target.changes.newest.iter().rev().map(|told| &told.event);
    let of_it = told.into_iter().find(|event| event.measure == alarm.measure && event.direction == alarm.direction);
    of_it.map(|event| event.components.iter().map(|component| component.as_str()).collect()).unwrap_or_default()
}

/// The alarms as the API tells them.
pub(super) fn listed(target: &TargetSnapshot) -> Value {
    let alarm = |alarm: &ActiveAlarm| {
        json!({
            "measure": alarm.measure.as_str(),
            "direction": alarm.direction.as_str(),
            "ratio": alarm.ratio,
            "since_timestamp_seconds": alarm.since.at.as_millisecond() as f64 / 1e3,
            "components": suspects(target, alarm),
        })
    };
    target.changes.alarms.values().map(alarm).collect()
}
