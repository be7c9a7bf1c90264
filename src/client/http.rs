//! The connection to one server: pool, headers, TLS, and what its errors mean.

use std::error::Error as _;
use std::net::{IpAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use reqwest::header::{AUTHORIZATION, CONNECTION, HeaderMap, HeaderName, HeaderValue};
use tokio::time::timeout;
use tower::util::MapFutureLayer;

use super::connect;
use super::identify::Identified;
use super::occupancy::ShutDoors;
use crate::domain::plan::{Api, Authorities, Connection, Secret};
use crate::domain::{FailureKind, RequestFailure};

/// The answer to a probe is read up to this many bytes.
pub(super) const PROBE_LIMIT: usize = 1 << 20;
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
    /// The bearer token as a header; may change on the disk while the program runs.
    key: Arc<ArcSwapOption<HeaderValue>>,
    /// Values that must not come back in what is told of an error.
    secrets: Arc<ArcSwap<Vec<Secret>>>,
    pub(super) shut_doors: Arc<ShutDoors>,
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
            .connector_layer(MapFutureLayer::new(connect::noted))
            .tls_danger_accept_invalid_certs(connection.tls_insecure_skip_verify);
        if let Some(Authorities { file, pem }) = &connection.tls_authorities {
            let fault = |reason: String| ClientError::CaFile { path: file.display().to_string(), reason };
            let certificates = reqwest::Certificate::from_pem_bundle(pem.as_bytes());
            let certificates = certificates.map_err(|error| fault(error.to_string()))?;
            builder = builder.tls_certs_merge(certificates);
        }
        let secrets = connection.headers.iter().map(|(_, value)| value.clone());
        let secrets: Vec<Secret> = secrets.filter(|secret| !secret.reveal().is_empty()).collect();
        let client = Self {
            http: builder.build()?,
            base: connection.url.clone(),
            api: connection.api,
            key: Arc::default(),
            secrets: Arc::new(ArcSwap::from_pointee(secrets)),
            shut_doors: Arc::default(),
        };
        client.set_key(connection.api_key.as_ref())?;
        Ok(client)
    }

    /// Sends this key from now on; all clones do.
    pub fn set_key(&self, key: Option<&Secret>) -> Result<(), ClientError> {
        let header = key.map(bearer).transpose()?;
        if let Some(key) = key {
            // The last one stays a secret.
            self.secrets.rcu(|known| {
                let new = [key].into_iter().filter(|key| !known.contains(key));
                known.iter().chain(new).cloned().collect::<Vec<_>>()
            });
        }
        self.key.store(header.map(Arc::new));
        Ok(())
    }

    fn with_key(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        match self.key.load_full() {
            Some(key) => request.header(AUTHORIZATION, HeaderValue::clone(&key)),
            None => request,
        }
    }

    pub fn api(&self) -> Api {
        self.api
    }

    /// A request to be sent. `alone` gives it a connection of its own.
    pub(super) fn post(&self, path: &str, body: Vec<u8>, alone: bool) -> reqwest::RequestBuilder {
        let request = self.with_key(self.http.post(format!("{}{path}", self.base)));
        let request = if alone { request.header(CONNECTION, "close") } else { request };
        request
            .header(reqwest::header::CONTENT_TYPE, "application/json")
            .header(reqwest::header::ACCEPT, "text/event-stream, application/x-ndjson")
            .body(body)
    }

    /// Asks one page of the server. Any answer is one, whatever its status.
    pub(super) async fn probe(&self, path: &str) -> Result<Probed, RequestFailure> {
        let ask = async {
            // A connection of its own: some servers close theirs after an answer without a word,
            // and a probe must not fail of that.
            let request = self.with_key(self.http.get(format!("{}{path}", self.base)));
            let response = request.header(CONNECTION, "close").send().await;
            let response = response.map_err(|error| classify(&error))?;
            let status = response.status();
            let server = response.headers().get(reqwest::header::SERVER).and_then(|value| value.to_str().ok());
            let server = server.unwrap_or_default().to_owned();
            let (body, is_whole) = read_bounded(response, PROBE_LIMIT).await;
            Ok(Probed { status: status.as_u16(), server, body, is_whole })
        };
        let late = |_| RequestFailure::new(FailureKind::TimeoutTotal, format!("no answer to {path} in 2 s"));
        timeout(PROBE_TIMEOUT, ask).await.map_err(late)?
    }

    /// Whether the address can be of no other machine. A tunnel may lead elsewhere all the same.
    pub fn is_on_this_machine(&self) -> bool {
        let Ok(url) = reqwest::Url::parse(&self.base) else { return false };
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        // Nothing is sent: the system refuses an address that it does not have.
        let is_own = |address: IpAddr| address.is_loopback() || UdpSocket::bind((address, 0)).is_ok();
        host == "localhost" || host.parse().is_ok_and(is_own)
    }

    /// Whether anything listens at the address, whatever it says.
    pub async fn is_answered(&self) -> bool {
        !self.probe("/").await.is_err_and(|failure| failure.kind.is_out_of_reach())
    }

    /// Finds out what kind of server answers, and what it tells of itself.
    pub async fn identify(&self, model: Option<&str>) -> Result<Identified, RequestFailure> {
        self.shut_doors.forget();
        super::identify::identify(self, model).await.map_err(|failure| self.redacted(failure))
    }

    /// The failure without secrets: some servers and proxies repeat what they were sent.
    pub(super) fn redacted(&self, mut failure: RequestFailure) -> RequestFailure {
        for secret in self.secrets.load().iter() {
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

/// The answer to a probe.
pub(super) struct Probed {
    pub(super) status: u16,
    /// The `Server` header.
    pub(super) server: String,
    pub(super) body: Vec<u8>,
    /// Whether the body neither broke off nor was too long.
    pub(super) is_whole: bool,
}

fn bearer(key: &Secret) -> Result<HeaderValue, ClientError> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", key.reveal())).map_err(|_| ClientError::ApiKey)?;
    value.set_sensitive(true);
    Ok(value)
}

fn headers(connection: &Connection) -> Result<HeaderMap, ClientError> {
    let mut headers = HeaderMap::new();
    for (name, value) in &connection.headers {
        let fault = || ClientError::Header { name: name.clone() };
        let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| fault())?;
        let mut value = HeaderValue::from_str(value.reveal()).map_err(|_| fault())?;
        value.set_sensitive(true);
        headers.insert(parsed, value);
    }
    Ok(headers)
}

/// Reads at most `limit` bytes of a body, and says whether that is all; what breaks off is
/// what was read.
pub(super) async fn read_bounded(mut response: reqwest::Response, limit: usize) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(bytes)) => {
                let room = limit - body.len();
                body.extend(bytes.iter().take(room));
                if bytes.len() >= room {
                    return (body, false);
                }
            }
            Ok(None) => return (body, true),
            Err(_) => return (body, false),
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_that_was_used_stays_a_secret_and_is_kept_once() {
        let client = Client::new(&Connection::default()).expect("a client");
        for key in ["first", "second", "second", "first"] {
            client.set_key(Some(&Secret::new(key))).expect("fits a header");
        }
        client.set_key(None).expect("no key");
        let told = client.redacted(RequestFailure::new(FailureKind::Http4xx, "first, then second"));
        assert_eq!(told.detail, "<secret>, then <secret>");
        assert_eq!(client.secrets.load().len(), 2);
    }
}
