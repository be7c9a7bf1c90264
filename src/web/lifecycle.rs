//! What a visitor may order, where the operator allows it: reload, pause, resume.
//!
//! Nothing here does the work: a reload is handed to whoever reads configurations, a pause to
//! the engine's [`Control`]. A browser sends no order for another site's page; and none for a
//! host that has a name, for any site may say that its name is this address.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Query, Request, State};
use axum::http::header::{HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use serde::Deserialize;
use tokio::sync::{mpsc, oneshot};

use super::App;
use super::html::time;
use super::server::Desk;
use crate::domain::duration;
use crate::soak::Control;
use crate::soak::clock::later;

/// Asks for the configuration to be read again; answered with what came of it, in words.
pub type ReloadRequest = oneshot::Sender<Result<String, String>>;

/// Those who carry orders out.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    pub control: Control,
    pub reloads: mpsc::Sender<ReloadRequest>,
}

/// `?target=NAME&for=1h`, both optional.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    target: Option<String>,
    #[serde(rename = "for")]
    span: Option<String>,
}

type Answer = (StatusCode, String);

/// The routes; they refuse every order unless the application has a [`Lifecycle`].
pub(super) fn routes(app: &Arc<App>) -> Router<Arc<App>> {
    let guard = from_fn_with_state(app.clone(), guard);
    Router::new()
        .route("/-/reload", post(reload).route_layer(guard.clone()))
        .route("/-/pause", post(pause).route_layer(guard.clone()))
        .route("/-/resume", post(resume).route_layer(guard))
}

/// Lets only orders through that the operator allows and that no other site's page makes.
async fn guard(State(app): Desk, request: Request, next: Next) -> Response {
    if app.lifecycle.is_none() {
        let text = "orders are not allowed\nhint: start llmsoak with --web.enable-lifecycle\n";
        return (StatusCode::FORBIDDEN, text).into_response();
    }
    match objection(request.headers()) {
        Some(text) => (StatusCode::FORBIDDEN, text).into_response(),
        None => next.run(request).await,
    }
}

/// What is wrong with an order that a browser sends. Other clients say nothing of sites, and
/// are trusted.
fn objection(headers: &HeaderMap) -> Option<&'static str> {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let (site, origin) = (text(HeaderName::from_static("sec-fetch-site")), text(ORIGIN));
    if site.is_none() && origin.is_none() {
        return None;
    }
    let host = text(HOST).unwrap_or_default();
    let is_same = |origin: &str| origin.split_once("://").is_some_and(|(_, from)| from == host);
    if site.is_some_and(|site| !matches!(site, "same-origin" | "none")) || origin.is_some_and(|from| !is_same(from)) {
        return Some("orders from other sites' pages are not taken\n");
    }
    (!is_without_name(host)).then_some(
        "orders from a browser are not taken under a name\nhint: use the IP address or localhost, or another client\n",
    )
}

/// Whether a host is an address that no name server has a say in.
fn is_without_name(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let host = authority.host();
    let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok()
}

async fn reload(State(app): Desk) -> Answer {
    let gone = || (StatusCode::SERVICE_UNAVAILABLE, "the program is stopping\n".to_owned());
    let Some(lifecycle) = &app.lifecycle else { return gone() };
    let (reply, answer) = oneshot::channel();
    if lifecycle.reloads.send(reply).await.is_err() {
        return gone();
    }
    match answer.await {
        Ok(Ok(text)) => (StatusCode::OK, format!("{text}\n")),
        Ok(Err(text)) => (StatusCode::BAD_REQUEST, format!("{text}\n")),
        Err(_) => gone(),
    }
}

async fn pause(State(app): Desk, Query(order): Query<Order>) -> Answer {
    let until = match order.span.as_deref().map(|text| duration::parse(text).ok_or(text)) {
        None => None,
        Some(Ok(span)) if span > Duration::ZERO => Some(later(app.clock.now(), span)),
        Some(_) => {
            let text = "for: must be a duration above zero such as 30m or 1h30m\n";
            return (StatusCode::BAD_REQUEST, text.to_owned());
        }
    };
    let Some(lifecycle) = app.lifecycle.as_ref() else { return unknown_target(&app) };
    if !knows(&app, order.target.as_deref()) {
        return unknown_target(&app);
    }
    lifecycle.control.pause(order.target.as_deref(), until);
    let until = until.map_or_else(|| "until resumed".to_owned(), |at| format!("until {}", time(at)));
    (StatusCode::OK, format!("{} paused {until}\n", subject(order.target.as_deref())))
}

async fn resume(State(app): Desk, Query(order): Query<Order>) -> Answer {
    if order.span.is_some() {
        return (StatusCode::BAD_REQUEST, "for: only a pause has a length\n".to_owned());
    }
    match &app.lifecycle {
        Some(lifecycle) if knows(&app, order.target.as_deref()) => {
            lifecycle.control.resume(order.target.as_deref());
            (StatusCode::OK, format!("{} resumed\n", subject(order.target.as_deref())))
        }
        _ => unknown_target(&app),
    }
}

fn subject(target: Option<&str>) -> String {
    target.map_or_else(|| "all targets".to_owned(), |name| format!("target {name}"))
}

fn knows(app: &App, target: Option<&str>) -> bool {
    target.is_none_or(|name| app.board.snapshot().targets.contains_key(name))
}

fn unknown_target(app: &App) -> Answer {
    let snapshot = app.board.snapshot();
    let names: Vec<&str> = snapshot.targets.keys().map(|name| &**name).collect();
    (StatusCode::NOT_FOUND, format!("there is no such target\nhint: the targets are {}\n", names.join(", ")))
}
