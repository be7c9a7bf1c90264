//! The connection to one server: pool, headers, TLS, and what its errors mean.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONNECTION, HeaderMap, HeaderName, HeaderValue};
use tokio::time::timeout;

use super::identify::Identified;
use crate::domain::plan::{Api, Connection, Secret};
use crate::domain::{FailureKind, RequestFailure};

/// The answer to an identity probe is read up to this many bytes.
const PROBE_LIMIT: usize = 1 << 20;
/// A probe is given up after this long: it must not hold up the soak.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// Idle connections are closed before servers close theirs: llama.cpp does after 5 s.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// Why no client could be made for a connection.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("tls.ca_file {path}: {reason}")]
    CaFile { path: String, reason: String },
    #[error("headers.{name}: not a valid HTTP header")]
    Header { name: String },
    #[error("api_key: holds characters that no HTTP header can carry")]
    ApiKey,
    #[error("cannot set up the HTTP client: {0}")]
    Http(#[from] reqwest::Error),
}

/// Speaks to one server. Cheap to clone; clones share one connection pool.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    api: Api,
    /// Values that must not come back in what is told of an error.
    secrets: Arc<[Secret]>,
}

impl Client {
    /// Connects lazily: no byte is sent here.
    pub fn new(connection: &Connection) -> Result<Self, ClientError> {
        // The HTTP library takes the process' provider. One that is there already is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .default_headers(headers(connection)?)
            .user_agent(concat!("llmsoak/", env!("CARGO_PKG_VERSION")))
            // A redirected POST would carry prompts and keys to somebody else.
            .redirect(reqwest::redirect::Policy::none())
            // A retry inside a measurement would hide what it measures.
            .retry(reqwest::retry::never())
            .referer(false)
            .no_proxy()
            .http1_only()
            .tcp_nodelay(true)
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .connect_timeout(connection.connect_timeout)
            .tls_danger_accept_invalid_certs(connection.tls_insecure_skip_verify);
        if let Some(path) = &connection.tls_ca_file {
            let fault = |reason: String| ClientError::CaFile { path: path.display().to_string(), reason };
            let pem = std::fs::read(path).map_err(|error| fault(error.to_string()))?;
            let certificates = reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| fault(error.to_string()))?;
            builder = builder.tls_certs_merge(certificates);
        }
        let headers = connection.headers.iter().map(|(_, value)| value.clone());
        let secrets = headers.chain(connection.api_key.clone()).filter(|secret| !secret.reveal().is_empty());
        let secrets = secrets.collect();
        Ok(Self { http: builder.build()?, base: connection.url.clone(), api: connection.api, secrets })
    }

    pub fn api(&self) -> Api {
        self.api
    }

    /// A request to be sent. `alone` gives it a connection of its own.
    pub(super) fn post(&self, path: &str, body: Vec<u8>, alone: bool) -> reqwest::RequestBuilder {
        let request = self.http.post(format!("{}{path}", self.base));
        let request = if alone { request.header(CONNECTION, "close") } else { request };
        request
            .header(reqwest::header::CONTENT_TYPE, "application/json")
            .header(reqwest::header::ACCEPT, "text/event-stream, application/x-ndjson")
            .body(body)
    }

    /// Asks one identity endpoint. Any answer is one, whatever its status.
    pub(super) async fn probe(&self, path: &str) -> Result<Probed, RequestFailure> {
        let ask = async {
            // A connection of its own: some servers close theirs after an answer without a word,
            // and a probe must not fail of that.
            let response = self.http.get(format!("{}{path}", self.base)).header(CONNECTION, "close").send().await;
            let response = response.map_err(|error| classify(&error))?;
            let status = response.status();
            let server = response.headers().get(reqwest::header::SERVER).and_then(|value| value.to_str().ok());
            let server = server.unwrap_or_default().to_owned();
            let body = read_bounded(response, PROBE_LIMIT).await;
            Ok(Probed { status: status.as_u16(), server, body })
        };
        let late = |_| RequestFailure::new(FailureKind::TimeoutTotal, format!("no answer to {path} in 2 s"));
        timeout(PROBE_TIMEOUT, ask).await.map_err(late)?
    }

    /// Finds out what kind of server answers, and what it tells of itself.
    pub async fn identify(&self, model: Option<&str>) -> Result<Identified, RequestFailure> {
        super::identify::identify(self, model).await.map_err(|failure| self.redacted(failure))
    }

    /// The failure without secrets: some servers and proxies repeat what they were sent.
    pub(super) fn redacted(&self, mut failure: RequestFailure) -> RequestFailure {
        for secret in self.secrets.iter() {
            failure.detail = failure.detail.replace(secret.reveal(), "<secret>");
        }
        failure
    }
}

impl Probed {
    pub(super) fn succeeded(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// The answer to an identity probe.
pub(super) struct Probed {
    pub(super) status: u16,
    /// The `Server` header.
    pub(super) server: String,
    pub(super) body: Vec<u8>,
}

fn headers(connection: &Connection) -> Result<HeaderMap, ClientError> {
    let mut headers = HeaderMap::new();
    if let Some(key) = &connection.api_key {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", key.reveal())).map_err(|_| ClientError::ApiKey)?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    for (name, value) in &connection.headers {
        let fault = || ClientError::Header { name: name.clone() };
        let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| fault())?;
        let mut value = HeaderValue::from_str(value.reveal()).map_err(|_| fault())?;
        value.set_sensitive(true);
        headers.insert(parsed, value);
    }
    Ok(headers)
}

/// Reads at most `limit` bytes of a body; what breaks off is what was read.
pub(super) async fn read_bounded(mut response: reqwest::Response, limit: usize) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(Some(bytes)) = response.chunk().await {
        let room = limit - body.len();
        body.extend(bytes.iter().take(room));
        if bytes.len() >= room {
            break;
        }
    }
    body
}

/// Names a transport error.
pub(super) fn classify(error: &reqwest::Error) -> RequestFailure {
    let causes: Vec<&(dyn std::error::Error + 'static)> =
        std::iter::successors(error.source(), |&cause| cause.source()).collect();
    // The last cause says it best; the first lines repeat the URL.
    let detail = causes.last().map_or_else(|| error.to_string(), ToString::to_string);
    let kind = if error.is_connect() || error.is_dns() {
        if error.is_dns() {
            FailureKind::Dns
        } else if error.is_timeout() {
            FailureKind::TimeoutConnect
        } else if causes.iter().any(|cause| is_tls(*cause)) {
            FailureKind::Tls
        } else {
            FailureKind::Connect
        }
    } else if causes.iter().any(|cause| is_broken_connection(*cause)) {
        FailureKind::Reset
    } else {
        FailureKind::Protocol
    };
    RequestFailure::new(kind, detail)
}

fn is_tls(cause: &(dyn std::error::Error + 'static)) -> bool {
    // An I/O error hides the error that it wraps from the chain of causes, and may wrap another.
    let wrapped = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    cause.is::<rustls::Error>() || wrapped.is_some_and(|inner| is_tls(inner))
}

fn is_broken_connection(cause: &(dyn std::error::Error + 'static)) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    let io = cause.downcast_ref::<std::io::Error>();
    // Hyper's own words for a connection that closed before the message was complete.
    io.is_some_and(|error| matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof))
        || cause.to_string().contains("connection closed before message completed")
}
