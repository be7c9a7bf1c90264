//! The pages behind a web configuration file, and under visitors who mean no good.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use reqwest::{Certificate, Client, Identity, StatusCode};
use tokio::runtime::Runtime;

use crate::support::{Process, Stage, Target, eventually, get, scrape, simulator};
use crate::tools::tool;

/// Cheap, so that the tests are about something else.
const COST: u32 = 4;

fn users(password: &str) -> String {
    let hash = bcrypt::hash(password, COST).expect("can be hashed");
    format!("basic_auth_users: {{ann: {hash}}}\nunauthenticated_paths: [/-/healthy]\n")
}

/// Writes a certificate that signed itself with its key; the certificate.
pub(crate) fn certify(stage: &Stage, name: &str) -> String {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("can be made");
    stage.write(&format!("{name}.key"), &made.signing_key.serialize_pem());
    stage.write(&format!("{name}.crt"), &made.cert.pem());
    made.cert.pem()
}

/// A daemon whose pages a file guards.
fn daemon(stage: &Stage, sim: SocketAddr, guard: &str) -> (Process, SocketAddr) {
    let (web, config) = (stage.write("web.yml", guard), stage.configure(&[Target::at(sim)]));
    let storage = stage.storage().display().to_string();
    let mut process = Process::start(&[
        "run",
        "--config.file",
        &config,
        "--storage.path",
        &storage,
        "--web.listen-address",
        "127.0.0.1:0",
        "--web.config.file",
        &web,
    ]);
    let address = process.address();
    (process, address)
}

/// A daemon that nobody trusts: its pages are behind a certificate that signed itself.
pub(crate) fn behind_tls(stage: &Stage) -> (Process, SocketAddr) {
    certify(stage, "server");
    let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
    daemon(stage, nobody, "tls_server_config: {cert_file: server.crt, key_file: server.key}\n")
}

/// Asks with new connections, trusting one certificate, perhaps showing another.
struct Visitor {
    runtime: Runtime,
    client: Client,
    port: u16,
}

impl Visitor {
    fn new(address: SocketAddr, trusted: Option<&str>, shown: Option<String>) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder().no_proxy().pool_max_idle_per_host(0).timeout(crate::support::PATIENCE);
        if let Some(pem) = trusted {
            builder = builder.tls_certs_only([Certificate::from_pem(pem.as_bytes()).expect("is PEM")]);
        }
        if let Some(pem) = shown {
            builder = builder.identity(Identity::from_pem(pem.as_bytes()).expect("is PEM"));
        }
        let client = builder.build().expect("a client");
        Self { runtime: Runtime::new().expect("a runtime"), client, port: address.port() }
    }

    /// The status of the answer, or that there is none.
    fn ask(&self, scheme: &str, path: &str, password: Option<&str>) -> Result<StatusCode, String> {
        let request = self.client.get(format!("{scheme}://localhost:{}{path}", self.port));
        let request = if password.is_some() { request.basic_auth("ann", password) } else { request };
        let answer = self.runtime.block_on(async { request.send().await }).map_err(|error| format!("{error:?}"))?;
        Ok(answer.status())
    }
}

#[test]
fn a_user_who_is_taken_out_is_shut_out_at_once() {
    let (_sim, sim) = simulator(&[]);
    let stage = Stage::new();
    let (daemon, address) = daemon(&stage, sim, &users("first"));
    let visitor = Visitor::new(address, None, None);
    let ask = |path: &str, password: Option<&str>| visitor.ask("http", path, password).expect("an answer");
    for path in ["/", "/metrics", "/report", "/api/v1/status", "/-/ready", "/nowhere"] {
        assert_eq!(ask(path, None), StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(ask(path, Some("second")), StatusCode::UNAUTHORIZED, "{path}");
        assert_ne!(ask(path, Some("first")), StatusCode::UNAUTHORIZED, "{path}");
    }
    assert_eq!(ask("/-/healthy", None), StatusCode::OK);
    stage.write("web.yml", &users("second"));
    assert_eq!(ask("/metrics", Some("first")), StatusCode::UNAUTHORIZED);
    assert_eq!(ask("/metrics", Some("second")), StatusCode::OK);
    // A file that is wrong opens no door.
    for broken in ["basic_auth_users: {ann: plain-password}", "basic_auth_user: {}", "{"] {
        stage.write("web.yml", broken);
        assert_eq!(ask("/metrics", None), StatusCode::UNAUTHORIZED, "{broken}");
        assert_eq!(ask("/metrics", Some("second")), StatusCode::OK, "{broken}");
    }
    assert_eq!(daemon.stderr().matches("web configuration not reloaded").count(), 3, "{}", daemon.stderr());
    assert!(!daemon.stderr().contains("plain-password"));
    std::fs::remove_file(stage.path().join("web.yml")).expect("a file");
    assert_eq!(ask("/metrics", None), StatusCode::UNAUTHORIZED);
    stage.write("web.yml", "http_server_config: {headers: {Strict-Transport-Security: max-age=5}}\n");
    assert_eq!(ask("/metrics", None), StatusCode::OK);
}

#[test]
fn certificates_come_and_go_without_a_restart() {
    let (_sim, sim) = simulator(&[]);
    let stage = Stage::new();
    let first = certify(&stage, "server");
    let guard = "tls_server_config: {cert_file: server.crt, key_file: server.key}\n";
    let (daemon, address) = daemon(&stage, sim, guard);
    let trusts_first = Visitor::new(address, Some(&first), None);
    assert_eq!(trusts_first.ask("https", "/metrics", None), Ok(StatusCode::OK));
    trusts_first.ask("http", "/metrics", None).expect_err("is no plain HTTP");

    let second = certify(&stage, "server");
    let trusts_second = Visitor::new(address, Some(&second), None);
    assert_eq!(trusts_second.ask("https", "/metrics", None), Ok(StatusCode::OK));
    trusts_first.ask("https", "/metrics", None).expect_err("another certificate");
    // Half of a change: the last pair stays.
    let lonely = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("can be made");
    stage.write("server.key", &lonely.signing_key.serialize_pem());
    assert_eq!(trusts_second.ask("https", "/metrics", None), Ok(StatusCode::OK));
    assert!(daemon.stderr().contains("certificate and key do not fit"), "{}", daemon.stderr());

    let (third, known) = (certify(&stage, "server"), certify(&stage, "client"));
    let stranger = certify(&stage, "stranger");
    let shown = |name: &str| {
        let read = |kind: &str| std::fs::read_to_string(stage.path().join(format!("{name}.{kind}"))).expect("a file");
        read("crt") + &read("key")
    };
    assert_ne!(known, stranger);
    stage.write(
        "web.yml",
        "tls_server_config: {cert_file: server.crt, key_file: server.key, min_version: TLS13, \
         client_auth_type: RequireAndVerifyClientCert, client_ca_file: client.crt}\n",
    );
    let ask = |shown: Option<String>| Visitor::new(address, Some(&third), shown).ask("https", "/metrics", None);
    assert_eq!(ask(Some(shown("client"))), Ok(StatusCode::OK));
    ask(None).expect_err("no certificate is shown");
    ask(Some(shown("stranger"))).expect_err("a stranger's certificate");
}

#[test]
fn a_file_that_is_wrong_stops_the_start() {
    let stage = Stage::new();
    let web = stage.write("web.yml", "basic_auth_users:\n  ann: hunter2\n");
    let mut process = Process::start(&["run", "--target.url", "http://127.0.0.1:1", "--web.config.file", &web]);
    assert_eq!(process.code(), Some(1));
    let said = process.stderr();
    assert!(said.contains("web.yml:2: basic_auth_users.ann: must be a bcrypt hash"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

/// What Prometheus' own tool takes and refuses, this program takes and refuses.
#[test]
fn promtool_agrees() {
    let Some(promtool) = tool("promtool") else { return };
    let stage = Stage::new();
    certify(&stage, "server");
    let hash = bcrypt::hash("p", COST).expect("can be hashed");
    let tls = "cert_file: server.crt, key_file: server.key";
    for (is_sound, guard) in [
        (true, String::new()),
        (true, format!("basic_auth_users: {{ann: {hash}}}")),
        (true, format!("tls_server_config: {{{tls}, min_version: TLS12, max_version: TLS13}}")),
        (
            true,
            format!(
                "tls_server_config: {{{tls}, client_auth_type: RequireAndVerifyClientCert, client_ca_file: server.crt}}"
            ),
        ),
        (
            true,
            format!(
                "tls_server_config: {{{tls}}}\nhttp_server_config: {{http2: true, headers: {{X-Frame-Options: deny}}}}"
            ),
        ),
        (false, "basic_auth_user: {}".to_owned()),
        (false, "basic_auth_users: {ann: plain}".to_owned()),
        (false, "tls_server_config: {cert_file: server.crt}".to_owned()),
        (false, format!("tls_server_config: {{{tls}, min_version: TLS14}}")),
        (false, format!("tls_server_config: {{{tls}, client_ca_file: server.crt}}")),
        (false, "tls_server_config: {cert_file: missing, key_file: server.key}".to_owned()),
        (false, "http_server_config: {headers: {Server: x}}".to_owned()),
        (false, "[]".to_owned()),
    ] {
        let file = stage.write("web.yml", &guard);
        let checked = Command::new(&promtool).args(["check", "web-config", &file]).output().expect("promtool runs");
        assert_eq!(checked.status.success(), is_sound, "{guard}: {}", String::from_utf8_lossy(&checked.stderr));
        let read = llmsoak::config::web_from_file(std::path::Path::new(&file));
        assert_eq!(read.is_ok(), is_sound, "{guard}: {read:?}");
    }
}

/// The open file descriptors of a process.
fn descriptors(process: &Process) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", process.id())).expect("a process").count()
}

#[test]
fn a_thousand_idle_connections_keep_nobody_out() {
    let (_sim, sim) = simulator(&[]);
    let stage = Stage::new();
    let (daemon, address) = stage.run(&[Target::at(sim)]);
    let mut idle = Vec::new();
    for n in 0..1000 {
        let mut stream = TcpStream::connect(address).expect("a connection");
        // Some say nothing, some begin a request and never end it.
        if n % 2 == 0 {
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow: ").expect("takes bytes");
        }
        idle.push(stream);
        if n % 250 == 249 {
            assert!(scrape(address).has("llmsoak_build_info"));
        }
    }
    let open = descriptors(&daemon);
    assert!(open < 300, "{open} open descriptors");
    let before = scrape(address).sum("llmsoak_samples_total", &[]);
    eventually("further samples", || (scrape(address).sum("llmsoak_samples_total", &[]) > before).then_some(()));
    assert_eq!(scrape(address).sum("llmsoak_request_failures_total", &[]), 0.0);
}

#[test]
fn who_does_not_read_is_let_go() {
    let (_sim, sim) = simulator(&[]);
    let stage = Stage::new();
    let (mut daemon, address) = stage.run(&[Target::at(sim)]);
    let mut slow: Vec<TcpStream> = (0..200)
        .map(|_| {
            let mut stream = TcpStream::connect(address).expect("a connection");
            // Many answers, of which it reads none.
            let _ = stream.write_all("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(200).as_bytes());
            stream
        })
        .collect();
    assert!(scrape(address).has("llmsoak_build_info"));
    assert!(descriptors(&daemon) < 300);
    // The first of them are gone: what was sent can be read, and then there is an end.
    let first = slow.first_mut().expect("a connection");
    first.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket");
    let mut rest = Vec::new();
    let ended = first.read_to_end(&mut rest);
    assert!(ended.is_ok() || ended.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset));
    daemon.signal(rustix::process::Signal::TERM);
    assert_eq!(daemon.code(), Some(0), "slow readers do not hold the stop");
}

#[test]
fn huge_headers_and_garbage_are_turned_away() {
    let (_sim, sim) = simulator(&[]);
    let stage = Stage::new();
    let (_daemon, address) = stage.run(&[Target::at(sim)]);
    let hurl = |request: Vec<u8>| {
        let mut stream = TcpStream::connect(address).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a socket");
        let _ = stream.write_all(&request);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned()
    };
    let large = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(1 << 20)).into_bytes();
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: a\r\n".repeat(1000)).into_bytes();
    for request in [large, many] {
        let status = hurl(request);
        // Where the answer came before all was sent, the system may throw it away.
        assert!(status.is_empty() || status.contains(" 431 "), "{status}");
    }
    for request in [&b"\x16\x03\x01\x02\x00\x01\x00"[..], b"\0\0\0\0\r\n\r\n", b"SSH-2.0-x\r\n\r\n"] {
        let status = hurl(request.to_vec());
        assert!(status.is_empty() || status.contains(" 400 "), "{status}");
    }
    assert_eq!(get(address, "/-/healthy").expect("an answer").0, 200);
}
