//! The pages as a browser gets them: routes, headers, and the status page as a snapshot.

use std::path::Path;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, Response, StatusCode};
use jiff::SignedDuration;
use tokio::sync::mpsc;
use tower::ServiceExt as _;

use super::fixture::{app, board, now, soak, tell};
use super::{App, Lifecycle, ReloadRequest, Security, router};
use crate::domain::{ActiveAlarm, CycleRef, Direction, Grid, Happening, Measure, SchedulerState, TargetId, Turn};
use crate::report::{Chart, Report, snapshot};
use crate::soak::{Control, WallClock};

async fn ask(app: &App, request: Request<Body>) -> Response<Body> {
    router(app.clone()).oneshot(request).await.expect("a router never fails")
}

async fn get(app: &App, path: &str) -> Response<Body> {
    ask(app, Request::get(path).body(Body::empty()).expect("is a request")).await
}

async fn text(response: Response<Body>) -> String {
    let bytes = to_bytes(response.into_body(), usize::MAX).await.expect("can be read");
    String::from_utf8(bytes.to_vec()).expect("is text")
}

fn header<'a>(response: &'a Response<Body>, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().expect("is text"))
}

/// Asks, compares the status, and gives the body.
pub(super) async fn check(app: &App, path: &str, status: StatusCode) -> String {
    let response = get(app, path).await;
    assert_eq!(response.status(), status, "{path}");
    text(response).await
}

pub(super) fn small_app(reports: &Path) -> App {
    let board = board(&[("workstation", "gemma3:4b")]);
    let grid = Grid::new(&[1, 2, 4], &[1, 2, 4], true).expect("is sound");
    soak(&board, &TargetId::new("workstation", "gemma3:4b"), grid, 3);
    app(board, reports)
}

fn write_report(reports: &Path, target: &str) {
    let charts = vec![Chart { file_name: "grid.svg".to_owned(), svg: "<svg><title>Grid</title></svg>".to_owned() }];
    let report = Report { markdown: format!("# Report of {target}\n\n![grid](charts/grid.svg)\n"), charts };
    snapshot::write(reports, &report, target, now(), 3).expect("can be written");
}

#[tokio::test]
async fn every_answer_says_what_it_is_and_what_it_may() {
    let dir = tempfile::tempdir().expect("has a place");
    write_report(dir.path(), "workstation");
    let app = small_app(dir.path());
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/metrics", "text/plain; version=0.0.4"),
        ("/report", "text/html; charset=utf-8"),
        ("/report.md", "text/markdown; charset=utf-8"),
        ("/charts/grid.svg", "image/svg+xml"),
        ("/-/healthy", "text/plain; charset=utf-8"),
        ("/nowhere", "text/plain; charset=utf-8"),
    ] {
        let response = get(&app, path).await;
        assert_eq!(header(&response, "content-type"), kind, "{path}");
        assert_eq!(header(&response, "x-content-type-options"), "nosniff", "{path}");
        assert_eq!(header(&response, "referrer-policy"), "no-referrer", "{path}");
        assert!(header(&response, "content-security-policy").starts_with("default-src 'none'; "), "{path}");
    }
}

#[tokio::test]
async fn what_is_long_is_compressed_for_who_wants_it() {
    let dir = tempfile::tempdir().expect("has a place");
    write_report(dir.path(), "workstation");
    let app = small_app(dir.path());
    for path in ["/", "/metrics", "/report", "/report.md", "/charts/grid.svg"] {
        let request = Request::get(path).header("accept-encoding", "gzip").body(Body::empty()).expect("is a request");
        let response = ask(&app, request).await;
        let is_short = path == "/charts/grid.svg";
        assert_eq!(header(&response, "content-encoding") == "gzip", !is_short, "{path}");
        assert_eq!(header(&get(&app, path).await, "content-encoding"), "", "{path}");
    }
}

#[tokio::test]
async fn only_reading_is_allowed_and_only_what_there_is() {
    let app = small_app(Path::new("/nowhere"));
    for path in ["/nowhere", "/metrics/", "//", "/-/", "/-/quit", "/report/", "/charts", "/index.html"] {
        check(&app, path, StatusCode::NOT_FOUND).await;
    }
    for path in ["/-/reload", "/-/pause", "/-/resume"] {
        check(&app, path, StatusCode::METHOD_NOT_ALLOWED).await;
    }
    let request = |method: Method| Request::builder().method(method).uri("/metrics").body(Body::empty());
    let refused = ask(&app, request(Method::POST).expect("is a request")).await;
    assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED);
    let head = ask(&app, request(Method::HEAD).expect("is a request")).await;
    assert_eq!((head.status(), text(head).await.as_str()), (StatusCode::OK, ""));
}

#[tokio::test]
async fn metrics_show_the_board() {
    let app = small_app(Path::new("/nowhere"));
    let page = check(&app, "/metrics", StatusCode::OK).await;
    assert!(page.contains("llmsoak_current_workers{target=\"workstation\",model=\"gemma3:4b\"}"), "{page}");
}

#[tokio::test(start_paused = true)]
async fn the_status_page_of_a_small_soak() {
    let page = check(&small_app(Path::new("/nowhere")), "/", StatusCode::OK).await;
    let body = page.split_once("<body>").and_then(|(_, rest)| rest.split_once("<script")).expect("has a body").0;
    insta::with_settings!({ filters => vec![(env!("CARGO_PKG_VERSION"), "[version]")] }, {
        insta::assert_snapshot!(body);
    });
}

#[tokio::test]
async fn the_page_runs_its_own_script_and_no_other() {
    let app = small_app(Path::new("/nowhere"));
    let response = get(&app, "/").await;
    let policy = header(&response, "content-security-policy").to_owned();
    let nonce = policy.split_once("'nonce-").and_then(|(_, rest)| rest.split_once('\'')).expect("has a nonce").0;
    let page = text(response).await;
    assert_eq!(page.matches("<script").count(), 1);
    assert!(page.contains(&format!("<script nonce=\"{nonce}\">")), "{policy}");
    let again = get(&app, "/").await;
    assert!(!header(&again, "content-security-policy").contains(nonce), "{nonce} comes again");
}

#[tokio::test]
async fn the_page_needs_nothing_from_elsewhere() {
    let page = check(&small_app(Path::new("/nowhere")), "/", StatusCode::OK).await;
    for foreign in ["src=", "<link", "@import", "url("] {
        assert!(!page.contains(foreign), "{foreign}");
    }
}

#[tokio::test]
async fn hostile_words_stay_words() {
    let hostile = "<script>alert('1')</script>\" onload=\"x";
    let board = board(&[(hostile, hostile), ("b", hostile)]);
    let target = TargetId::new(hostile, hostile);
    soak(&board, &target, Grid::new(&[1], &[1, 2], true).expect("is sound"), 0);
    tell(&board, &target, Happening::Away { reason: hostile.to_owned(), is_first: true });
    let app = app(board, "/nowhere");
    let path = format!("/report?target={}", super::html::encoded(hostile));
    for (path, status) in
        [("/", StatusCode::OK), ("/report", StatusCode::OK), (path.as_str(), StatusCode::SERVICE_UNAVAILABLE)]
    {
        let page = check(&app, path, status).await;
        assert!(!page.contains("<script>") && !page.contains("\" onload"), "{page}");
        assert!(page.contains("&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&quot; onload"), "{page}");
    }
}

#[tokio::test]
async fn a_board_of_which_nothing_is_known_has_a_page() {
    assert!(check(&app(board(&[]), "/nowhere"), "/", StatusCode::OK).await.contains("There is no target."));
    let page = check(&app(board(&[("a", "")]), "/nowhere"), "/", StatusCode::OK).await;
    assert!(page.contains("not asked yet") && page.contains("No valid sample yet"), "{page}");
}

#[tokio::test(start_paused = true)]
async fn a_target_that_stands_still_is_ill_after_a_minute() {
    let board = board(&[("a", "m"), ("b", "m")]);
    let due_at = Some(now() + SignedDuration::from_secs(100));
    let waiting = Happening::StateChanged { state: SchedulerState::Running, until: None, due_at };
    tell(&board, &TargetId::new("a", "m"), waiting);
    let app = app(board, "/nowhere");
    tokio::time::advance(Duration::from_secs(160)).await;
    assert_eq!(check(&app, "/-/healthy", StatusCode::OK).await, "ok\n");
    tokio::time::advance(Duration::from_secs(1)).await;
    let body = "target a stands still since 2026-11-24 17:02:42 UTC; last sample: none yet\n";
    assert_eq!(check(&app, "/-/healthy", StatusCode::SERVICE_UNAVAILABLE).await, body);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_makes_nobody_ill() {
    let board = board(&[("a", "m")]);
    let due_at = Some(now() + SignedDuration::from_secs(100));
    let waiting = Happening::StateChanged { state: SchedulerState::Running, until: None, due_at };
    tell(&board, &TargetId::new("a", "m"), waiting);
    let app = App { clock: WallClock::anchored(now() + SignedDuration::from_hours(8)), ..app(board, "/nowhere") };
    check(&app, "/-/healthy", StatusCode::OK).await;
    let page = check(&app, "/", StatusCode::OK).await;
    assert!(!page.contains("Stands still"), "{page}");
}

#[tokio::test]
async fn it_is_ready_once_the_history_was_restored() {
    let app = small_app(Path::new("/nowhere"));
    check(&app, "/-/ready", StatusCode::SERVICE_UNAVAILABLE).await;
    app.readiness.set_ready();
    check(&app, "/-/ready", StatusCode::OK).await;
}

#[tokio::test]
async fn before_the_first_report_the_answer_says_so() {
    let dir = tempfile::tempdir().expect("has a place");
    let app = small_app(dir.path());
    for path in ["/report", "/report.md", "/charts/grid.svg", "/reports/workstation/report.md"] {
        let response = get(&app, path).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert_eq!(header(&response, "retry-after"), "60", "{path}");
        assert!(text(response).await.contains("There is no report of workstation yet."), "{path}");
    }
    check(&app, "/report?target=other", StatusCode::NOT_FOUND).await;
}

#[tokio::test]
async fn the_report_is_a_page_with_its_charts_and_markdown_with_links_that_lead_to_them() {
    let dir = tempfile::tempdir().expect("has a place");
    write_report(dir.path(), "workstation");
    let app = small_app(dir.path());
    for path in ["/report", "/report?target=workstation"] {
        let page = check(&app, path, StatusCode::OK).await;
        assert!(page.contains("<h1>Report of workstation</h1>") && page.contains("<svg><title>Grid"), "{page}");
    }
    for folder in ["/", "/reports/workstation/"] {
        let markdown = check(&app, &format!("{folder}report.md"), StatusCode::OK).await;
        let link = markdown.split_once("](").and_then(|(_, rest)| rest.split_once(')')).expect("has a link").0;
        let chart = check(&app, &format!("{folder}{link}"), StatusCode::OK).await;
        assert_eq!(chart, "<svg><title>Grid</title></svg>");
    }
}

#[tokio::test]
async fn older_reports_are_listed_and_shown() {
    let dir = tempfile::tempdir().expect("has a place");
    write_report(dir.path(), "workstation");
    write_report(dir.path(), "workstation");
    let app = small_app(dir.path());
    let page = check(&app, "/report", StatusCode::OK).await;
    assert!(page.contains("<a href=\"reports\">All reports</a>"), "{page}");
    let list = check(&app, "/reports", StatusCode::OK).await;
    let older = "<a href=\"report?target=workstation&amp;of=20261124T170102Z\">2026-11-24 17:01:02 UTC</a>";
    assert!(list.contains("older: 1") && list.contains(older), "{list}");
    let page = check(&app, "/report?target=workstation&of=20261124T170102Z", StatusCode::OK).await;
    assert!(page.contains("<h1>Report of workstation</h1>"), "{page}");
    for of in ["20261124T170103Z", "latest", "..", "..%2F..", "%00"] {
        let absent = check(&app, &format!("/report?of={of}"), StatusCode::NOT_FOUND).await;
        assert!(absent.contains("There is no report "), "{absent}");
    }
}

#[tokio::test]
async fn of_several_targets_the_visitor_chooses_one() {
    let dir = tempfile::tempdir().expect("has a place");
    write_report(dir.path(), "b/c");
    let app = app(board(&[("a", "m"), ("b/c", "m")]), dir.path());
    let list = check(&app, "/report", StatusCode::OK).await;
    assert!(list.contains("a <code>m</code>: no report yet"), "{list}");
    assert!(list.contains("<a href=\"report?target=b%2Fc\">b/c <code>m</code></a>: 2026-11-24 17:01:02 UTC"), "{list}");
    assert!(check(&app, "/report?target=b%2Fc", StatusCode::OK).await.contains("Report of b/c"));
    let moved = get(&app, "/report.md?target=b%2Fc").await;
    assert_eq!(moved.status(), StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(header(&moved, "location"), "reports/b%2Fc/report.md");
    check(&app, "/reports/b%2Fc/report.md", StatusCode::OK).await;
    check(&app, "/reports/b%2Fc/charts/grid.svg", StatusCode::OK).await;
    check(&app, "/report.md", StatusCode::SERVICE_UNAVAILABLE).await;
}

#[tokio::test]
async fn no_path_leads_out_of_the_report() {
    let dir = tempfile::tempdir().expect("has a place");
    write_report(dir.path(), "workstation");
    std::fs::write(dir.path().join("secret.svg"), "secret").expect("can be written");
    let app = small_app(dir.path());
    for file in ["..%2Freport.md", "..%2F..%2F..%2Fsecret.svg", "%2Fetc%2Fpasswd", "..", ".", "grid.svg%00", "%FF"] {
        for folder in ["/charts", "/reports/workstation/charts"] {
            let response = get(&app, &format!("{folder}/{file}")).await;
            assert!(response.status().is_client_error(), "{folder}/{file}: {}", response.status());
        }
    }
    check(&app, "/reports/..%2F..%2Fetc/report.md", StatusCode::NOT_FOUND).await;
    check(&app, "/reports/workstation/../../secret.svg", StatusCode::NOT_FOUND).await;
}

mod stopping {
    use std::time::Duration;

    use tokio::io::AsyncWriteExt as _;
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::oneshot;
    use tokio::time::timeout;

    use super::*;
    use crate::web::serve;

    #[tokio::test]
    async fn a_client_that_never_ends_its_request_does_not_hold_the_stop() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("is free");
        let address = listener.local_addr().expect("is bound");
        let (stop, stopped) = oneshot::channel::<()>();
        let router = router(small_app(Path::new("/nowhere")));
        let serving = tokio::spawn(serve(listener, router, Security::default(), async move { drop(stopped.await) }));
        let mut slow = TcpStream::connect(address).await.expect("is served");
        slow.write_all(b"GET / HTTP/1.1\r\nhost: ").await.expect("is taken");
        stop.send(()).expect("is heard");
        let ended = timeout(Duration::from_secs(4), serving).await.expect("ends in time");
        ended.expect("did not panic");
    }
}

/// An application that takes orders, and where they arrive.
fn orderly() -> (App, mpsc::Receiver<ReloadRequest>) {
    let (reloads, requests) = mpsc::channel(1);
    let lifecycle = Some(Lifecycle { control: Control::default(), reloads });
    (App { lifecycle, ..small_app(Path::new("/nowhere")) }, requests)
}

/// Orders something with these headers, compares the answer.
async fn check_order(app: &App, path: &str, headers: &[(&str, &str)], expected: (StatusCode, &str)) {
    let request = headers.iter().fold(Request::post(path), |request, (name, value)| request.header(*name, *value));
    let response = ask(app, request.body(Body::empty()).expect("is a request")).await;
    assert_eq!((response.status(), text(response).await.as_str()), expected, "{path} {headers:?}");
}

#[tokio::test(start_paused = true)]
async fn a_pause_is_of_one_target_or_all_and_for_a_time_or_until_resumed() {
    let (app, _requests) = orderly();
    let control = app.lifecycle.as_ref().expect("takes orders").control.clone();
    let is_paused = |later: i64| control.pause_of("workstation", now() + SignedDuration::from_secs(later)).is_some();
    let ok = |text| (StatusCode::OK, text);
    let until = "target workstation paused until 2026-11-24 17:31:02 UTC\n";
    check_order(&app, "/-/pause?target=workstation&for=30m", &[], ok(until)).await;
    assert!(is_paused(1799) && !is_paused(1800));
    check_order(&app, "/-/pause", &[], ok("all targets paused until resumed\n")).await;
    assert!(is_paused(99_999));
    check_order(&app, "/-/resume?target=workstation", &[], ok("target workstation resumed\n")).await;
    assert!(!is_paused(0));
    let unknown = (StatusCode::NOT_FOUND, "there is no such target\nhint: the targets are workstation\n");
    check_order(&app, "/-/pause?target=nobody", &[], unknown).await;
    check_order(&app, "/-/resume?target=nobody", &[], unknown).await;
    let bad = (StatusCode::BAD_REQUEST, "for: must be a duration above zero such as 30m or 1h30m\n");
    check_order(&app, "/-/pause?for=soon", &[], bad).await;
    check_order(&app, "/-/pause?for=0s", &[], bad).await;
    assert!(!is_paused(0));
}

#[tokio::test]
async fn orders_are_taken_where_they_are_allowed_and_from_no_other_site() {
    let refused = (StatusCode::FORBIDDEN, "orders are not allowed\nhint: start llmsoak with --web.enable-lifecycle\n");
    for path in ["/-/reload", "/-/pause", "/-/resume"] {
        check_order(&small_app(Path::new("/nowhere")), path, &[], refused).await;
    }
    let (app, _requests) = orderly();
    let resumed = (StatusCode::OK, "all targets resumed\n");
    let elsewhere = (StatusCode::FORBIDDEN, "orders from other sites' pages are not taken\n");
    let local = ("host", "127.0.0.1:1");
    check_order(&app, "/-/resume", &[local, ("sec-fetch-site", "same-origin")], resumed).await;
    check_order(&app, "/-/resume", &[local, ("sec-fetch-site", "cross-site")], elsewhere).await;
    check_order(&app, "/-/resume", &[local, ("origin", "http://127.0.0.1:1")], resumed).await;
    check_order(&app, "/-/resume", &[local, ("origin", "http://127.0.0.1:2")], elsewhere).await;
    check_order(&app, "/-/resume", &[local, ("origin", "null")], elsewhere).await;
}

#[tokio::test]
async fn a_browser_gives_orders_to_an_address_alone_for_a_name_may_be_made_to_mean_it() {
    let (app, _requests) = orderly();
    let resumed = (StatusCode::OK, "all targets resumed\n");
    let named = (
        StatusCode::FORBIDDEN,
        "orders from a browser are not taken under a name\nhint: use the IP address or localhost, or another client\n",
    );
    for (host, from_browser) in [
        ("192.0.2.7", resumed),
        ("127.0.0.1:11499", resumed),
        ("[::1]:11499", resumed),
        ("LocalHost:11499", resumed),
        ("evil.example", named),
        ("127.0.0.1.evil.example:11499", named),
        ("localhost.evil.example", named),
        ("127.0.0.1@evil.example", named),
        ("", named),
    ] {
        let origin = format!("http://{host}");
        check_order(&app, "/-/resume", &[("host", host), ("origin", &origin)], from_browser).await;
        check_order(&app, "/-/resume", &[("host", host), ("sec-fetch-site", "same-origin")], from_browser).await;
        check_order(&app, "/-/resume", &[("host", host)], resumed).await;
    }
}

#[tokio::test]
async fn a_reload_answers_with_what_came_of_it() {
    let (app, mut requests) = orderly();
    tokio::spawn(async move {
        for outcome in [Ok("3 targets are in force".to_owned()), Err("llmsoak.yml:2: wrong".to_owned())] {
            let request: ReloadRequest = requests.recv().await.expect("a request");
            request.send(outcome).expect("somebody waits");
        }
    });
    check_order(&app, "/-/reload", &[], (StatusCode::OK, "3 targets are in force\n")).await;
    check_order(&app, "/-/reload", &[], (StatusCode::BAD_REQUEST, "llmsoak.yml:2: wrong\n")).await;
    check_order(&app, "/-/reload", &[], (StatusCode::SERVICE_UNAVAILABLE, "the program is stopping\n")).await;
}

#[tokio::test(start_paused = true)]
async fn the_grid_shows_the_measure_that_was_chosen() {
    let app = small_app(Path::new("/nowhere"));
    for (measure, heading, cell) in [
        ("", "Tokens per second <small>median of each cell", ">46.6</td>"),
        ("?measure=request_failures", "Failed requests <small>share of", ">0 %</td>"),
        ("?measure=age", "Age <small>since each cell&#39;s last attempt", ">0.0 ms</td>"),
        ("?measure=samples", "Samples <small>valid ones", ">2</td>"),
        // No sample of this soak tells it.
        ("?measure=time_to_first_token_p95", "Time to first token <small>95th percentile", ">–</td>"),
        ("?measure=%3Cb%3E", "Tokens per second", ">46.6</td>"),
    ] {
        let page = check(&app, &format!("/{measure}"), StatusCode::OK).await;
        assert!(page.contains(&heading.replace("&#39;", "'")) && page.contains(cell), "{measure}: {page}");
        assert_eq!(page.matches("#grid-0\" aria-current=\"true\"").count(), 1, "{measure}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_alarm_is_on_the_page_and_in_the_api_while_it_lasts() {
    let board = board(&[("workstation", "gemma3:4b")]);
    let target = TargetId::new("workstation", "gemma3:4b");
    let turned = |turn, active| Happening::AlarmTurned {
        measure: Measure::TimeToFirstToken,
        turn,
        direction: Direction::Regression,
        active,
    };
    let alarm = ActiveAlarm {
        measure: Measure::TimeToFirstToken,
        direction: Direction::Regression,
        since: CycleRef { cycle: 7, at: now() },
        ratio: 1.082,
    };
    tell(&board, &target, turned(Turn::Raised, Some(alarm)));
    let app = app(board.clone(), "/nowhere");
    let words = "time to first token: +8.2 %, worse than what was last accepted";
    assert!(check(&app, "/", StatusCode::OK).await.contains(words));
    let told = check(&app, "/api/v1/status", StatusCode::OK).await;
    assert!(told.contains(r#""measure":"time_to_first_token","ratio":1.082"#), "{told}");
    tell(&board, &target, turned(Turn::Recovered, None));
    assert!(!check(&app, "/", StatusCode::OK).await.contains(words));
}
