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
use super::decode;
use super::identify::Identified;
use super::occupancy::ShutDoors;
use super::secrets::Secrets;
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
    secrets: Arc<ArcSwap<Secrets>>,
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
        let secrets = Secrets::of(connection.headers.iter().map(|(_, value)| value));
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
            self.secrets.rcu(|known| known.and(key));
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

    /// A server's words without the secrets that it was sent. Of all its words, before they are cut:
    /// half a secret is found no more.
    pub(super) fn redacted_words(&self, words: &str) -> String {
        self.secrets.load().hidden_in(words)
    }

    /// The words of an error answer's body, without secrets.
    pub(super) fn error_words(&self, body: &[u8]) -> String {
        self.redacted_words(&decode::error_words(body))
    }

    /// The failure without secrets.
    pub(super) fn redacted(&self, mut failure: RequestFailure) -> RequestFailure {
        failure.detail = self.redacted_words(&failure.detail);
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
                if bytes.len() > room {
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
    use crate::client::scripted::Scripted;

    fn at(url: &str) -> Client {
        Client::new(&Connection { url: url.to_owned(), ..Connection::default() }).expect("a client")
    }

    #[tokio::test]
    async fn a_key_is_sent_with_every_request_until_another_one_is_set() {
        let server = Scripted::start(|_| (200, "", 0)).await;
        let client = &server.client;
        for key in [None, Some("first"), Some("second"), None] {
            client.set_key(key.map(Secret::new).as_ref()).expect("fits a header");
            client.probe("/page").await.expect("an answer");
            client.post("/text", b"{}".to_vec(), true).send().await.expect("an answer");
            let requests = server.requests();
            assert_eq!(requests.len(), 2);
            for request in requests {
                let sent = request.head.lines().find_map(|line| line.strip_prefix("authorization: bearer "));
                assert_eq!(sent, key, "{}", request.head);
            }
        }
        assert!(matches!(client.set_key(Some(&Secret::new("a\nb"))), Err(ClientError::ApiKey)));
    }

    #[test]
    fn a_header_that_cannot_be_sent_is_named() {
        for (name, value) in [("x y", "z"), ("x", "y\nz")] {
            let headers = vec![(name.to_owned(), Secret::new(value))];
            let error = Client::new(&Connection { headers, ..Connection::default() }).expect_err("unsound");
            assert_eq!(error.to_string(), format!("headers.{name}: not a valid HTTP header"));
        }
    }

    #[tokio::test]
    async fn headers_are_sent_and_their_values_are_secret() {
        let secret = |text: &str| Secret::new(text);
        let headers = vec![("X-Team".to_owned(), secret("seventeen")), ("X-None".to_owned(), secret(""))];
        let server = Scripted::start(|_| (200, "", 0)).await;
        let url = server.client.base.clone();
        let client = Client::new(&Connection { url, headers, ..Connection::default() }).expect("a client");
        client.probe("/").await.expect("an answer");
        assert!(server.requests()[0].head.contains("x-team: seventeen"));
        let told = client.redacted(RequestFailure::new(FailureKind::Http4xx, "who is seventeen?"));
        assert_eq!(told.detail, "who is <secret>?");
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_its_limit() {
        for (missing, limit, expected) in
            [(0, 6, ("abcdef", true)), (0, 7, ("abcdef", true)), (0, 5, ("abcde", false)), (3, 7, ("abcdef", false))]
        {
            let server = Scripted::start(move |_| (200, "abcdef", missing)).await;
            let response = server.client.post("/", Vec::new(), true).send().await.expect("a head");
            let (body, is_whole) = read_bounded(response, limit).await;
            assert_eq!((std::str::from_utf8(&body).expect("letters"), is_whole), expected, "{missing} {limit}");
        }
    }

    #[tokio::test]
    async fn a_body_of_many_reads_is_no_longer_than_its_limit() {
        let server = Scripted::start_raw(Api::OpenAi, |_, _| {
            vec![b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec(), vec![b'x'; 3 << 20]]
        });
        let response = server.await.client.post("/", Vec::new(), true).send().await.expect("a head");
        let (body, is_whole) = read_bounded(response, PROBE_LIMIT).await;
        assert_eq!((body.len(), is_whole), (PROBE_LIMIT, false));
    }

    #[test]
    fn causes_are_told_apart_however_they_are_wrapped() {
        use std::io::{Error, ErrorKind};
        let tls = || rustls::Error::DecryptError;
        assert!(is_tls(&tls()));
        assert!(is_tls(&Error::other(Error::other(tls()))));
        assert!(!is_tls(&Error::other("no")));
        for kind in
            [ErrorKind::BrokenPipe, ErrorKind::ConnectionAborted, ErrorKind::ConnectionReset, ErrorKind::UnexpectedEof]
        {
            assert!(is_broken_connection(&Error::from(kind)), "{kind}");
        }
        assert!(is_broken_connection(&Error::other("connection closed before message completed")));
        assert!(!is_broken_connection(&Error::from(ErrorKind::InvalidData)));
    }

    #[test]
    fn what_succeeded_has_a_status_of_two_hundred() {
        for (status, expected) in [(199, false), (200, true), (299, true), (300, false)] {
            let probed = Probed { status, server: String::new(), body: Vec::new(), is_whole: true };
            assert_eq!(probed.succeeded(), expected, "{status}");
        }
    }

    #[test]
    fn this_machine_is_known_by_its_addresses() {
        // The last is this machine's too, and no loopback address.
        for url in
            ["http://localhost:1", "http://127.0.0.1:1", "https://127.9.9.9/v1", "http://[::1]:1", "http://0.0.0.0:1"]
        {
            assert!(at(url).is_on_this_machine(), "{url}");
        }
        // Addresses that are nobody's (RFC 5737), and names that may be anybody's.
        for url in ["http://192.0.2.1:1", "http://example.org", "http://localhost.example.org", "no url"] {
            assert!(!at(url).is_on_this_machine(), "{url}");
        }
    }

    #[tokio::test]
    async fn any_answer_shows_that_somebody_listens() {
        let server = Scripted::start(|_| (500, "", 0)).await;
        assert!(server.client.is_answered().await);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        drop(listener);
        assert!(!at(&url).is_answered().await);
    }

    #[tokio::test]
    async fn what_the_server_repeats_of_a_key_is_hidden() {
        let server = Scripted::start(|_| (401, r#"{"error":"no such key: hush-hush"}"#, 0)).await;
        server.client.set_key(Some(&Secret::new("hush-hush"))).expect("fits a header");
        let failure = server.client.identify(None).await.expect_err("refused");
        assert!(failure.detail.contains("no such key: <secret>"), "{failure}");
    }

    #[test]
    fn every_key_that_was_used_stays_a_secret_and_is_kept_once() {
        let client = Client::new(&Connection::default()).expect("a client");
        for key in ["first-key", "second-key", "second-key", "first-key"] {
            client.set_key(Some(&Secret::new(key))).expect("fits a header");
        }
        client.set_key(None).expect("no key");
        let told = client.redacted(RequestFailure::new(FailureKind::Http4xx, "first-key, then second-key"));
        assert_eq!(told.detail, "<secret>, then <secret>");
        assert_eq!(client.secrets.load().count(), 2);
    }
}
