//! Servers that crash, hang and lie: what is recorded of each, and that the soak goes on.
//!
//! One daemon, a target for each fault, all at once. docs/reliability.md holds the same table.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;

use crate::support::misbehaving::{DONE, FINISH, Fault, MODELS, Misbehaving, begin, token, tokens, whole};
use crate::support::{PATIENCE, Process, Scrape, Stage, Target, eventually, free_address, root, scrape};

/// The time-outs of all targets.
const FIRST_TOKEN: Duration = Duration::from_secs(1);
const BETWEEN_TOKENS: Duration = Duration::from_secs(1);
const TOTAL: Duration = Duration::from_secs(3);
const REQUEST: &str = "{output_tokens: 8, timeout: 3s, connect_timeout: 1s, first_token_timeout: 1s, \
                       between_tokens_timeout: 1s}";
/// Machines that are busy with other tests are late.
const SLACK: Duration = Duration::from_secs(10);

/// What must be recorded.
#[derive(Clone, Copy, Debug)]
enum Expected {
    /// Failures of this reason, and no others but those that follow from it.
    Failure(&'static str),
    /// No failure; the tokens are counted by this source.
    Success(&'static str),
}

use Expected::{Failure, Success};

struct Row {
    /// Names the target, and the row in docs/reliability.md.
    name: &'static str,
    expected: Expected,
    /// How long the server is listened to at most, where it would not end by itself.
    bound: Duration,
    fault: Fault,
}

fn row(
    name: &'static str,
    expected: Expected,
    bound: Duration,
    fault: impl Fn(&mut TcpStream) -> std::io::Result<()> + Send + Sync + 'static,
) -> Row {
    Row { name, expected, bound, fault: Box::new(fault) }
}

/// A stream of those bytes, which ends with the connection.
fn stream(name: &'static str, expected: Expected, body: impl Into<Vec<u8>>) -> Row {
    let body = body.into();
    row(name, expected, TOTAL, move |stream| {
        begin(stream)?;
        stream.write_all(&body)?;
        stream.shutdown(std::net::Shutdown::Write)
    })
}

/// An answer of known length with that status.
fn status(name: &'static str, reason: &'static str, line: &'static str) -> Row {
    row(name, Failure(reason), TOTAL, move |stream| whole(stream, line, "text/html", "<html><b>no</b></html>"))
}

/// Eight tokens that end with this usage.
fn usage(name: &'static str, expected: Expected, usage: &str) -> Row {
    let usage = format!("data: {{\"choices\":[],\"usage\":{usage}}}\n\n");
    stream(name, expected, format!("{}{FINISH}{usage}{DONE}", tokens(8)))
}

/// Writes the piece again and again until the other side has gone.
fn for_ever(stream: &mut TcpStream, piece: &[u8], pause: Duration) -> std::io::Result<()> {
    loop {
        stream.write_all(piece)?;
        std::thread::sleep(pause);
    }
}

/// Closes so that the other side gets a reset.
fn reset(stream: &TcpStream) -> std::io::Result<()> {
    Ok(set_socket_linger(stream, Some(Duration::ZERO))?)
}

fn silent_servers() -> Vec<Row> {
    let ms = Duration::from_millis;
    vec![
        row("never-answers", Failure("timeout_first_token"), FIRST_TOKEN, |_| Ok(())),
        row("headers-only", Failure("timeout_first_token"), FIRST_TOKEN, begin),
        row("pings-but-no-token", Failure("timeout_first_token"), FIRST_TOKEN, move |stream| {
            begin(stream)?;
            for_ever(stream, b": ping\n\n", ms(50))
        }),
        row("one-byte-for-ever", Failure("timeout_first_token"), FIRST_TOKEN, move |stream| {
            begin(stream)?;
            for_ever(stream, b"d", ms(50))
        }),
        row("stalls-in-the-middle", Failure("timeout_between_tokens"), BETWEEN_TOKENS, |stream| {
            begin(stream)?;
            stream.write_all(tokens(3).as_bytes())
        }),
        row("pings-in-the-middle", Failure("timeout_between_tokens"), BETWEEN_TOKENS, move |stream| {
            begin(stream)?;
            stream.write_all(tokens(3).as_bytes())?;
            for_ever(stream, b": ping\n\n", ms(50))
        }),
        row("a-token-now-and-then", Failure("timeout_total"), TOTAL, move |stream| {
            begin(stream)?;
            for_ever(stream, token("x").as_bytes(), ms(300))
        }),
        row("headers-for-ever", Failure("protocol"), TOTAL, move |stream| {
            stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
            for_ever(stream, "X: y\r\n".repeat(100).as_bytes(), Duration::ZERO)
        }),
        row("one-byte-at-a-time", Success("chunks"), TOTAL, |stream| {
            begin(stream)?;
            stream.set_nodelay(true)?;
            for byte in format!("{}{FINISH}{DONE}", tokens(4)).bytes() {
                stream.write_all(&[byte])?;
            }
            stream.shutdown(std::net::Shutdown::Write)
        }),
    ]
}

fn broken_connections() -> Vec<Row> {
    vec![
        row("reset-before-the-answer", Failure("reset"), TOTAL, |stream| reset(stream)).reset(),
        row("reset-in-the-middle", Failure("reset"), TOTAL, |stream| {
            begin(stream)?;
            stream.write_all(tokens(3).as_bytes())?;
            std::thread::sleep(Duration::from_millis(100));
            reset(stream)
        })
        .reset(),
        row("closed-before-the-answer", Failure("reset"), TOTAL, |stream| stream.shutdown(std::net::Shutdown::Both)),
        row("shorter-than-promised", Failure("reset"), TOTAL, |stream| {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")?;
            stream.write_all(tokens(3).as_bytes())?;
            stream.shutdown(std::net::Shutdown::Write)
        }),
        stream("no-terminal-marker", Failure("truncated"), tokens(8)),
        stream("done-without-a-finish", Failure("truncated"), format!("{}{DONE}", tokens(8))),
        stream("nothing-at-all", Failure("truncated"), ""),
        stream("one-token-repeated", Failure("repetition_stop"), token("ha").repeat(40)),
        stream("early-stop", Success("chunks"), format!("{}{FINISH}{DONE}", tokens(2))),
        stream("done-twice-and-late", Success("chunks"), format!("{}{FINISH}{DONE}: late\n\n{DONE}{DONE}", tokens(8))),
    ]
}

fn lies() -> Vec<Row> {
    let counts = |count: &str| format!("{{\"prompt_tokens\":{count},\"completion_tokens\":{count}}}");
    let split = format!("{}{FINISH}{DONE}", token("é😀"));
    vec![
        stream("no-usage", Success("chunks"), format!("{}{FINISH}{DONE}", tokens(8))),
        usage("usage-of-zero", Success("chunks"), &counts("0")),
        usage("usage-negative", Success("chunks"), &counts("-8")),
        usage("usage-huge", Success("chunks"), &counts("18446744073709551615")),
        usage("usage-beyond-numbers", Failure("protocol"), &counts("1e999")),
        usage("usage-not-a-number", Failure("protocol"), &counts("NaN")),
        usage("usage-as-text", Success("chunks"), &counts("\"8\"")),
        stream("html", Failure("truncated"), "<!doctype html><title>Welcome</title>".repeat(100)),
        stream("html-as-data", Failure("protocol"), "data: <!doctype html>\n\n"),
        stream("garbage", Failure("truncated"), (0..=255_u8).cycle().take(100_000).collect::<Vec<_>>()),
        stream("deep-json", Failure("protocol"), format!("data: {}\n\n", "[".repeat(100_000))),
        stream("invalid-utf-8", Failure("protocol"), b"data: {\"choices\":[{\"text\":\"\xff\xfe\"}]}\n\n".to_vec()),
        row("split-utf-8", Success("chunks"), TOTAL, move |stream| {
            begin(stream)?;
            stream.set_nodelay(true)?;
            for byte in split.bytes() {
                stream.write_all(&[byte])?;
                std::thread::sleep(Duration::from_millis(1));
            }
            stream.shutdown(std::net::Shutdown::Write)
        }),
        row("not-http", Failure("protocol"), TOTAL, |stream| {
            stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")?;
            stream.shutdown(std::net::Shutdown::Write)
        }),
        stream("error-as-object", Failure("server_error"), "data: {\"error\":{\"message\":\"out of memory\"}}\n\n"),
        stream("error-as-text", Failure("server_error"), format!("{}data: {{\"error\":\"full\"}}\n\n", tokens(2))),
    ]
}

fn floods() -> Vec<Row> {
    vec![
        row("a-line-of-64-mb", Failure("too_large"), TOTAL, |stream| {
            begin(stream)?;
            stream.write_all(b"data: {\"choices\":[{\"text\":\"")?;
            (0..64).try_for_each(|_| stream.write_all(&vec![b'x'; 1 << 20]))
        }),
        row("endless-stream", Failure("too_large"), TOTAL, |stream| {
            begin(stream)?;
            let piece: String = (0..1000).map(|n| token(&n.to_string())).collect();
            for_ever(stream, piece.as_bytes(), Duration::ZERO)
        }),
        row("gzip-bomb", Failure("truncated"), TOTAL, |stream| {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n")?;
            stream.write_all(include_bytes!("data/bomb.gz"))?;
            stream.shutdown(std::net::Shutdown::Write)
        }),
        row("endless-error", Failure("http_5xx"), TOTAL, |stream| {
            stream.write_all(b"HTTP/1.1 500 Oh\r\nConnection: close\r\n\r\n")?;
            for_ever(stream, &[b'<'; 4096], Duration::from_millis(1))
        }),
    ]
}

fn statuses() -> Vec<Row> {
    vec![
        status("status-401", "http_4xx", "401 Unauthorized"),
        status("status-404", "http_4xx", "404 Not Found"),
        status("status-429", "rate_limited", "429 Too Many Requests\r\nRetry-After: 3600"),
        status("status-500", "http_5xx", "500 Internal Server Error"),
        status("status-503", "http_5xx", "503 Service Unavailable"),
        status("redirect-to-itself", "http_3xx", "307 Temporary Redirect\r\nLocation: /v1/completions"),
    ]
}

impl Row {
    /// Nobody is left to listen to once the connection was reset.
    fn reset(self) -> Self {
        let fault = self.fault;
        let fault: Fault = Box::new(move |stream| {
            fault(stream)?;
            Err(std::io::ErrorKind::ConnectionReset.into())
        });
        Self { fault, ..self }
    }
}

fn rows() -> Vec<Row> {
    [silent_servers(), broken_connections(), lies(), floods(), statuses()].into_iter().flatten().collect()
}

/// The failures of a target by their reasons, but for requests that were not sent because of
/// another one's failure.
fn reasons(seen: &Scrape, target: &str) -> Vec<(String, f64)> {
    let reasons = seen.not_zero("llmsoak_request_failures_total", "reason").into_iter();
    let of_target = |reason: &String| {
        seen.sum("llmsoak_request_failures_total", &[("target", target), ("reason", reason.as_str())])
    };
    let counted = reasons.map(|reason| (reason.clone(), of_target(&reason)));
    counted.filter(|(reason, count)| *count > 0.0 && reason != "not_started").collect()
}

/// The most memory that a process ever had, bytes.
fn peak_memory(process: &Process) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().expect("a number") * 1024
}

fn target<'a>(name: &'a str, url: String) -> Target<'a> {
    let unread = "127.0.0.1:1".parse().expect("an address");
    let grid = "{workers: [1], batch: [1]}";
    // Whether this machine was too busy to measure is not what is asked here.
    let validity = "{timer_lag: 60s, client_cpu: 100%}";
    Target { name, lane: name, url, grid, request: REQUEST, validity, ..Target::at(unread) }
}

#[test]
fn every_fault_has_a_name_and_the_soak_goes_on() {
    let rows: Vec<(Row, Misbehaving)> = rows()
        .into_iter()
        .map(|mut row| {
            let fault = std::mem::replace(&mut row.fault, Box::new(|_| Ok(())));
            (row, Misbehaving::serve(MODELS, fault))
        })
        .collect();
    let targets: Vec<Target<'_>> =
        rows.iter().map(|(row, server)| target(row.name, format!("http://{}", server.address))).collect();
    let stage = Stage::new();
    let (daemon, address) = stage.run(&targets);
    for (row, server) in &rows {
        let goes_on = format!("{} is well again", row.name);
        let seen = eventually(&goes_on, || {
            let seen = scrape(address);
            let of = |name: &str| seen.sum(name, &[("target", row.name)]);
            let valid = of("llmsoak_samples_total") - of("llmsoak_sample_failures_total");
            (valid >= 2.0 && server.requests() > 2).then_some(seen)
        });
        let source = |source: &str| {
            seen.sum("llmsoak_requests_by_token_source_total", &[("target", row.name), ("source", source)])
        };
        match row.expected {
            Failure(reason) => assert_eq!(reasons(&seen, row.name), [(reason.to_owned(), 2.0)], "{}", row.name),
            Success(by) => {
                assert_eq!(reasons(&seen, row.name), [], "{}", row.name);
                assert!(source(by) >= 2.0, "{}: by {by}", row.name);
            }
        }
        let held = server.longest_held();
        assert!(held < row.bound + SLACK, "{}: listened to for {held:?}", row.name);
    }
    let short = scrape(address).sum("llmsoak_short_outputs_total", &[("target", "early-stop")]);
    assert!(short >= 1.0, "{short}");
    let peak = peak_memory(&daemon);
    assert!(peak < 400 << 20, "{} MiB for {} targets", peak >> 20, rows.len());
    assert!(!daemon.stderr().contains("panicked"), "{}", daemon.stderr());
}

#[test]
fn a_redirect_takes_no_key_elsewhere() {
    let trap = TcpListener::bind("127.0.0.1:0").expect("a port");
    trap.set_nonblocking(true).expect("a socket");
    let to = format!("307 Temporary Redirect\r\nLocation: http://{}/v1/completions", trap.local_addr().expect("bound"));
    let server = Misbehaving::serve(MODELS, Box::new(move |stream| whole(stream, &to, "text/plain", "there")));
    let stage = Stage::new();
    let (_daemon, address) = stage.run(&[target("target", format!("http://{}", server.address))]);
    eventually("two redirects", || {
        (scrape(address).sum("llmsoak_request_failures_total", &[("reason", "http_3xx")]) >= 2.0).then_some(())
    });
    assert_eq!(trap.accept().err().map(|error| error.kind()), Some(std::io::ErrorKind::WouldBlock));
}

#[test]
fn who_cannot_be_reached_is_away_and_the_log_says_why() {
    let guarded = Stage::new();
    let (_tls, tls) = crate::guarded::behind_tls(&guarded);
    let plain = Misbehaving::serve(MODELS, Box::new(|_| Ok(())));
    let stage = Stage::new();
    let targets = [
        target("refused", format!("http://{}", free_address())),
        target("no-such-name", "http://no-such-host.invalid".to_owned()),
        target("wrong-certificate", format!("https://{tls}")),
        target("no-tls-at-all", format!("https://{}", plain.address)),
    ];
    let (daemon, address) = stage.run(&targets);
    for (name, reason) in [
        ("refused", "connect"),
        ("no-such-name", "dns"),
        ("wrong-certificate", "tls"),
        ("no-tls-at-all", "timeout_connect"),
    ] {
        let said = eventually(name, || {
            let log = daemon.stderr();
            log.lines().find(|line| line.contains("away") && line.contains(name)).map(str::to_owned)
        });
        assert!(said.contains(&format!("reason=\"{reason}:")), "{said}");
        assert_eq!(scrape(address).sum("llmsoak_target_up", &[("target", name)]), 0.0);
    }
}

#[test]
fn hostile_answers_to_who_it_is_are_survived() {
    let hostile = [
        ("names-nothing", "{}"),
        ("no-json", "<html>"),
        ("wrong-types", r#"{"data":{"id":[1]},"object":7}"#),
        ("nothing", "null"),
        ("deep", Box::leak("[".repeat(200_000).into_boxed_str())),
        ("huge", Box::leak(format!("{{\"data\":[{{\"id\":\"{}\"}}]}}", "x".repeat(4 << 20)).into_boxed_str())),
    ];
    let servers: Vec<_> = hostile.iter().map(|(_, models)| Misbehaving::serve(models, Box::new(|_| Ok(())))).collect();
    let targets: Vec<_> = hostile
        .iter()
        .zip(&servers)
        .map(|((name, _), server)| target(name, format!("http://{}", server.address)))
        .collect();
    let stage = Stage::new();
    let (daemon, address) = stage.run(&targets);
    for (name, _) in hostile {
        eventually(name, || {
            let log = daemon.stderr();
            log.lines().any(|line| line.contains(name) && line.contains("names no model")).then_some(())
        });
    }
    assert!(scrape(address).has("llmsoak_build_info"));
    assert!(PATIENCE > Duration::ZERO && !daemon.stderr().contains("panicked"));
}

#[test]
fn the_table_in_the_documentation_is_this_one() {
    let text = std::fs::read_to_string(root().join("docs/reliability.md")).expect("docs/reliability.md");
    for row in rows() {
        let recorded = match row.expected {
            Failure(reason) => reason,
            Success(_) => "success",
        };
        let line = text.lines().find(|line| line.starts_with(&format!("| `{}` |", row.name)));
        let line = line.unwrap_or_else(|| panic!("docs/reliability.md: {} is missing", row.name));
        assert!(line.contains(&format!("| `{recorded}`")), "docs/reliability.md: {line}: recorded is {recorded}");
    }
}
