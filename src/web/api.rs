//! `/api/v1/`: what the pages show, as JSON for programs. docs/api.md is its contract.
//!
//! A figure that is a metric too has the metric's name without its beginning, its unit and its
//! value. Times are seconds since 1970. What is not known is `null`, never 0.

mod cells;
mod compare;
mod history;
mod optimum;
mod status;

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequestParts, Query};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::App;
use super::server::{Desk, Fault};
use crate::domain::{Cell, TargetId};
use crate::metrics::figures::Figures;
use crate::soak::TargetSnapshot;

pub use compare::measure as compared_measure;

/// Numbers beyond these are no integers that every reader of JSON can hold: 2⁵³.
const LARGEST_INTEGER: f64 = 9_007_199_254_740_992.0;
/// How many epochs or events an answer lists of each target when nobody says.
const USUAL_LIMIT: u32 = 100;
const LARGEST_LIMIT: u32 = 10_000;

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/status", get(status::status))
        .route("/targets", get(status::targets))
        .route("/cells", get(cells::answer))
        .route("/optimum", get(optimum::answer))
        .route("/compare", get(compare::answer))
        .route("/epochs", get(history::epochs))
        .route("/events", get(history::events))
        .fallback(async || Refusal::NoSuchList)
        .method_not_allowed_fallback(async || Refusal::OnlyReading)
}

/// What the query may say.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Choice {
    target: Option<String>,
    limit: Option<u32>,
}

/// The targets that are asked for, and how much of each.
#[derive(Debug)]
struct Asked {
    targets: Vec<Arc<TargetSnapshot>>,
    limit: u32,
    now: Timestamp,
}

impl FromRequestParts<Arc<App>> for Asked {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Refusal> {
        let Query(choice) = Query::<Choice>::from_request_parts(parts, app).await.map_err(Refusal::Query)?;
        let limit = choice.limit.unwrap_or(USUAL_LIMIT);
        if !(1..=LARGEST_LIMIT).contains(&limit) {
            return Err(Refusal::Limit);
        }
        let snapshot = app.board.snapshot();
        let targets = match choice.target {
            None => snapshot.targets.values().cloned().collect(),
            Some(name) => match snapshot.targets.get(&*name) {
                Some(target) => vec![target.clone()],
                None => {
                    let known = snapshot.targets.keys().map(ToString::to_string).collect();
                    return Err(Refusal::NoSuchTarget { name, known });
                }
            },
        };
        Ok(Self { targets, limit, now: app.clock.now() })
    }
}

impl Asked {
    /// An answer with an entry for each target.
    fn answer(&self, entry: impl Fn(&TargetSnapshot) -> Value) -> Json<Value> {
        let targets: Vec<Value> = self.targets.iter().map(|target| entry(target)).collect();
        Json(json!({ "timestamp_seconds": seconds(self.now), "targets": targets }))
    }
}

/// Why there is no answer.
#[derive(Debug)]
enum Refusal {
    NoSuchList,
    OnlyReading,
    NoSuchTarget { name: String, known: Vec<String> },
    Limit,
    Query(QueryRejection),
    Fault(Fault),
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, error) = match self {
            Self::NoSuchList => (StatusCode::NOT_FOUND, "there is no such list; docs/api.md names them".to_owned()),
            Self::OnlyReading => (StatusCode::METHOD_NOT_ALLOWED, "only GET is answered".to_owned()),
            Self::NoSuchTarget { name, known } => {
                (StatusCode::NOT_FOUND, format!("there is no target {name}; the targets are {}", known.join(", ")))
            }
            Self::Limit => (StatusCode::BAD_REQUEST, format!("limit: must be from 1 to {LARGEST_LIMIT}")),
            Self::Query(rejection) => (StatusCode::BAD_REQUEST, rejection.body_text()),
            Self::Fault(fault) => {
                let words = fault.to_string();
                (fault.into_response().status(), words)
            }
        };
        (status, Json(json!({ "error": error }))).into_response()
    }
}

/// The beginning of every entry.
fn names(target: &TargetId) -> Map<String, Value> {
    [("target".to_owned(), json!(&*target.name)), ("model".to_owned(), json!(&*target.model))].into_iter().collect()
}

fn place(cell: Cell) -> Map<String, Value> {
    [("workers".to_owned(), json!(cell.workers)), ("batch".to_owned(), json!(cell.batch))].into_iter().collect()
}

fn members(figures: Figures) -> impl Iterator<Item = (String, Value)> {
    figures.into_iter().map(|(name, value)| (name.to_owned(), value.map_or(Value::Null, number)))
}

/// Whole numbers go without a fraction; what JSON has no number for is `null`.
fn number(value: f64) -> Value {
    #[expect(clippy::cast_possible_truncation, reason = "lies within the range of the check")]
    if value.fract() == 0.0 && value.abs() < LARGEST_INTEGER { json!(value as i64) } else { json!(value) }
}

fn seconds(at: Timestamp) -> Value {
    number(at.as_millisecond() as f64 / 1e3)
}

fn optional_seconds(at: Option<Timestamp>) -> Value {
    at.map_or(Value::Null, seconds)
}
