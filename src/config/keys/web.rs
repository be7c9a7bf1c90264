//! The web configuration: a file of its own, in the format of Prometheus' exporter-toolkit.
//!
//! The names of keys and words are that format's. What is not supported is refused, never
//! passed over: a file that promises more protection than there is must not be taken.

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;

use super::super::files::{PEM_BYTES, Surroundings};
use super::super::kind::{Choices, Kind, flag, one_of, text};
use super::super::problem::Fault;
use super::super::section::Section;
use super::super::tree::Value;
use super::super::value::HEADER_NAME;
use crate::domain::plan::Secret;
use crate::domain::web::{ClientCertificates, TlsPlan, TlsVersion, WebPlan};

/// A costlier hash would take more than a few seconds of a core for each new visitor.
const MOST_COST: u32 = 15;
/// The most paths that need no user.
const OPEN_PATHS: usize = 100;

const VERSIONS: Choices<TlsVersion> = &[("TLS12", TlsVersion::Tls12), ("TLS13", TlsVersion::Tls13)];

/// What is asked of clients, before it is known of which authority.
#[derive(Clone, Copy, PartialEq)]
enum Asked {
    Nothing,
    IfGiven,
    Always,
}

/// A certificate that is asked for and not verified proves nothing: those words are refused.
const ASKED: Choices<Asked> = &[
    ("NoClientCert", Asked::Nothing),
    ("VerifyClientCertIfGiven", Asked::IfGiven),
    ("RequireAndVerifyClientCert", Asked::Always),
];

/// The headers that the format knows, and the only value that some may have.
const HEADERS: [(&str, &[&str]); 5] = [
    ("Content-Security-Policy", &[]),
    ("Strict-Transport-Security", &[]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-XSS-Protection", &[]),
];

/// The whole file.
pub(in crate::config) fn web(root: &mut Section<'_>, around: Surroundings<'_>) -> WebPlan {
    let tls = root.section_if_given("tls_server_config", |s| tls(s, around)).flatten();
    let headers = root.section("http_server_config", |s| {
        // HTTP/1.1 alone is spoken, to which every client falls back: either value is kept.
        s.take("http2", flag());
        s.entries("headers", HEADER_NAME, text(), |name, value| header(name, &value))
    });
    let users = root.entries("basic_auth_users", "^[^:]+$", text(), user).into_iter().collect();
    WebPlan { tls, users, headers, open_paths: root.list("unauthenticated_paths", 0..=OPEN_PATHS, open_path()) }
}

fn tls(s: &mut Section<'_>, around: Surroundings<'_>) -> Option<TlsPlan> {
    let certificates = one_pem(s, ["cert", "cert_file"], around, check_certificates);
    let key = one_pem(s, ["key", "key_file"], around, check_key);
    s.require_one_of(["cert", "cert_file"], "add `cert_file: server.crt`");
    s.require_one_of(["key", "key_file"], "add `key_file: server.key`");
    let asked = s.take_or("client_auth_type", Asked::Nothing, one_of(ASKED));
    let authorities = one_pem(s, ["client_ca", "client_ca_file"], around, check_certificates);
    s.exclude("client_ca", "client_ca_file");
    let has_authorities = s.has("client_ca") || s.has("client_ca_file");
    if (asked != Asked::Nothing) != has_authorities {
        let fault = Fault::new("means nothing without an authority, nor an authority without it");
        s.complain("client_auth_type", fault.hint("give `client_auth_type` and `client_ca_file`, or neither"));
    }
    let least = s.take_or("min_version", TlsVersion::Tls12, one_of(VERSIONS));
    let most = s.take_or("max_version", TlsVersion::Tls13, one_of(VERSIONS));
    if least > most {
        s.complain("max_version", Fault::new("must not be below min_version"));
    }
    let clients = match (asked, authorities) {
        (Asked::IfGiven, Some(authorities)) => ClientCertificates::Checked { authorities },
        (Asked::Always, Some(authorities)) => ClientCertificates::Required { authorities },
        _ => ClientCertificates::Unasked,
    };
    Some(TlsPlan { certificates: certificates?, key: Secret::new(key?), clients, least, most })
}

/// What is written in the file itself, or in another one that it names.
fn one_pem(
    s: &mut Section<'_>,
    [inline, file]: [&'static str; 2],
    around: Surroundings<'_>,
    check: fn(&str) -> Result<(), Fault>,
) -> Option<String> {
    let sound = move |text: String| check(&text).map(|()| text);
    let inline = s.take(inline, pem().and_then(sound));
    let beside = s.take(file, around.pem_file().and_then(sound));
    inline.or(beside)
}

/// A text of many lines, such as a certificate. No message repeats it: it may be a key.
fn pem() -> Kind<'static, String> {
    let schema = json!({"type": "string", "minLength": 1, "maxLength": PEM_BYTES});
    Kind::new(schema, |node| match &node.value {
        Value::Text(text) if text.len() <= PEM_BYTES => Ok(text.clone()),
        Value::Text(_) => Err(Fault::new(format!("must be at most {PEM_BYTES} bytes long"))),
        other => Err(Fault::new(format!("must be text, not {}", other.kind()))),
    })
}

fn check_certificates(pem: &str) -> Result<(), Fault> {
    let mut count = 0;
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        certificate.map_err(|_| Fault::new("is not sound PEM"))?;
        count += 1;
    }
    let hint = "it begins with -----BEGIN CERTIFICATE-----";
    if count == 0 { Err(Fault::new("holds no certificate").hint(hint)) } else { Ok(()) }
}

fn check_key(pem: &str) -> Result<(), Fault> {
    let fault = |_| Fault::new("holds no private key").hint("it begins with -----BEGIN PRIVATE KEY----- or the like");
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).map(drop).map_err(fault)
}

fn header(name: &str, value: &str) -> Result<(String, String), Fault> {
    let known = HEADERS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    let Some((name, values)) = known else {
        let names: Vec<&str> = HEADERS.iter().map(|(name, _)| *name).collect();
        return Err(Fault::new("is no header that can be set").hint(format!("known here: {}", names.join(", "))));
    };
    if !values.is_empty() && !values.iter().any(|allowed| allowed.eq_ignore_ascii_case(value)) {
        return Err(Fault::new(format!("must be {}", values.join(" or "))));
    }
    reqwest::header::HeaderValue::try_from(value)
        .map_err(|_| Fault::new("has characters that a header cannot carry"))?;
    Ok(((*name).to_owned(), value.to_owned()))
}

/// A user with the hash of the password. No message repeats it.
fn user(name: &str, hash: String) -> Result<(String, Secret), Fault> {
    if name.is_empty() || name.contains(':') {
        return Err(Fault::new("no browser can send a user's name that is empty or has a colon"));
    }
    let parts: bcrypt::HashParts = hash.parse().map_err(|_| {
        let hint = "htpasswd -nBC 10 \"\" | tr -d ':\\n' makes one";
        Fault::new("must be a bcrypt hash of the password, not the password").hint(hint)
    })?;
    if parts.get_cost() > MOST_COST {
        return Err(Fault::new(format!("has a cost above {MOST_COST}")).hint("10 to 12 is usual"));
    }
    Ok((name.to_owned(), Secret::new(hash)))
}

fn open_path() -> Kind<'static, String> {
    text().with(json!({"pattern": "^/"})).and_then(|path| {
        if path.starts_with('/') { Ok(path) } else { Err(Fault::new("must start with /").hint("such as /-/healthy")) }
    })
}
