//! Whether the program does its work, for those who would restart it.
//!
//! A model server that is away is no fault of this program: it is healthy while it keeps
//! its own appointments.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;

use super::html::time;
use super::server::Desk;
use crate::soak::{Snapshot, TargetSnapshot};

/// How late a sample may be before its target counts as standing still.
const PATIENCE: Duration = Duration::from_secs(60);

/// 200 while no target stands still; else a line for each that does.
pub(super) async fn healthy(State(app): Desk) -> (StatusCode, String) {
    let troubles = standing_still(&app.board.snapshot());
    if troubles.is_empty() {
        return (StatusCode::OK, "ok\n".to_owned());
    }
    (StatusCode::SERVICE_UNAVAILABLE, troubles.concat())
}

/// 200 once the history was restored.
pub(super) async fn ready(State(app): Desk) -> (StatusCode, &'static str) {
    if app.readiness.is_ready() {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the history is being restored\n")
    }
}

/// When the sample was due that is too late by now.
pub(super) fn stands_still_since(target: &TargetSnapshot) -> Option<Timestamp> {
    target.sample_due.filter(|due| due.moment.elapsed() > PATIENCE).map(|due| due.at)
}

fn standing_still(snapshot: &Snapshot) -> Vec<String> {
    let line = |target: &TargetSnapshot| {
        let since = time(stands_still_since(target)?);
        let last = target.sample_completed_at.map_or_else(|| "none yet".to_owned(), time);
        Some(format!("target {} stands still since {since}; last sample: {last}\n", target.id))
    };
    snapshot.targets.values().filter_map(|target| line(target)).collect()
}
