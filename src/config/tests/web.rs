//! The web configuration: what its keys come to, what is refused, and what promtool says.

use proptest::prelude::*;

use super::super::load::web_from_file;
use crate::domain::web::{ClientCertificates, TlsVersion, WebPlan};

const HASH: &str = "$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi";

/// A folder with a certificate that signed itself, and its key.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("has a place");
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("can be made");
    for (name, text) in [("crt", made.cert.pem()), ("key", made.signing_key.serialize_pem()), ("ca", made.cert.pem())] {
        std::fs::write(folder.path().join(name), text).expect("can be written");
    }
    folder
}

fn read(folder: &tempfile::TempDir, yaml: &str) -> Result<WebPlan, String> {
    let file = folder.path().join("web.yml");
    std::fs::write(&file, yaml).expect("can be written");
    let place = format!("{}/", folder.path().display());
    web_from_file(&file).map_err(|problems| problems.to_string().replace(&place, ""))
}

#[track_caller]
fn check_refused(yaml: &str, expected: &str) {
    assert_eq!(read(&folder(), yaml).expect_err(yaml), expected, "\n{yaml}");
}

#[test]
fn an_empty_file_guards_nothing() {
    for yaml in ["", "tls_server_config:\nbasic_auth_users:\n", "http_server_config: {headers: {}}"] {
        assert_eq!(read(&folder(), yaml), Ok(WebPlan::default()), "{yaml}");
    }
}

#[test]
fn every_key_comes_to_something() {
    let folder = folder();
    let yaml = format!(
        "tls_server_config:\n  cert_file: crt\n  key_file: key\n  client_auth_type: RequireAndVerifyClientCert\n  \
         client_ca_file: ca\n  min_version: TLS13\n  max_version: TLS13\nhttp_server_config:\n  http2: false\n  headers:\n    \
         strict-transport-security: max-age=1\n    X-Frame-Options: deny\nbasic_auth_users:\n  ann: {HASH}\n\
         unauthenticated_paths: [/-/healthy]\n"
    );
    let plan = read(&folder, &yaml).expect("is sound");
    let text = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect("is there");
    let tls = plan.tls.expect("is planned");
    assert_eq!((tls.certificates, tls.key.reveal().to_owned()), (text("crt"), text("key")));
    assert_eq!(tls.clients, ClientCertificates::Required { authorities: text("ca") });
    assert_eq!((tls.least, tls.most), (TlsVersion::Tls13, TlsVersion::Tls13));
    let headers = [("X-Frame-Options", "deny"), ("Strict-Transport-Security", "max-age=1")];
    assert_eq!(plan.headers, headers.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!(plan.users.get("ann").map(crate::domain::plan::Secret::reveal), Some(HASH));
    assert_eq!(plan.open_paths, ["/-/healthy"]);
}

#[test]
fn certificates_may_stand_in_the_file() {
    let folder = folder();
    let indented = |name: &str| {
        let text = std::fs::read_to_string(folder.path().join(name)).expect("is there");
        text.lines().map(|line| format!("    {line}\n")).collect::<String>()
    };
    let yaml = format!("tls_server_config:\n  cert: |\n{}  key: |\n{}", indented("crt"), indented("key"));
    let tls = read(&folder, &yaml).expect("is sound").tls.expect("is planned");
    assert_eq!((tls.clients, tls.least, tls.most), (ClientCertificates::Unasked, TlsVersion::Tls12, TlsVersion::Tls13));
}

#[test]
fn what_is_not_understood_is_refused() {
    check_refused(
        "basic_auth_user: {a: b}",
        "web.yml:1: basic_auth_user: unknown key; hint: did you mean `basic_auth_users`?",
    );
    check_refused(
        "tls_server_config: {cert_file: crt, key_file: key, cipher_suites: [TLS_AES_128_GCM_SHA256]}",
        "web.yml:1: tls_server_config.cipher_suites: unknown key; hint: known here: cert, cert_file, key, key_file, \
         client_auth_type, client_ca, client_ca_file, min_version, max_version",
    );
    check_refused(
        "tls_server_config:\n  client_auth_type: RequireAnyClientCert",
        "web.yml:1: tls_server_config.cert: is missing, and so is `cert_file`; hint: add `cert_file: server.crt`\n\
         web.yml:1: tls_server_config.key: is missing, and so is `key_file`; hint: add `key_file: server.key`\n\
         web.yml:2: tls_server_config.client_auth_type: must be NoClientCert or VerifyClientCertIfGiven or \
         RequireAndVerifyClientCert, not `RequireAnyClientCert`",
    );
    check_refused(
        "tls_server_config:\n  cert_file: key\n  key_file: crt\n  min_version: TLS13\n  max_version: TLS12",
        "web.yml:2: tls_server_config.cert_file: holds no certificate; hint: it begins with -----BEGIN CERTIFICATE-----\n\
         web.yml:3: tls_server_config.key_file: holds no private key; hint: it begins with -----BEGIN PRIVATE KEY----- \
         or the like\nweb.yml:5: tls_server_config.max_version: must not be below min_version",
    );
    check_refused(
        "tls_server_config: {cert_file: crt, key_file: key, client_ca_file: ca}",
        "web.yml:1: tls_server_config.client_auth_type: means nothing without an authority, nor an authority without \
         it; hint: give `client_auth_type` and `client_ca_file`, or neither",
    );
    check_refused(
        "http_server_config: {headers: {Server: x}}",
        "web.yml:1: http_server_config.headers.Server: is no header that can be set; hint: known here: \
         Content-Security-Policy, Strict-Transport-Security, X-Content-Type-Options, X-Frame-Options, X-XSS-Protection",
    );
    check_refused(
        "unauthenticated_paths: [x]",
        "web.yml:1: unauthenticated_paths[0]: must start with /; hint: such as /-/healthy",
    );
}

#[test]
fn a_password_in_the_place_of_its_hash_is_refused_and_not_repeated() {
    let hint = "htpasswd -nBC 10 \"\" | tr -d ':\\n' makes one";
    let fault = "must be a bcrypt hash of the password, not the password";
    check_refused(
        "basic_auth_users: {ann: hunter2}",
        &format!("web.yml:1: basic_auth_users.ann: {fault}; hint: {hint}"),
    );
}

proptest! {
    #[test]
    fn no_text_panics(words in prop::collection::vec(prop::sample::select(vec![
        "tls_server_config", "cert_file", "cert", "key", "http_server_config", "headers", "basic_auth_users", "ann",
        "unauthenticated_paths", HASH, "TLS13", "X-Frame-Options", ":", ": ", "\n", "\n  ", "- ", "{", "}", "[", "]", "&a ",
        "*a", "<<: *a", "|", "\"", "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----", "AAAA",
    ]), 0..40)) {
        if let Err(problems) = read(&folder_of_nothing(), &words.concat()) {
            prop_assert!(!problems.is_empty());
        }
    }
}

fn folder_of_nothing() -> tempfile::TempDir {
    tempfile::tempdir().expect("has a place")
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let problems = web_from_file(std::path::Path::new("no/web.yml")).expect_err("is not there").to_string();
    assert!(problems.starts_with("no/web.yml: cannot be read: No such file"), "{problems}");
}
