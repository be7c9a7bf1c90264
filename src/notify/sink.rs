//! Sends a message to one place, once: when to try again is the caller's affair.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::RETRY_AFTER;

use super::message::Message;
use crate::domain::notify::{GrafanaPlan, NotifyPlan, Sink, WebhookPlan};

/// The longest that a receiver may ask to be left alone.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// Why a message did not arrive. Says nothing of the address, which may be a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Fault {
    pub reason: String,
    /// Whether another attempt may succeed.
    pub is_transient: bool,
    /// How long the receiver wants to be left alone.
    pub wait: Option<Duration>,
}

/// Sends a message to a place, where the plan has it. Returns when it was taken.
pub async fn send(sink: Sink, http: &reqwest::Client, plan: &NotifyPlan, message: &Message) -> Result<(), Fault> {
    let request = match (sink, &plan.webhook, &plan.grafana) {
        (Sink::Webhook, Some(webhook), _) => to_webhook(http, webhook, message),
        (Sink::Grafana, _, Some(grafana)) => to_grafana(http, grafana, message),
        (Sink::Webhook | Sink::Grafana, ..) => return Ok(()),
    };
    let answer = request.send().await.map_err(|error| unreached(&error))?;
    if answer.status().is_success() { Ok(()) } else { Err(refused(&answer)) }
}

/// A client for all places. Nothing is sent here.
pub fn client() -> Result<reqwest::Client, reqwest::Error> {
    // The HTTP library takes the process' provider. One that is there already is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .user_agent(concat!("llmsoak/", env!("CARGO_PKG_VERSION")))
        // A redirected POST would carry a token to somebody else.
        .redirect(reqwest::redirect::Policy::none())
        .build()
}

fn to_webhook(http: &reqwest::Client, plan: &WebhookPlan, message: &Message) -> reqwest::RequestBuilder {
    let request = http.post(plan.url.reveal()).timeout(plan.timeout);
    let with_headers = plan.headers.iter().fold(request, |request, (name, value)| request.header(name, value.reveal()));
    with_body(with_headers, &message.json())
}

fn to_grafana(http: &reqwest::Client, plan: &GrafanaPlan, message: &Message) -> reqwest::RequestBuilder {
    let request = http.post(format!("{}/api/annotations", plan.url)).timeout(plan.timeout);
    let request = match &plan.token {
        Some(token) => request.bearer_auth(token.reveal()),
        None => request,
    };
    with_body(request, &message.annotation())
}

fn with_body(request: reqwest::RequestBuilder, body: &serde_json::Value) -> reqwest::RequestBuilder {
    request.header(reqwest::header::CONTENT_TYPE, "application/json").body(body.to_string())
}

fn unreached(error: &reqwest::Error) -> Fault {
    let reason = match error {
        error if error.is_timeout() => "no answer in time",
        error if error.is_connect() => "cannot be reached",
        error if error.is_builder() => "the request cannot be made",
        _ => "the connection broke",
    };
    Fault { reason: reason.to_owned(), is_transient: !error.is_builder(), wait: None }
}

fn refused(answer: &reqwest::Response) -> Fault {
    let status = answer.status();
    let is_transient = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
    let wait = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let wait = wait.map(|seconds| Duration::from_secs(seconds).min(LONGEST_WAIT));
    Fault { reason: format!("answered {status}"), is_transient, wait }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::Router;
    use axum::body::Bytes;
    use axum::extract::State;
    use axum::http::{HeaderMap, Uri};
    use axum::response::IntoResponse;
    use serde_json::Value;
    use tokio::net::TcpListener;

    use super::super::message::tests::message;
    use super::*;
    use crate::domain::notify::NOTIFY_TIMEOUT;
    use crate::domain::plan::Secret;

    /// A request as it came: path, `Authorization`, body.
    type Seen = (String, Option<String>, Value);

    #[derive(Clone, Default)]
    struct Receiver {
        status: StatusCode,
        retry_after: &'static str,
        seen: Arc<Mutex<Vec<Seen>>>,
    }

    async fn take(State(to): State<Receiver>, uri: Uri, headers: HeaderMap, body: Bytes) -> impl IntoResponse + use<> {
        let key = headers.get("authorization").map(|key| key.to_str().expect("is text").to_owned());
        let body = serde_json::from_slice(&body).expect("is JSON");
        to.seen.lock().expect("no panic").push((uri.path().to_owned(), key, body));
        (to.status, [("retry-after", to.retry_after)])
    }

    /// The address of a receiver.
    async fn listen(receiver: Receiver) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let app = Router::new().fallback(take).with_state(receiver);
        tokio::spawn(async move { axum::serve(listener, app).await });
        url
    }

    fn plan(url: &str) -> NotifyPlan {
        let headers = vec![("authorization".to_owned(), Secret::new("Basic abc"))];
        let webhook = WebhookPlan { url: Secret::new(format!("{url}/hook")), headers, timeout: NOTIFY_TIMEOUT };
        let token = Some(Secret::new("glsa_1"));
        let grafana = GrafanaPlan { url: url.to_owned(), token, timeout: NOTIFY_TIMEOUT };
        NotifyPlan { webhook: Some(webhook), grafana: Some(grafana) }
    }

    #[tokio::test]
    async fn each_place_gets_its_form_and_its_key() {
        let receiver = Receiver::default();
        let plan = plan(&listen(receiver.clone()).await);
        let (http, message) = (client().expect("a client"), message(Vec::new()));
        for &sink in Sink::ALL {
            assert_eq!(send(sink, &http, &plan, &message).await, Ok(()));
        }
        let seen = receiver.seen.lock().expect("no panic").clone();
        let expected = [
            ("/hook".to_owned(), Some("Basic abc".to_owned()), message.json()),
            ("/api/annotations".to_owned(), Some("Bearer glsa_1".to_owned()), message.annotation()),
        ];
        assert_eq!(seen, expected);
        assert_eq!(send(Sink::Webhook, &http, &NotifyPlan::default(), &message).await, Ok(()), "nobody is told");
    }

    #[tokio::test]
    async fn a_fault_says_whether_to_try_again_and_nothing_of_the_address() {
        let (http, message) = (client().expect("a client"), message(Vec::new()));
        let check = async |status: StatusCode, retry_after, is_transient, wait: Option<u64>| {
            let url = listen(Receiver { status, retry_after, ..Receiver::default() }).await;
            let fault = send(Sink::Webhook, &http, &plan(&url), &message).await.expect_err("is refused");
            assert_eq!((fault.is_transient, fault.wait), (is_transient, wait.map(Duration::from_secs)), "{fault}");
        };
        check(StatusCode::BAD_GATEWAY, "", true, None).await;
        check(StatusCode::TOO_MANY_REQUESTS, "7", true, Some(7)).await;
        check(StatusCode::TOO_MANY_REQUESTS, "99999", true, Some(300)).await;
        check(StatusCode::FORBIDDEN, "", false, None).await;
        check(StatusCode::TEMPORARY_REDIRECT, "", false, None).await;
        let unreached = send(Sink::Webhook, &http, &plan("http://127.0.0.1:1/secret"), &message).await;
        let expected = Fault { reason: "cannot be reached".to_owned(), is_transient: true, wait: None };
        assert_eq!(unreached, Err(expected));
    }
}
