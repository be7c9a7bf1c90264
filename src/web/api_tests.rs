//! The API as a program gets it: every list, the choice of a target, refusals.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use axum::http::StatusCode;
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::fixture::{app, board, now, soak};
use super::tests::{check, small_app};
use crate::domain::{Event, Facts, Grid, Happening, TargetId};
use crate::store::{Sighting, Writer};

async fn json_of(app: &super::App, path: &str, status: StatusCode) -> Value {
    let body = check(app, path, status).await;
    serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}"))
}

fn at<'a>(value: &'a Value, pointer: &str) -> &'a Value {
    value.pointer(pointer).unwrap_or_else(|| panic!("no {pointer} in {value:#}"))
}

/// The samples of a family without labels but the target's, as the scrape has them.
async fn scraped(app: &super::App, name: &str) -> f64 {
    let page = check(app, "/metrics", StatusCode::OK).await;
    let line = page.lines().find(|line| line.starts_with(&format!("{name}{{")));
    let value = line.and_then(|line| line.rsplit(' ').next()).unwrap_or_else(|| panic!("no {name}"));
    value.parse().expect("is a number")
}

#[tokio::test(start_paused = true)]
async fn the_optimum_of_a_small_soak() {
    let app = small_app(Path::new("/nowhere"));
    let optimum = json_of(&app, "/api/v1/optimum", StatusCode::OK).await;
    insta::assert_snapshot!(serde_json::to_string_pretty(&optimum).expect("is JSON"));
}

#[tokio::test]
async fn a_figure_has_the_name_and_the_value_of_its_metric() {
    let app = small_app(Path::new("/nowhere"));
    let status = json_of(&app, "/api/v1/status", StatusCode::OK).await;
    for name in
        ["target_up", "current_workers", "cycle_cells_done", "cycle_duration_seconds", "sample_due_timestamp_seconds"]
    {
        let figure = at(&status, &format!("/targets/0/{name}")).as_f64();
        assert_eq!(figure, Some(scraped(&app, &format!("llmsoak_{name}")).await), "{name}");
    }
    let optimum = json_of(&app, "/api/v1/optimum", StatusCode::OK).await;
    let step = at(&optimum, "/targets/0/step/step_fixed_seconds").as_f64();
    assert_eq!(step, Some(scraped(&app, "llmsoak_step_fixed_seconds").await));
}

#[tokio::test]
async fn every_metric_of_a_cell_is_a_figure_of_a_cell() {
    let app = small_app(Path::new("/nowhere"));
    let page = check(&app, "/metrics", StatusCode::OK).await;
    let metrics: BTreeSet<&str> =
        page.lines().filter_map(|line| line.strip_prefix("# TYPE llmsoak_cell_")?.split(' ').next()).collect();
    let cells = json_of(&app, "/api/v1/cells", StatusCode::OK).await;
    let cell = at(&cells, "/targets/0/cells/0").as_object().expect("is an object");
    let missing: Vec<_> = metrics.iter().filter(|name| !cell.contains_key(**name)).collect();
    assert!(missing.is_empty() && metrics.len() > 9, "{missing:?}");
}

#[tokio::test]
async fn a_target_is_chosen_by_name() {
    let board = board(&[("a", "m"), ("b/c", "m")]);
    soak(&board, &TargetId::new("b/c", "m"), Grid::new(&[1, 2], &[1, 2], true).expect("is sound"), 0);
    let app = app(board, "/nowhere");
    for list in ["status", "targets", "cells", "optimum"] {
        let all = json_of(&app, &format!("/api/v1/{list}"), StatusCode::OK).await;
        assert_eq!(at(&all, "/targets").as_array().map(Vec::len), Some(2), "{list}");
        let one = json_of(&app, &format!("/api/v1/{list}?target=b%2Fc"), StatusCode::OK).await;
        assert_eq!(at(&one, "/targets/0/target"), "b/c", "{list}");
        assert_eq!(at(&one, "/targets").as_array().map(Vec::len), Some(1), "{list}");
    }
}

#[tokio::test]
async fn what_cannot_be_answered_is_said_in_json() {
    let app = small_app(Path::new("/nowhere"));
    for (path, status, error) in [
        ("/api/v1/cells?target=x", StatusCode::NOT_FOUND, "there is no target x; the targets are workstation"),
        ("/api/v1/epochs?target=x", StatusCode::NOT_FOUND, "there is no target x; the targets are workstation"),
        ("/api/v1/nothing", StatusCode::NOT_FOUND, "there is no such list; docs/api.md names them"),
        ("/api/v1/events?limit=0", StatusCode::BAD_REQUEST, "limit: must be from 1 to 10000"),
        ("/api/v1/events", StatusCode::INTERNAL_SERVER_ERROR, "there is no history yet"),
    ] {
        let body = json_of(&app, path, status).await;
        assert!(at(&body, "/error").as_str().is_some_and(|said| said.contains(error)), "{path}: {body}");
    }
    let typo = json_of(&app, "/api/v1/cells?tagret=x", StatusCode::BAD_REQUEST).await;
    assert!(at(&typo, "/error").as_str().is_some_and(|said| said.contains("tagret")), "{typo}");
}

#[tokio::test]
async fn before_anything_is_known_lists_are_empty_and_figures_null() {
    let app = app(board(&[("a", "")]), "/nowhere");
    let cells = json_of(&app, "/api/v1/cells", StatusCode::OK).await;
    assert_eq!(at(&cells, "/targets/0/cells"), &json!([]));
    let optimum = json_of(&app, "/api/v1/optimum", StatusCode::OK).await;
    assert_eq!(at(&optimum, "/targets/0/objectives"), &json!({ "throughput": null, "frugal": null, "slo": null }));
    assert_eq!(at(&optimum, "/targets/0/step"), &Value::Null);
    let status = json_of(&app, "/api/v1/status", StatusCode::OK).await;
    assert_eq!(at(&status, "/targets/0/target_up"), &Value::Null);
}

/// A history of two epochs, the second of a newer server, before which it was away.
async fn write_history(folder: &Path, target: &TargetId) {
    let (history, _scribe) = Writer::open(folder).expect("can be made");
    for (version, hours) in [("1", 2), ("2", 1)] {
        let at = now() - SignedDuration::from_hours(hours);
        let sighting = Sighting {
            target: target.clone(),
            url: "http://127.0.0.1:11434".to_owned(),
            identity: Facts::from([("server_version".to_owned(), version.to_owned())]),
            load: Facts::from([("output_tokens".to_owned(), "24".to_owned())]),
            at,
            running: None,
        };
        history.enter_epoch(sighting).await.expect("can be written");
        let away = Happening::Away { reason: "connection refused".to_owned(), is_first: true };
        history.record(Arc::new(Event { target: target.clone(), at, happening: away })).await;
    }
    history.flush().await;
}

#[tokio::test]
async fn epochs_and_events_come_from_the_history_the_newest_first() {
    let dir = tempfile::tempdir().expect("has a place");
    let app = small_app(&dir.path().join("reports"));
    write_history(dir.path(), &TargetId::new("workstation", "gemma3:4b")).await;
    let epochs = json_of(&app, "/api/v1/epochs", StatusCode::OK).await;
    assert_eq!(at(&epochs, "/targets/0/epochs/0/identity/server_version"), "2");
    assert_eq!(at(&epochs, "/targets/0/epochs/0/changes"), &json!(["server_version: 1 → 2"]));
    assert_eq!(at(&epochs, "/targets/0/epochs/1/changes"), &json!([]));
    let second_hour = (now() - SignedDuration::from_hours(1)).as_second();
    assert_eq!(at(&epochs, "/targets/0/epochs/0/first_seen_timestamp_seconds"), second_hour);
    let events = json_of(&app, "/api/v1/events?target=workstation&limit=1", StatusCode::OK).await;
    assert_eq!(at(&events, "/targets/0/events").as_array().map(Vec::len), Some(1));
    assert_eq!(at(&events, "/targets/0/events/0/timestamp_seconds"), second_hour);
    assert_eq!(at(&events, "/targets/0/events/0/detail"), "connection refused");
}
