//! The newest report of each target, as a page and as Markdown with its charts.
//!
//! `/reports/<target>/` is laid out as on the disk, so that the Markdown's relative links
//! lead to its charts. `/report.md` is that of the first target, its charts beside it.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::get;
use serde::Deserialize;

use super::App;
use super::html::{document, encoded, escaped, model_element, time};
use super::server::{Desk, Fault, aside};
use crate::report;
use crate::report::snapshot::{self, SnapshotError, Stored};

const MARKDOWN_TYPE: &str = "text/markdown; charset=utf-8";
const SVG_TYPE: &str = "image/svg+xml";

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/report", get(page))
        .route("/report.md", get(markdown))
        .route("/charts/{file}", get(chart))
        .route("/reports/{target}/report.md", get(markdown_of))
        .route("/reports/{target}/charts/{file}", get(chart_of))
}

/// Whose report is asked for.
#[derive(Debug, Deserialize)]
struct Choice {
    target: Option<String>,
}

/// Why there is nothing to show.
#[derive(Debug)]
enum Absence {
    Target(String),
    Report(String),
    Chart(String),
    Fault(Fault),
}

impl Absence {
    fn words(&self) -> String {
        match self {
            Self::Target(name) => format!("There is no target {name}."),
            Self::Report(name) => format!(
                "There is no report of {name} yet. The first comes by itself, as report.every in the configuration \
                 says; \"llmsoak report\" writes one at once."
            ),
            Self::Chart(name) => format!("There is no chart {name} in the newest report."),
            Self::Fault(fault) => fault.to_string(),
        }
    }

    /// As a page for people.
    fn page(self) -> Response {
        let words = escaped(&self.words());
        let body = format!("<h1>No report</h1>\n<p>{words}</p>\n<p><a href=\"./\">To the status page</a></p>\n");
        self.answer(Html(document("No report – llmsoak", &body)))
    }

    fn answer(self, body: impl IntoResponse) -> Response {
        match self {
            Self::Target(_) | Self::Chart(_) => (StatusCode::NOT_FOUND, body).into_response(),
            Self::Report(_) => (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "60")], body).into_response(),
            Self::Fault(fault) => fault.into_response(),
        }
    }
}

impl IntoResponse for Absence {
    fn into_response(self) -> Response {
        let words = self.words() + "\n";
        self.answer(words)
    }
}

/// The chosen report; where there is a choice and none was made, the list to choose from.
async fn page(State(app): Desk, Query(choice): Query<Choice>) -> Response {
    if choice.target.is_none() && app.board.snapshot().targets.len() > 1 {
        return aside(move || list(&app)).await.map(Html).into_response();
    }
    let page = |stored: &Stored| stored.report().map(|report| report::html(&report.markdown, &report.charts));
    match read(app, choice.target, page).await {
        Ok(page) => Html(page).into_response(),
        Err(absence) => absence.page(),
    }
}

async fn markdown(State(app): Desk, Query(choice): Query<Choice>) -> Result<Response, Absence> {
    // The links to the charts would not say which target was chosen: its folder does.
    match choice.target {
        Some(target) => Ok(Redirect::temporary(&format!("reports/{}/report.md", encoded(&target))).into_response()),
        None => markdown_from(app, None).await,
    }
}

async fn markdown_of(State(app): Desk, Path(target): Path<String>) -> Result<Response, Absence> {
    markdown_from(app, Some(target)).await
}

async fn chart(State(app): Desk, Path(file): Path<String>) -> Result<Response, Absence> {
    chart_from(app, None, file).await
}

async fn chart_of(State(app): Desk, Path((target, file)): Path<(String, String)>) -> Result<Response, Absence> {
    chart_from(app, Some(target), file).await
}

async fn markdown_from(app: Arc<App>, target: Option<String>) -> Result<Response, Absence> {
    let markdown = read(app, target, Stored::markdown).await?;
    Ok(([(CONTENT_TYPE, MARKDOWN_TYPE)], markdown).into_response())
}

async fn chart_from(app: Arc<App>, target: Option<String>, file: String) -> Result<Response, Absence> {
    let name = file.clone();
    let chart = read(app, target, move |stored| stored.chart(&name)).await?;
    let svg = chart.ok_or(Absence::Chart(file))?;
    Ok(([(CONTENT_TYPE, SVG_TYPE)], svg).into_response())
}

/// Reads from the newest report of that target, of the first one where none is named.
async fn read<T: Send + 'static>(
    app: Arc<App>,
    target: Option<String>,
    take: impl FnOnce(&Stored) -> Result<T, SnapshotError> + Send + 'static,
) -> Result<T, Absence> {
    let snapshot = app.board.snapshot();
    let name = match target {
        // Only targets of this process: no name of a visitor's becomes a path.
        Some(name) if snapshot.targets.contains_key(&*name) => name,
        Some(name) => return Err(Absence::Target(name)),
        None => snapshot.targets.keys().next().map(ToString::to_string).unwrap_or_default(),
    };
    let asked = name.clone();
    let found = aside(move || match snapshot::latest(&app.reports, &asked)? {
        Some(stored) => take(&stored).map(Some),
        None => Ok::<_, SnapshotError>(None),
    });
    found.await.map_err(Absence::Fault)?.ok_or(Absence::Report(name))
}

/// The targets with the times of their reports. Reads the disk.
fn list(app: &App) -> Result<String, SnapshotError> {
    let mut items = String::new();
    for target in app.board.snapshot().targets.values() {
        let name = &target.id.name;
        let label = format!("{} {}", escaped(name), model_element(&target.id.model));
        let (label, address) = (label.trim_end(), encoded(name));
        let item = match snapshot::latest(&app.reports, name)? {
            Some(stored) => format!(
                "<li><a href=\"report?target={address}\">{label}</a>: {} \
                 (<a href=\"reports/{address}/report.md\">Markdown</a>)</li>\n",
                time(stored.generated_at()),
            ),
            None => format!("<li>{label}: no report yet</li>\n"),
        };
        items.push_str(&item);
    }
    let body = format!("<h1>Reports</h1>\n<ul>\n{items}</ul>\n<p><a href=\"./\">To the status page</a></p>\n");
    Ok(document("Reports – llmsoak", &body))
}
