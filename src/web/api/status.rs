//! What runs now, and who is measured.

use axum::Json;
use axum::extract::State;
use serde_json::{Map, Value, json};

use super::{Asked, Desk, members, names, optional_seconds, seconds};
use crate::domain::ActiveAlarm;
use crate::metrics::figures;
use crate::soak::TargetSnapshot;
use crate::web::health::stands_still_since;

/// The state of the program and of each target's work.
pub(super) async fn status(State(app): Desk, asked: Asked) -> Json<Value> {
    let entry = |target: &TargetSnapshot| {
        let mut entry = names(&target.id);
        entry.extend(members(figures::of_target(target)));
        let told = json!({
            "scheduler_state": target.state.as_str(),
            "scheduler_state_until_timestamp_seconds": optional_seconds(target.state_until),
            "cycle": target.cycle,
            "stands_still": stands_still_since(target).is_some(),
            "alarms": alarms(target),
            "notes": target.notes.iter().rev().map(|note| json!({
                "timestamp_seconds": seconds(note.at), "text": note.text,
            })).collect::<Vec<_>>(),
        });
        entry.extend(told.as_object().cloned().unwrap_or_default());
        Value::Object(entry)
    };
    let Json(mut answer) = asked.answer(entry);
    let program = json!({ "version": env!("CARGO_PKG_VERSION"), "ready": app.readiness.is_ready() });
    if let (Some(answer), Some(program)) = (answer.as_object_mut(), program.as_object()) {
        answer.extend(program.clone());
    }
    Json(answer)
}

/// What is slower or faster than what was accepted last, with what changed in the environment
/// when that began, the first suspect first.
fn alarms(target: &TargetSnapshot) -> Value {
    let alarm = |alarm: &ActiveAlarm| {
        let told = target.changes.newest.iter().rev().map(|told| &told.event);
        let mut of_it = told.filter(|event| event.measure == alarm.measure && event.direction == alarm.direction);
        let components =
            of_it.next().map(|event| event.components.iter().map(|component| component.as_str()).collect::<Vec<_>>());
        json!({
            "measure": alarm.measure.as_str(),
            "direction": alarm.direction.as_str(),
            "ratio": alarm.ratio,
            "since_timestamp_seconds": seconds(alarm.since.at),
            "components": components.unwrap_or_default(),
        })
    };
    target.changes.alarms.values().map(alarm).collect()
}

/// Who is measured, how, and over which grid.
pub(super) async fn targets(asked: Asked) -> Json<Value> {
    asked.answer(|target| {
        let mut entry = names(&target.id);
        entry.extend(identity(target));
        entry.insert("url".to_owned(), json!(target.url));
        entry.insert("lane".to_owned(), json!(target.lane));
        let grid = target.grid.as_deref().map(|grid| {
            json!({
                "workers": grid.workers(),
                "batch": grid.batch(),
                "share_equivalent_cells": grid.shares_equivalent_cells(),
            })
        });
        entry.insert("grid".to_owned(), grid.unwrap_or_default());
        Value::Object(entry)
    })
}

/// What the server told, and the epoch that is measured.
fn identity(target: &TargetSnapshot) -> Map<String, Value> {
    let server = target.identity.as_deref();
    let epoch = target.epoch.as_deref();
    let told = json!({
        "server": server.map(|server| server.kind.as_str()),
        "server_version": server.and_then(|server| server.version.as_deref()),
        "model_digest": server.and_then(|server| server.model_digest.as_deref()),
        "quantization": server.and_then(|server| server.quantization.as_deref()),
        "slots": server.and_then(|server| server.slots),
        "context_per_slot": server.and_then(|server| server.context_per_slot),
        "epoch": epoch.map(|epoch| epoch.id.0),
        "epoch_first_seen_timestamp_seconds": optional_seconds(epoch.map(|epoch| epoch.first_seen)),
        "identity": epoch.map(|epoch| &epoch.identity),
        "load": epoch.map(|epoch| &epoch.load),
    });
    told.as_object().cloned().unwrap_or_default()
}
