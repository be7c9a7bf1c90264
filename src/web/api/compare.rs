//! The running epoch beside its baseline.

use axum::Json;
use serde_json::{Map, Value, json};

use super::{Asked, names, number, place};
use crate::domain::{CellChange, Compared, Comparison, Direction};

/// Of each measure how much it changed; empty while there is no baseline, or too little to say.
pub(super) async fn answer(asked: Asked) -> Json<Value> {
    asked.answer(|target| {
        let compared = target.changes.compared.as_deref();
        let mut entry = names(&target.id);
        entry.insert("baseline_epoch".to_owned(), json!(compared.map(|compared| compared.baseline.0)));
        entry.insert("current_epoch".to_owned(), json!(compared.map(|compared| compared.current.0)));
        entry.insert("measures".to_owned(), compared.map(measures).unwrap_or_else(|| json!([])));
        Value::Object(entry)
    })
}

fn measures(compared: &Compared) -> Value {
    compared.measures.iter().map(measure).collect()
}

/// Current / baseline, paired and pooled over the cells; `null` where there is too little to say.
pub fn measure(comparison: &Comparison) -> Value {
    let ratio = comparison.ratio();
    json!({
        "measure": comparison.measure.as_str(),
        "change_ratio": ratio.map(|ratio| number(ratio.value)),
        "change_ratio_lower": ratio.map(|ratio| number(ratio.lower)),
        "change_ratio_upper": ratio.map(|ratio| number(ratio.upper)),
        "direction": comparison.beyond(0.0).map(Direction::as_str),
        "baseline_cycles": comparison.baseline_cycles,
        "current_cycles": comparison.current_cycles,
        "cells": comparison.cells.iter().map(cell).collect::<Vec<_>>(),
    })
}

fn cell(change: &CellChange) -> Map<String, Value> {
    let mut entry = place(change.cell);
    entry.insert("change_ratio".to_owned(), number(change.ratio));
    entry.insert("is_affected".to_owned(), json!(change.is_affected));
    entry
}
