//! The best cell by objective, the best of each row with its slots, and what a step costs.

use axum::Json;
use serde_json::{Map, Value, json};

use super::{Asked, members, names, number, place};
use crate::analysis::optimum::Best;
use crate::analysis::slots::RowSlots;
use crate::metrics::figures;
use crate::soak::TargetSnapshot;

pub(super) async fn answer(asked: Asked) -> Json<Value> {
    asked.answer(|target| {
        let objectives: Map<String, Value> = figures::objectives(target)
            .map(|(objective, best)| (objective.to_owned(), best.map_or(Value::Null, |best| named(target, best))))
            .collect();
        let mut entry = names(&target.id);
        entry.insert("objectives".to_owned(), Value::Object(objectives));
        entry.insert("rows".to_owned(), target.conclusions.rows.iter().map(|slots| row(target, slots)).collect());
        entry.insert("step".to_owned(), step(target));
        entry.insert("is_warned".to_owned(), json!(target.optimum().is_some_and(|optimum| optimum.is_warned)));
        Value::Object(entry)
    })
}

/// A cell that an objective names: its figures and how sure they are.
fn named(target: &TargetSnapshot, best: &Best) -> Value {
    let mut entry: Map<String, Value> = members(figures::of_optimum(target, best)).collect();
    entry.extend(certainty(best));
    Value::Object(entry)
}

/// The 95 % interval of the rate, and the cells that may be as good.
fn certainty(best: &Best) -> Map<String, Value> {
    let tied: Vec<Value> = best.tied.iter().map(|&cell| Value::Object(place(cell))).collect();
    [
        ("tokens_per_second_lower".to_owned(), number(best.interval.lower)),
        ("tokens_per_second_upper".to_owned(), number(best.interval.upper)),
        ("tied".to_owned(), json!(tied)),
    ]
    .into_iter()
    .collect()
}

fn row(target: &TargetSnapshot, slots: &RowSlots) -> Value {
    let best = target.optimum().and_then(|optimum| optimum.rows.iter().find(|row| row.cell.workers == slots.requested));
    let best = best.map(|best| {
        let mut entry: Map<String, Value> = members(figures::of_row(best)).collect();
        entry.insert("probability".to_owned(), number(best.probability));
        entry.extend(certainty(best));
        Value::Object(entry)
    });
    let mut entry = Map::new();
    entry.insert("workers".to_owned(), json!(slots.requested));
    entry.extend(members(figures::of_slots(slots)));
    entry.insert("slots_verdict".to_owned(), json!(slots.verdict.as_str()));
    entry.insert("best".to_owned(), best.unwrap_or_default());
    Value::Object(entry)
}

/// The fitted line, with the cells that lie off it; `null` while there are too few points.
fn step(target: &TargetSnapshot) -> Value {
    let Some(step) = &target.conclusions.step else { return Value::Null };
    let mut entry: Map<String, Value> = members(figures::of_step(target)).collect();
    for (name, fitted) in
        [("step_fixed_seconds", step.fixed_seconds), ("step_per_stream_seconds", step.per_stream_seconds)]
    {
        entry.insert(format!("{name}_lower"), number(fitted.interval.lower));
        entry.insert(format!("{name}_upper"), number(fitted.interval.upper));
    }
    let misfit = |&(cell, ratio): &(_, f64)| {
        let mut entry = place(cell);
        entry.insert("measured_per_fitted".to_owned(), number(ratio));
        Value::Object(entry)
    };
    entry.insert("relative_error".to_owned(), number(step.relative_error));
    entry.insert("points".to_owned(), json!(step.points));
    entry.insert("misfits".to_owned(), step.misfits.iter().map(misfit).collect());
    Value::Object(entry)
}
