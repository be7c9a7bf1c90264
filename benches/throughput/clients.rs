//! The clients that are compared: llmsoak's own, and two floors that no client gets far below.
//!
//! The floors do as little as a client can: a hyper client that only counts events, and a
//! reqwest client with a typed parse of each. Every client says when it sent and what it saw.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use llmsoak::client::{Client, Timeline, Timeouts};
use llmsoak::domain::GenerateRequest;
use llmsoak::domain::plan::{Api, Connection, RequestPlan};
use llmsoak::soak::{Backend as _, HttpBackend};
use tokio::net::TcpStream;

use super::clock::{nanoseconds, now};

pub(crate) const TIMEOUTS: Timeouts = Timeouts {
    first_token: Duration::from_secs(60),
    between_tokens: Duration::from_secs(60),
    total: Duration::from_secs(600),
};

/// What a client saw of one request. Times are of the monotonic clock, nanoseconds.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) seed: u32,
    pub(crate) sent: u64,
    pub(crate) ended: u64,
    /// When each token was seen.
    pub(crate) stamps: Vec<u64>,
    /// As the client counts them in the end.
    pub(crate) tokens: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Hyper,
    Reqwest,
    Llmsoak,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Hyper => "hyper floor",
            Self::Reqwest => "reqwest + serde",
            Self::Llmsoak => "llmsoak",
        }
    }
}

/// A client that is ready to send. Cheap to clone.
#[derive(Clone)]
pub(crate) enum Subject {
    Hyper { address: String, path: String },
    Reqwest { http: reqwest::Client, url: String },
    Llmsoak { backend: Arc<HttpBackend>, timeline: Arc<Timeline>, origin: u64 },
}

/// llmsoak's client of that server, which has been asked who it is.
pub(crate) async fn backend(url: &str, output_tokens: u32) -> Arc<HttpBackend> {
    let connection = Connection {
        url: url.to_owned(),
        api: Api::OpenAi,
        connect_timeout: Duration::from_secs(5),
        ..Connection::default()
    };
    let plan = RequestPlan { endpoint: llmsoak::domain::Endpoint::Chat, output_tokens, ..RequestPlan::default() };
    let client = Client::new(&connection).expect("a client");
    let backend = Arc::new(HttpBackend::new(client, None, Arc::new(plan)));
    backend.identify().await.expect("the server answers");
    backend
}

impl Subject {
    pub(crate) async fn new(kind: Kind, url: &str, output_tokens: u32) -> Self {
        match kind {
            Kind::Hyper => {
                let rest = url.trim_start_matches("http://");
                let (address, path) = rest.split_once('/').expect("a path");
                Self::Hyper { address: address.to_owned(), path: format!("/{path}/v1/chat/completions") }
            }
            Kind::Reqwest => {
                let builder = reqwest::Client::builder().no_proxy().tcp_nodelay(true).http1_only();
                Self::Reqwest { http: builder.build().expect("a client"), url: format!("{url}/v1/chat/completions") }
            }
            Kind::Llmsoak => {
                let backend = backend(url, output_tokens).await;
                let timeline = Arc::new(Timeline::start());
                let origin = now() - nanoseconds(timeline.now());
                Self::Llmsoak { backend, timeline, origin }
            }
        }
    }

    /// Sends one request and reads it to its end.
    pub(crate) async fn stream(&self, request: &GenerateRequest) -> Seen {
        match self {
            Self::Hyper { address, path } => hyper_floor(address, path, request).await,
            Self::Reqwest { http, url } => reqwest_floor(http, url, request).await,
            Self::Llmsoak { backend, timeline, origin } => {
                let record = backend.generate(request, timeline, Duration::ZERO, TIMEOUTS).await;
                assert!(record.succeeded(), "{:?}", record.failure);
                let at = |offset: Duration| origin + nanoseconds(offset);
                Seen {
                    seed: request.seed,
                    sent: at(record.sent),
                    ended: at(record.ended),
                    stamps: record.chunks.iter().map(|chunk| at(chunk.at)).collect(),
                    tokens: record.tokens.output,
                }
            }
        }
    }
}

/// A request that asks for so many tokens, by the name of `seed`.
pub(crate) fn request(seed: u32, output_tokens: u32) -> GenerateRequest {
    let prompt = "write a very long and detailed story with many scenes and people in it ".repeat(4);
    GenerateRequest { prompt, output_tokens, seed }
}

fn body(request: &GenerateRequest) -> String {
    let GenerateRequest { prompt, output_tokens, seed } = request;
    format!(
        r#"{{"model":"truth","stream":true,"max_tokens":{output_tokens},"seed":{seed},"messages":[{{"role":"user","content":"{prompt}"}}]}}"#
    )
}

async fn hyper_floor(address: &str, path: &str, request: &GenerateRequest) -> Seen {
    let stream = TcpStream::connect(address).await.expect("the server accepts");
    stream.set_nodelay(true).expect("TCP");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("HTTP");
    tokio::spawn(connection);
    let post = hyper::Request::post(path).header("host", address).header("content-type", "application/json");
    let post = post.body(Full::new(Bytes::from(body(request)))).expect("a request");
    let most = request.output_tokens as usize;
    let mut stamps = Vec::with_capacity(most);
    let sent = now();
    let mut body = sender.send_request(post).await.expect("an answer").into_body();
    while let Some(frame) = body.frame().await {
        let at = now();
        let Ok(data) = frame.expect("no break").into_data() else { continue };
        let events = memchr::memmem::find_iter(&data, b"\n\n").count();
        stamps.extend(std::iter::repeat_n(at, events.min(most - stamps.len())));
    }
    Seen { seed: request.seed, sent, ended: now(), tokens: stamps.len() as u64, stamps }
}

#[derive(serde::Deserialize)]
struct Chunk {
    choices: Vec<Choice>,
    usage: Option<Usage>,
}

#[derive(serde::Deserialize)]
struct Choice {
    delta: Delta,
    #[serde(rename = "finish_reason")]
    _finish_reason: Option<String>,
}

#[derive(serde::Deserialize)]
struct Delta {
    content: Option<String>,
}

#[derive(serde::Deserialize)]
struct Usage {
    completion_tokens: u64,
}

async fn reqwest_floor(http: &reqwest::Client, url: &str, request: &GenerateRequest) -> Seen {
    let post = http.post(url).header("content-type", "application/json").body(body(request));
    let mut stamps = Vec::with_capacity(request.output_tokens as usize);
    let (mut tokens, mut kept) = (0, Vec::new());
    let sent = now();
    let mut response = post.send().await.expect("an answer");
    while let Some(data) = response.chunk().await.expect("no break") {
        let at = now();
        kept.extend_from_slice(&data);
        let mut begin = 0;
        while let Some(end) = memchr::memmem::find(&kept[begin..], b"\n\n") {
            let payload = kept[begin..begin + end].strip_prefix(b"data: ").expect("an event");
            begin += end + 2;
            if payload == b"[DONE]" {
                continue;
            }
            let chunk: Chunk = serde_json::from_slice(payload).expect("JSON");
            let content = chunk.choices.first().and_then(|choice| choice.delta.content.as_ref());
            if content.is_some_and(|text| !text.is_empty()) {
                stamps.push(at);
            }
            tokens = chunk.usage.map_or(tokens, |usage| usage.completion_tokens);
        }
        kept.drain(..begin);
    }
    Seen { seed: request.seed, sent, ended: now(), stamps, tokens }
}
