//! Writes series as `llmsoak backtest` reads them, with their truth beside them.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::Path;

use llmsoak::analysis::regression::{CellFigures, Measure};
use serde_json::{Value, json};

use super::series::Series;

/// One file of cycles a series, `0001.jsonl`, and `truth.jsonl` with a line for each: the
/// change, or null.
pub(crate) fn write(folder: &Path, set: &[Series]) {
    fs::create_dir_all(folder).expect("a folder");
    let mut truths = BufWriter::new(File::create(folder.join("truth.jsonl")).expect("a file"));
    for (index, series) in set.iter().enumerate() {
        let name = format!("{index:04}.jsonl");
        let mut file = BufWriter::new(File::create(folder.join(&name)).expect("a file"));
        for cycle in &series.cycles {
            let cells: Vec<Value> = cycle.cells.iter().map(cell).collect();
            let line = json!({"time": cycle.at.to_string(), "environment": cycle.identity, "cells": cells});
            writeln!(file, "{line}").expect("room");
        }
        file.flush().expect("room");
        let truth = series.truth.as_ref().map(|truth| {
            json!({
                "changed_cycle": truth.first,
                "measure": truth.kind.measure().as_str(),
                "ratio": truth.logs[truth.kind.measure().index()].exp(),
                "component": truth.component,
                "kind": format!("{:?}", truth.kind),
            })
        });
        writeln!(truths, "{}", json!({"file": name, "cycles": series.cycles.len(), "truth": truth})).expect("room");
    }
    truths.flush().expect("room");
}

fn cell(figures: &CellFigures) -> Value {
    let figure = |measure: Measure| figures.figures[measure.index()];
    json!({
        "workers": figures.cell.workers,
        "batch": figures.cell.batch,
        "tokens_per_second": figure(Measure::TokensPerSecond),
        "time_to_first_token_p50_seconds": figure(Measure::TimeToFirstToken),
        "inter_token_latency_p50_seconds": figure(Measure::InterTokenLatency),
    })
}
