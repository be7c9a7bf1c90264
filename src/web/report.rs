//! The reports of each target: the newest as a page and as Markdown with its charts, older ones
//! as pages, and a list of all.
//!
//! `/reports/<target>/` is laid out as on the disk, so that the Markdown's relative links
//! lead to its charts. `/report.md` is that of the first target, its charts beside it.

use std::fmt::Write as _;
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
use crate::report::snapshot::{self, SnapshotError, Stored};
use crate::report::{self, Links};

const MARKDOWN_TYPE: &str = "text/markdown; charset=utf-8";
const SVG_TYPE: &str = "image/svg+xml";

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/report", get(page))
        .route("/reports", get(list_page))
        .route("/report.md", get(markdown))
        .route("/charts/{file}", get(chart))
        .route("/reports/{target}/report.md", get(markdown_of))
        .route("/reports/{target}/charts/{file}", get(chart_of))
}

/// Whose report is asked for.
#[derive(Debug, Deserialize)]
struct Choice {
    target: Option<String>,
    /// The name of an older one.
    of: Option<String>,
}

/// Why there is nothing to show.
#[derive(Debug)]
enum Absence {
    Target(String),
    Report(String),
    Older(String),
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
            Self::Older(name) => format!("There is no report {name}; the oldest are deleted, as report.keep says."),
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
            Self::Target(_) | Self::Older(_) | Self::Chart(_) => (StatusCode::NOT_FOUND, body).into_response(),
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
        return list_page(State(app)).await;
    }
    let links = Links { status: "./", all_reports: "reports" };
    let page = move |stored: &Stored| {
        stored.report().map(|report| report::html(&report.markdown, &report.charts, Some(links)))
    };
    match read(app, choice.target, choice.of, page).await {
        Ok(page) => Html(page).into_response(),
        Err(absence) => absence.page(),
    }
}

async fn list_page(State(app): Desk) -> Response {
    aside(move || list(&app)).await.map(Html).into_response()
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
    let markdown = read(app, target, None, Stored::markdown).await?;
    Ok(([(CONTENT_TYPE, MARKDOWN_TYPE)], markdown).into_response())
}

async fn chart_from(app: Arc<App>, target: Option<String>, file: String) -> Result<Response, Absence> {
    let name = file.clone();
    let chart = read(app, target, None, move |stored| stored.chart(&name)).await?;
    let svg = chart.ok_or(Absence::Chart(file))?;
    Ok(([(CONTENT_TYPE, SVG_TYPE)], svg).into_response())
}

/// Reads from a report of that target, of the first one where none is named; from the newest
/// where none is asked for.
async fn read<T: Send + 'static>(
    app: Arc<App>,
    target: Option<String>,
    of: Option<String>,
    take: impl FnOnce(&Stored) -> Result<T, SnapshotError> + Send + 'static,
) -> Result<T, Absence> {
    let snapshot = app.board.snapshot();
    let name = match target {
        // Only targets of this process: no name of a visitor's becomes a path.
        Some(name) if snapshot.targets.contains_key(&*name) => name,
        Some(name) => return Err(Absence::Target(name)),
        None => snapshot.targets.keys().next().map(ToString::to_string).unwrap_or_default(),
    };
    let (asked, older) = (name.clone(), of.clone());
    let found = aside(move || {
        let stored = match older {
            Some(older) => snapshot::of_name(&app.reports, &asked, &older)?,
            None => snapshot::latest(&app.reports, &asked)?,
        };
        stored.map(|stored| take(&stored)).transpose()
    });
    let absence = of.map_or(Absence::Report(name), Absence::Older);
    found.await.map_err(Absence::Fault)?.ok_or(absence)
}

/// The targets with all of their reports. Reads the disk.
fn list(app: &App) -> Result<String, SnapshotError> {
    let mut body = "<h1>Reports</h1>\n".to_owned();
    for target in app.board.snapshot().targets.values() {
        let (name, model) = (&target.id.name, model_element(&target.id.model));
        let label = format!("{} {model}", escaped(name));
        let (label, address) = (label.trim_end(), encoded(name));
        let stored = snapshot::all(&app.reports, name)?;
        let Some((newest, older)) = stored.split_first() else {
            let _ = writeln!(body, "<p>{label}: no report yet</p>");
            continue;
        };
        let _ = writeln!(
            body,
            "<p><a href=\"report?target={address}\">{label}</a>: {} (<a href=\"reports/{address}/report.md\">Markdown</a>)</p>",
            time(newest.generated_at()),
        );
        if !older.is_empty() {
            let item = |stored: &Stored| {
                let (of, at) = (stored.name(), time(stored.generated_at()));
                format!("<li><a href=\"report?target={address}&amp;of={of}\">{at}</a></li>\n")
            };
            let items: String = older.iter().map(item).collect();
            let _ =
                writeln!(body, "<details><summary>older: {}</summary>\n<ul>\n{items}</ul>\n</details>", older.len());
        }
    }
    body.push_str("<p><a href=\"./\">To the status page</a></p>\n");
    Ok(document("Reports – llmsoak", &body))
}
