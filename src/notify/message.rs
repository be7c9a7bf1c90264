//! What is told of changes, as text for people and as JSON for programs.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::domain::{
    Cause, ChangeEvent, CycleRef, Direction, Epoch, Happening, Measure, Ratio, Scope, TargetId, Turn, percent_change,
};

/// The version of the JSON form. New keys do not change it.
const VERSION: u32 = 1;

/// One thing that is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// A measure became better or worse.
    Changed(Arc<ChangeEvent>),
    /// An alarm of that direction is over.
    Ended { measure: Measure, direction: Direction, turn: Turn },
    /// Another epoch began.
    Environment { before: Arc<Epoch>, now: Arc<Epoch> },
}

impl Told {
    /// What an event says that is worth telling others.
    pub fn of(happening: &Happening) -> Option<Self> {
        match happening {
            Happening::ChangeFound(event) => Some(Self::Changed(event.clone())),
            Happening::AlarmTurned { measure, turn, direction, active: None } => {
                Some(Self::Ended { measure: *measure, direction: *direction, turn: *turn })
            }
            Happening::EpochEntered { epoch, before: Some(before), .. } => {
                Some(Self::Environment { before: before.clone(), now: epoch.clone() })
            }
            _ => None,
        }
    }

    /// The word for it.
    fn kind(&self) -> &'static str {
        match self {
            Self::Changed(event) => event.direction.as_str(),
            Self::Ended { turn, .. } => turn.as_str(),
            Self::Environment { .. } => "environment_changed",
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Changed(event) => change_text(event),
            Self::Ended { measure, direction, turn } => {
                let how = match turn {
                    Turn::Accepted => "the user chose another level to compare with",
                    Turn::Transient => "it was a dip",
                    Turn::Raised | Turn::Persists | Turn::Recovered => "the old level is back",
                };
                format!("{}: the {direction} is over, {how}", measure.words())
            }
            Self::Environment { before, now } => {
                let changes = before.changes_to(now);
                let changes = if changes.is_empty() { "measured differently".to_owned() } else { changes.join("; ") };
                format!("the environment changed: {}", plain(&changes))
            }
        }
    }

    fn json(&self) -> Value {
        let kind = self.kind();
        match self {
            Self::Changed(event) => change_json(event),
            Self::Ended { measure, direction, .. } => {
                json!({"kind": kind, "measure": measure.as_str(), "direction": direction.as_str()})
            }
            Self::Environment { before, now } => {
                json!({"kind": kind, "changes": before.changes_to(now), "epoch": now.id.0})
            }
        }
    }
}

fn change_json(event: &ChangeEvent) -> Value {
    let cells: Vec<Value> = event.affected.iter().map(|c| json!({"workers": c.workers, "batch": c.batch})).collect();
    let components: Vec<&str> = event.components.iter().map(|component| component.as_str()).collect();
    let moment = |at: CycleRef| json!({"cycle": at.cycle, "at": at.at.to_string()});
    json!({
        "kind": event.direction.as_str(),
        "measure": event.measure.as_str(),
        "ratio": event.ratio.value,
        "lower": event.ratio.lower,
        "upper": event.ratio.upper,
        "cause": event.cause.as_str(),
        "component": components.first(),
        "components": components,
        "scope": event.scope.to_string(),
        "changed": moment(event.changed),
        "detected": moment(event.detected),
        "cycles_before": event.cycles_before,
        "cycles_after": event.cycles_after,
        "affected": cells,
    })
}

/// A server's own words without what a chat program would make a link, a picture or a call to all of:
/// the message comes in this program's name. They are in `events` as they are.
fn plain(words: &str) -> String {
    words.replace(['<', '>', '&', '@', '[', ']', '`', '*', '|'], " ")
}

fn change_text(event: &ChangeEvent) -> String {
    let Ratio { value, lower, upper } = event.ratio;
    let scope = match event.scope {
        Scope::All => "all cells".to_owned(),
        Scope::BatchAtLeast(batch) => format!("cells of batch {batch} and more"),
        Scope::WorkersAtLeast(workers) => format!("cells of {workers} workers and more"),
    };
    let components: Vec<&str> = event.components.iter().map(|component| component.as_str()).collect();
    let cause = match event.cause {
        Cause::EnvironmentChange => format!("together with a change of {}", components.join(", ")),
        Cause::UnexplainedStep => "the environment is the same".to_owned(),
        Cause::SlowDecay => "little by little, in the same environment".to_owned(),
    };
    format!(
        "{direction}: {measure} {value} ({lower} to {upper}) in {scope} since {since:.0}, {cause}",
        direction = event.direction,
        measure = event.measure.words(),
        value = percent_change(value),
        lower = percent_change(lower),
        upper = percent_change(upper),
        since = event.changed.at,
    )
}

/// What is told of a target at one time.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    pub target: TargetId,
    pub at: Timestamp,
    /// Not empty.
    pub told: Vec<Told>,
}

impl Message {
    /// A line for each thing.
    pub fn text(&self) -> String {
        let lines: Vec<String> = self.told.iter().map(Told::text).collect();
        format!("{} ({}): {}", self.target.name, plain(&self.target.model), lines.join("\n"))
    }

    /// For a webhook. `text` is where chat programs look for theirs.
    pub fn json(&self) -> Value {
        json!({
            "version": VERSION,
            "text": self.text(),
            "target": &*self.target.name,
            "model": &*self.target.model,
            "at": self.at.to_string(),
            "events": self.told.iter().map(Told::json).collect::<Vec<_>>(),
        })
    }

    /// For Grafana's `POST /api/annotations`.
    /// Source: <https://grafana.com/docs/grafana/latest/developers/http_api/annotations/>.
    pub fn annotation(&self) -> Value {
        let mut tags = vec!["llmsoak".to_owned(), format!("target:{}", self.target.name)];
        for kind in self.told.iter().map(Told::kind) {
            if !tags.iter().any(|tag| tag == kind) {
                tags.push(kind.to_owned());
            }
        }
        json!({"time": self.at.as_millisecond(), "tags": tags, "text": self.text()})
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::domain::{Cell, Component, EpochId, Facts};

    fn at(cycle: u64) -> CycleRef {
        CycleRef { cycle, at: Timestamp::UNIX_EPOCH }
    }

    fn changed(cause: Cause, components: Vec<Component>, scope: Scope) -> Told {
        Told::Changed(Arc::new(ChangeEvent {
            measure: Measure::TokensPerSecond,
            direction: Direction::Regression,
            detected: at(12),
            changed: at(10),
            ratio: Ratio { value: 0.92, lower: 0.912, upper: 0.928 },
            cause,
            components,
            scope,
            cycles_before: 8,
            cycles_after: 2,
            affected: vec![Cell::new(4, 8)],
            minimum_effect: 0.01,
        }))
    }

    pub(in crate::notify) fn message(told: Vec<Told>) -> Message {
        Message { target: TargetId::new("gpu01", "gemma3:4b"), at: Timestamp::UNIX_EPOCH, told }
    }

    fn epoch(id: i64, driver: &str) -> Arc<Epoch> {
        Arc::new(Epoch {
            id: EpochId(id),
            identity: Facts::from([("driver_version".to_owned(), driver.to_owned())]),
            load: Facts::new(),
            first_seen: Timestamp::UNIX_EPOCH,
            last_seen: Timestamp::UNIX_EPOCH,
        })
    }

    #[test]
    fn people_read_what_changed_by_how_much_since_when_and_why() {
        let check = |told: Told, expected: &str| {
            assert_eq!(message(vec![told]).text(), format!("gpu01 (gemma3:4b): {expected}"));
        };
        check(
            changed(Cause::EnvironmentChange, vec![Component::Driver, Component::Cuda], Scope::All),
            "regression: tokens per second -8.0 % (-8.8 % to -7.2 %) in all cells since 1970-01-01T00:00:00Z, \
             together with a change of driver, cuda",
        );
        check(
            changed(Cause::UnexplainedStep, Vec::new(), Scope::BatchAtLeast(16)),
            "regression: tokens per second -8.0 % (-8.8 % to -7.2 %) in cells of batch 16 and more since 1970-01-01T00:00:00Z, \
             the environment is the same",
        );
        let ended = |turn| Told::Ended { measure: Measure::TimeToFirstToken, direction: Direction::Regression, turn };
        check(ended(Turn::Recovered), "time to first token: the regression is over, the old level is back");
        check(
            ended(Turn::Accepted),
            "time to first token: the regression is over, the user chose another level to compare with",
        );
        let environment = Told::Environment { before: epoch(1, "580.1"), now: epoch(2, "590.2") };
        check(environment, "the environment changed: driver_version: 580.1 → 590.2");
    }

    #[test]
    fn a_server_calls_nobody_and_links_to_nothing() {
        let told =
            Told::Environment { before: epoch(1, "1"), now: epoch(2, "<!channel> [log in](https://evil) @everyone") };
        let message = Message { target: TargetId::new("gpu01", "<https://evil|gemma>"), ..message(vec![told]) };
        let text = message.text();
        assert!(!text.contains(['<', '>', '@', '[', ']', '|']), "{text}");
        assert!(text.contains("driver_version: 1 →  !channel   log in (https://evil)  everyone"), "{text}");
        assert!(message.json()["events"][0]["changes"][0].as_str().is_some_and(|raw| raw.contains("<!channel>")));
    }

    #[test]
    fn programs_read_the_same() {
        let told = vec![
            Told::Environment { before: epoch(1, "580.1"), now: epoch(2, "590.2") },
            changed(Cause::EnvironmentChange, vec![Component::Driver], Scope::All),
        ];
        let message = message(told);
        let json = message.json();
        assert_eq!(
            (&json["version"], &json["target"], &json["model"]),
            (&json!(1), &json!("gpu01"), &json!("gemma3:4b"))
        );
        assert_eq!(json["events"][0]["changes"], json!(["driver_version: 580.1 → 590.2"]));
        let change = &json["events"][1];
        assert_eq!(
            (&change["kind"], &change["ratio"], &change["component"]),
            (&json!("regression"), &json!(0.92), &json!("driver"))
        );
        assert_eq!((&change["scope"], &change["changed"]["cycle"]), (&json!("all"), &json!(10)));
        let annotation = message.annotation();
        assert_eq!(annotation["tags"], json!(["llmsoak", "target:gpu01", "environment_changed", "regression"]));
        assert_eq!((&annotation["time"], &annotation["text"]), (&json!(0), &json["text"]));
    }

    #[test]
    fn what_stays_as_it_is_is_not_told() {
        let on = Happening::AlarmTurned {
            measure: Measure::TokensPerSecond,
            turn: Turn::Persists,
            direction: Direction::Regression,
            active: Some(crate::domain::ActiveAlarm {
                measure: Measure::TokensPerSecond,
                direction: Direction::Regression,
                since: at(3),
                ratio: 0.9,
            }),
        };
        assert_eq!(Told::of(&on), None);
        assert_eq!(Told::of(&Happening::Left), None);
    }
}
