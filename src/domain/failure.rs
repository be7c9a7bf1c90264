//! The ways in which a request fails and a sample is rejected: closed lists with names.
//!
//! The names are label values and history columns; a name once used keeps its meaning.

use std::fmt;

use super::named::named;

named! {
    /// Why a request did not succeed.
    FailureKind {
        /// The host's name did not resolve.
        Dns = "dns",
        /// No TCP connection.
        Connect = "connect",
        /// No TLS session: a wrong certificate, say.
        Tls = "tls",
        TimeoutConnect = "timeout_connect",
        TimeoutFirstToken = "timeout_first_token",
        TimeoutBetweenTokens = "timeout_between_tokens",
        TimeoutTotal = "timeout_total",
        /// The connection broke in the middle of the answer.
        Reset = "reset",
        /// The stream ended cleanly without its terminal marker.
        Truncated = "truncated",
        /// As `truncated`, after the same text many times in a row: Ollama's silent stop.
        RepetitionStop = "repetition_stop",
        /// The answer is not what the protocol says.
        Protocol = "protocol",
        /// A line, or the answer as a whole, is beyond its bound.
        TooLarge = "too_large",
        Http3xx = "http_3xx",
        Http4xx = "http_4xx",
        /// 429.
        RateLimited = "rate_limited",
        Http5xx = "http_5xx",
        /// An error inside a stream that had begun with status 200.
        ServerError = "server_error",
        /// Given up before it was sent.
        NotStarted = "not_started",
        Cancelled = "cancelled",
    }
}

named! {
    /// Why a sample enters no estimate.
    InvalidReason {
        /// The measuring client was the limit: late timers, or no processor time left.
        ClientLimited = "client_limited",
        /// The server answered from a prefix cache.
        PrefixCache = "prefix_cache",
        /// The server loaded the model while it was measured.
        ModelLoad = "model_load",
        /// Somebody else used the server too.
        ForeignLoad = "foreign_load",
        /// Too many of its requests failed.
        FailedRequests = "failed_requests",
        /// Its answers were longer or shorter than is usual for its cell.
        OutputLength = "output_length",
        /// The server's slots, or the context of each, changed in it.
        SlotsChanged = "slots_changed",
        /// Something else of the server, its machine, or what commands and labels tell changed in it.
        EnvironmentChanged = "environment_changed",
        /// Dropped in the middle: the program stops, the target is paused, its window closes.
        Cancelled = "cancelled",
    }
}

impl FailureKind {
    /// Whether the server could not even be reached.
    pub const fn is_out_of_reach(self) -> bool {
        matches!(self, Self::Dns | Self::Connect | Self::Tls | Self::TimeoutConnect)
    }
}

/// A failed request: its kind for counting, its story for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestFailure {
    pub kind: FailureKind,
    /// What the server or the transport said, bounded in length; never a secret.
    pub detail: String,
}

/// The most characters of a server's words that are kept.
const DETAIL_CHARACTERS: usize = 300;

impl RequestFailure {
    pub fn new(kind: FailureKind, detail: impl AsRef<str>) -> Self {
        let detail =
            detail.as_ref().chars().map(|c| if c.is_control() { ' ' } else { c }).take(DETAIL_CHARACTERS).collect();
        Self { kind, detail }
    }
}

impl fmt::Display for RequestFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.detail)
    }
}
