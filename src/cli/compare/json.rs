//! A comparison for programs.

use serde_json::{Value, json};

use super::{Judged, Outcome};
use crate::domain::Epoch;
use crate::web::compared_measure;

/// All comparisons, a JSON array with an object a target.
pub(super) fn text(judged: &[Judged], limit: f64) -> String {
    let all: Vec<Value> = judged.iter().map(|judged| object(judged, limit)).collect();
    format!("{:#}\n", Value::Array(all))
}

fn object(judged: &Judged, limit: f64) -> Value {
    let verdict = match &judged.outcome {
        Outcome::NoBaseline => "no_baseline",
        Outcome::OtherLoad(_) => "not_comparable",
        Outcome::Compared(_) if judged.is_regression(limit) => "regression",
        Outcome::Compared(_) if judged.says_something() => "no_regression",
        Outcome::Compared(_) => "too_few",
    };
    let differences = if let Outcome::OtherLoad(differences) = &judged.outcome { differences.as_slice() } else { &[] };
    json!({
        "target": &*judged.target.name,
        "model": &*judged.target.model,
        "verdict": verdict,
        "limit": limit,
        "baseline": judged.baseline.as_ref().map(|baseline| epoch(&baseline.epoch)),
        "current": epoch(&judged.current),
        "changes": judged.changes(),
        "load_differences": differences,
        "measures": judged.comparisons().iter().map(compared_measure).collect::<Vec<_>>(),
    })
}

fn epoch(epoch: &Epoch) -> Value {
    json!({
        "epoch": epoch.id.0,
        "first_seen": epoch.first_seen.to_string(),
        "last_seen": epoch.last_seen.to_string(),
        "environment": epoch.identity,
    })
}
