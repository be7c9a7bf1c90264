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
    let _turn = turns.acquire().await;
    next.run(request).await
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
