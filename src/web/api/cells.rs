//! The grid, cell by cell.

use axum::Json;
use serde_json::{Value, json};

use super::{Asked, members, names, place};
use crate::domain::Cell;
use crate::metrics::figures;
use crate::soak::TargetSnapshot;

/// The cells that were attempted in the running epoch, with all their figures.
pub(super) async fn answer(asked: Asked) -> Json<Value> {
    asked.answer(|target| {
        let cells = target.grid.iter().flat_map(|grid| grid.cells());
        let mut entry = names(&target.id);
        entry.insert("cells".to_owned(), cells.filter_map(|at| cell(target, at)).collect());
        Value::Object(entry)
    })
}

fn cell(target: &TargetSnapshot, cell: Cell) -> Option<Value> {
    let mut entry = place(cell);
    entry.extend(members(figures::of_cell(target, cell)?));
    let reasons: Vec<&str> = target.cell(cell)?.last_attempt.invalid.iter().map(|reason| reason.as_str()).collect();
    entry.insert("invalid_reasons".to_owned(), json!(reasons));
    Some(Value::Object(entry))
}
