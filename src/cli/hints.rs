//! What a user can do about a server that does not answer as it should.

use crate::domain::{FailureKind, RequestFailure};

/// Whether the server wants a key, or another one.
pub(super) fn wants_key(failure: &RequestFailure) -> bool {
    failure.kind == FailureKind::Http4xx && ["401", "403"].iter().any(|status| failure.detail.starts_with(status))
}

/// The mend for what stands between here and a model server; `None` where the server's own
/// words say it all.
pub(super) fn hint(failure: &RequestFailure) -> Option<&'static str> {
    Some(match failure.kind {
        FailureKind::Dns => "is the host's name spelt right?",
        FailureKind::Connect => {
            "is the server started, and on this port? \
             Usual are 11434 for Ollama, 8080 for llama.cpp, 8000 for vLLM, 30000 for SGLang, 1234 for LM Studio"
        }
        FailureKind::TimeoutConnect => "is the address right, and no firewall in between?",
        FailureKind::Tls => {
            "a server without TLS is reached by http://; where the certificate is of an authority of your own, \
             name it in targets[].tls.ca_file, or in SSL_CERT_FILE where there is no configuration yet"
        }
        FailureKind::Reset => "a server with TLS is reached by https://",
        FailureKind::TimeoutTotal | FailureKind::TimeoutFirstToken | FailureKind::TimeoutBetweenTokens => {
            "is the server busy, or still loading its model? Try again when it is not"
        }
        FailureKind::Http5xx | FailureKind::RateLimited => "the server is not ready; try again when it is",
        FailureKind::Protocol => {
            "is it a model server? Its address ends before /v1 or /api; a path before those belongs to it"
        }
        FailureKind::Http4xx if failure.detail.starts_with("404") => {
            "is the model's name right? A service without /v1/completions needs `endpoint: chat`"
        }
        _ => return None,
    })
}
