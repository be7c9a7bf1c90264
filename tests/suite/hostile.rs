//! Words of servers and secrets of the user: where they may not come out.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use pulldown_cmark::{Event as MarkdownEvent, Options, Parser, Tag};

use crate::support::misbehaving::{MODELS, Misbehaving, whole};
use crate::support::{Process, Stage, Target, eventually, get, post, scrape};
use crate::tools::tool;

const API_KEY: &str = "sk-api-key-7Qx1";
const HEADER: &str = "header-secret-8Wz2";
const WEBHOOK: &str = "webhook-secret-9Vy3";
const GRAFANA: &str = "glsa-grafana-4Ut5";
const PASSWORD: &str = "password-6Rs7";
const SECRETS: [&str; 5] = [API_KEY, HEADER, WEBHOOK, GRAFANA, PASSWORD];

/// Asserts that a text holds no secret.
#[track_caller]
fn check_no_secret(what: &str, text: &str) {
    for secret in SECRETS {
        assert!(!text.contains(secret), "{secret} is in {what}:\n{text}");
    }
}

/// All files below a folder, as text.
fn files(folder: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        match std::fs::metadata(&path) {
            Ok(is) if is.is_dir() => found.extend(files(&path)),
            Ok(_) => {
                let bytes = std::fs::read(&path).expect("a file");
                found.push((path.display().to_string(), String::from_utf8_lossy(&bytes).into_owned()));
            }
            // Removed meanwhile.
            Err(_) => {}
        }
    }
    found
}

/// A place that takes everything and answers with what it was sent.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("is bound");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().filter_map(Result::ok) {
            let mut request = [0; 8192];
            let count = stream.read(&mut request).unwrap_or(0);
            let body = String::from_utf8_lossy(request.get(..count).unwrap_or_default()).into_owned();
            let _ = whole(&mut stream, "500 Oh", "text/plain", &body);
        }
    });
    address
}

/// Everything that a visitor can see.
fn pages(address: SocketAddr) -> Vec<(&'static str, String)> {
    let paths = [
        "/",
        "/metrics",
        "/report",
        "/report.md",
        "/reports",
        "/api/v1/status",
        "/api/v1/targets",
        "/api/v1/cells",
        "/api/v1/optimum",
        "/api/v1/epochs",
        "/api/v1/events",
        "/api/v1/compare",
        "/nowhere",
    ];
    paths.map(|path| (path, get(address, path).expect("an answer").1)).to_vec()
}

#[test]
fn no_secret_comes_out() {
    // One server repeats in its errors what it was sent, another one in whom nobody believes.
    let loud = Misbehaving::serve(
        MODELS,
        Box::new(|stream| {
            let told = format!("{{\"error\":\"Bearer {API_KEY} and {HEADER} are refused\"}}");
            whole(stream, "403 Forbidden", "application/json", &told)
        }),
    );
    let (never, sink) = (echo(), echo());
    let stage = Stage::new();
    for (name, text) in [("key", API_KEY), ("token", GRAFANA), ("hook", &format!("http://{sink}/{WEBHOOK}"))] {
        stage.write(name, text);
    }
    let hash = bcrypt::hash(PASSWORD, 4).expect("can be hashed");
    let web = stage
        .write("web.yml", &format!("basic_auth_users: {{ann: {hash}}}\nunauthenticated_paths: [{}]", OPEN.join(", ")));
    let text = format!(
        "schedule: {{pause_between_samples: 20ms}}\ntargets:\n  - {{name: loud, url: 'http://{}', api_key_file: key, \
         headers: {{X-Secret: Token {HEADER}}}, grid: {{workers: [1], batch: [1]}}, request: {{output_tokens: 8}}}}\n  \
         - {{name: never, url: 'http://{never}', api_key_file: key, headers: {{X-Secret: {HEADER}}}}}\n\
         notify: {{webhook: {{url_file: hook, headers: {{X-Hook: {HEADER}}}}}, grafana: {{url: 'http://{sink}', token_file: \
         token}}}}\nreport: {{every: 1s}}\n",
        loud.address
    );
    let (config, storage) = (stage.write("llmsoak.yml", &text), stage.storage().display().to_string());
    let flags = ["--config.file", &config, "--storage.path", &storage, "--web.listen-address", "127.0.0.1:0"];
    let more = ["--web.config.file", &web, "--web.enable-lifecycle", "--log.level", "debug"];
    let mut daemon = Process::start(&[&["run"], &flags[..], &more].concat());
    let address = daemon.address();
    eventually("samples, refusals and a report", || {
        let seen = scrape(address);
        let of = |name: &str| seen.sum(name, &[("target", "loud")]);
        let refused = seen.sum("llmsoak_request_failures_total", &[("reason", "http_4xx")]);
        (of("llmsoak_samples_total") >= 3.0 && refused >= 1.0 && of("llmsoak_reports_written_total") >= 1.0)
            .then_some(())
    });
    assert!(daemon.stderr().contains("<secret>"), "the server's words were told:\n{}", daemon.stderr());
    for (path, page) in pages(address) {
        check_no_secret(path, &page);
    }
    // Wrong files and a wrong password are told of without repeating what is in them.
    stage.write(
        "llmsoak.yml",
        &text.replace("api_key_file: key,", &format!("api_key: {API_KEY}, api_key_env: {API_KEY},")),
    );
    let (status, told) = post(address, "/-/reload").expect("an answer");
    assert_eq!(status, 400);
    check_no_secret("the answer to a reload", &told);
    let mut check = Process::start(&["check", "--config.file", &config]);
    assert_eq!(check.code(), Some(1));
    check_no_secret("check", &(check.stdout() + &check.stderr()));
    stage.write("web.yml", &format!("basic_auth_users: {{ann: {PASSWORD}}}"));
    get(address, "/-/healthy").expect("an answer");
    daemon.signal(rustix::process::Signal::TERM);
    assert_eq!(daemon.code(), Some(0));
    check_no_secret("the log", &daemon.stderr());
    for (file, text) in files(&stage.storage()) {
        check_no_secret(&file, &text);
    }
}

/// Open, so that one helper reads all pages.
const OPEN: [&str; 16] = [
    "/",
    "/metrics",
    "/report",
    "/report.md",
    "/reports",
    "/api/v1/status",
    "/api/v1/targets",
    "/api/v1/cells",
    "/api/v1/optimum",
    "/api/v1/epochs",
    "/api/v1/events",
    "/api/v1/compare",
    "/nowhere",
    "/-/reload",
    "/-/healthy",
    "/-/ready",
];

/// A model that calls itself a script, a link, a picture, a column, a label, a heading and colours.
const HOSTILE: &str = r##"{"data":[{"id":"<script>alert(1)</script>![x](http://evil.example/x.png)|`\"} 1\n# HELP evil x\nevil 1\n\u001b[31mred\\"}]}"##;

#[test]
fn a_hostile_model_stays_a_name() {
    let server = Misbehaving::well(HOSTILE);
    let stage = Stage::new();
    let config = stage.configure(&[Target { grid: "{workers: [1, 2], batch: [1, 2]}", ..Target::at(server.address) }]);
    let text = std::fs::read_to_string(&config).expect("a file");
    stage.write("llmsoak.yml", &format!("{text}report: {{every: 1s}}\n"));
    let storage = stage.storage().display().to_string();
    let mut daemon = Process::start(&[
        "run",
        "--config.file",
        &config,
        "--storage.path",
        &storage,
        "--web.listen-address",
        "127.0.0.1:0",
    ]);
    let address = daemon.address();
    let metrics = eventually("samples and a report", || {
        let (_, text) = get(address, "/metrics").expect("an answer");
        let has = |name: &str| text.lines().any(|line| line.starts_with(name) && !line.ends_with(" 0"));
        (has("llmsoak_optimum_tokens_per_second{") && has("llmsoak_reports_written_total{")).then_some(text)
    });
    assert!(!metrics.lines().any(|line| line.starts_with("evil") || line.starts_with("# HELP evil")), "{metrics}");
    if let Some(promtool) = tool("promtool") {
        let mut command = std::process::Command::new(promtool);
        command.args(["check", "metrics"]).stdin(std::process::Stdio::piped());
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped());
        let mut check = command.spawn().expect("promtool starts");
        check.stdin.take().expect("a pipe").write_all(metrics.as_bytes()).expect("promtool reads");
        let output = check.wait_with_output().expect("promtool ends");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    for (path, page) in pages(address) {
        // What is no page says so, and a browser does not guess.
        let is_page = path != "/metrics" && path != "/report.md" && !path.starts_with("/api/");
        assert!(!is_page || !page.contains("<script>alert"), "{path}:\n{page}");
        assert!(!page.contains("src=\"http://evil"), "{path}:\n{page}");
        assert!(!page.contains('\u{1b}'), "{path}:\n{page}");
    }
    let (_, markdown) = get(address, "/report.md").expect("an answer");
    for event in Parser::new_ext(&markdown, Options::ENABLE_TABLES) {
        match event {
            MarkdownEvent::Html(html) | MarkdownEvent::InlineHtml(html) => panic!("{html} in:\n{markdown}"),
            // A picture of somebody else's would tell them who reads the report.
            MarkdownEvent::Start(Tag::Image { dest_url, .. } | Tag::Link { dest_url, .. }) => {
                assert!(!dest_url.contains("evil"), "{dest_url} in:\n{markdown}");
            }
            _ => {}
        }
    }
    let charts = files(&stage.storage()).into_iter().filter(|(name, _)| name.ends_with(".svg"));
    for (name, svg) in charts {
        assert!(!svg.contains("<script>"), "{name}:\n{svg}");
    }
    assert!(!daemon.stderr().contains('\u{1b}'), "{}", daemon.stderr());
    let _ = daemon.stderr().lines().map(|line| assert!(line.starts_with("ts="), "{line}")).count();
}
