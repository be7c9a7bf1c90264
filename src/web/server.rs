//! The routes, and what holds for all of them.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::middleware::{Next, from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::Semaphore;
use tower_http::compression::{CompressionLayer, CompressionLevel};

use super::{App, api, health, lifecycle, report, status};
use crate::metrics::CONTENT_TYPE as METRICS_TYPE;

/// The most pages that are made at once: they must leave processors to what measures.
const AT_ONCE: usize = 4;

/// What every answer forbids a browser that takes it for a page: all but its own style.
pub(super) const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What the handlers know.
pub(super) type Desk = State<Arc<App>>;

/// All routes.
pub fn router(app: App) -> Router {
    let app = Arc::new(app);
    Router::new()
        .route("/", get(status::answer))
        .route("/metrics", get(metrics))
        .merge(report::routes())
        .nest("/api/v1", api::routes())
        .route_layer(from_fn_with_state(Arc::new(Semaphore::new(AT_ONCE)), in_turn))
        .merge(lifecycle::routes(&app))
        .route("/-/healthy", get(health::healthy))
        .route("/-/ready", get(health::ready))
        .fallback(async || (StatusCode::NOT_FOUND, "there is no such page\n"))
        .layer(map_response(async |response: Response| guarded(response)))
        .layer(CompressionLayer::new().quality(CompressionLevel::Fastest))
        .with_state(app)
}

/// Adds the headers that an answer does not bring itself.
pub(super) fn guarded(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "deny"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Makes a page when it is its turn. The connections bound how many wait.
async fn in_turn(State(turns): State<Arc<Semaphore>>, request: Request, next: Next) -> Response {
    // The semaphore is never closed.
    let turn = turns.acquire_owned().await;
    // A visitor who hangs up ends the wait for the page, not the work on it, nor its turn.
    let page = tokio::spawn(async move {
        let page = next.run(request).await;
        drop(turn);
        page
    });
    page.await.unwrap_or_else(|panic| Fault::new(panic).into_response())
}

async fn metrics(State(app): Desk) -> Result<Response, Fault> {
    let page = aside(move || Ok::<_, Infallible>(app.metrics.render())).await?;
    Ok(([(CONTENT_TYPE, METRICS_TYPE)], page).into_response())
}

/// An HTML page that may run the one script which bears `nonce` and ask this server again.
pub(super) fn live_page(page: String, nonce: &str) -> Result<Response, Fault> {
    let policy = format!("{POLICY}; script-src 'nonce-{nonce}'; connect-src 'self'");
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::try_from(policy).map_err(Fault::new)?);
    Ok((headers, axum::response::Html(page)).into_response())
}

/// Runs what computes long or reads from the disk apart from the threads that answer.
pub(super) async fn aside<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, Fault>
where
    T: Send + 'static,
    E: fmt::Display + Send + 'static,
{
    tokio::task::spawn_blocking(work).await.map_err(Fault::new)?.map_err(Fault::new)
}

/// This program's fault: logged, and told to the visitor.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Fault(String);

impl Fault {
    pub(super) fn new(cause: impl fmt::Display) -> Self {
        Self(cause.to_string())
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        tracing::error!(error = self.0, "a page could not be made");
        (StatusCode::INTERNAL_SERVER_ERROR, format!("{}\n", self.0)).into_response()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::body::Body;
    use tokio::time::timeout;
    use tower::ServiceExt as _;

    use super::*;

    #[tokio::test]
    async fn a_visitor_who_hangs_up_leaves_no_turn_before_the_work_is_done() {
        let turns = Arc::new(Semaphore::new(1));
        let (open, gate) = std::sync::mpsc::channel::<()>();
        let gate = Arc::new(std::sync::Mutex::new(gate));
        let slow = move || aside(move || gate.lock().expect("no panic").recv().map(|()| "a page"));
        let pages = Router::new().route("/", get(slow)).route_layer(from_fn_with_state(turns.clone(), in_turn));
        let asked = pages.oneshot(Request::get("/").body(Body::empty()).expect("is a request"));
        assert!(timeout(Duration::from_millis(50), asked).await.is_err(), "it waits for the gate");
        assert_eq!(turns.available_permits(), 0);
        open.send(()).expect("the work waits");
        let turn = timeout(Duration::from_secs(60), turns.acquire()).await;
        assert!(turn.is_ok_and(|turn| turn.is_ok()));
    }
}
