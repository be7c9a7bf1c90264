//! Whether scrapes and reports disturb what is measured, and how long a scrape takes meanwhile.
//!
//! A service runtime as the daemon has it serves `/metrics` of a legacy grid to a process that
//! asks ten times a second, and renders one report after the other. Beside it, on the measuring
//! runtime, 1,024 paced streams are compared with the truth.

#[path = "../recorded/mod.rs"]
mod recorded;

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use llmsoak::domain::plan::{Language, MetricsPlan};
use llmsoak::domain::{EstimatePlan, Event, Grid, Happening};
use llmsoak::metrics::{LogCounter, Metrics, NotificationCounter, ProcessSources, ReloadStatus, ReportCounter};
use llmsoak::process::in_background;
use llmsoak::report::{ReportInput, render};
use llmsoak::soak::{Board, LagMeter, WallClock};
use llmsoak::store::{CycleStart, Reader, Sighting, Writer};
use llmsoak::web::{App, Readiness, Security, router, serve};
use recorded::{APART, measured, target};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

use super::clients::Kind;
use super::clock::{middle, nanoseconds, now, quantile, runtime};
use super::{RUNS, Server, Verdict, paced, role};

const STREAMS: u32 = 1024;
const CYCLES: u64 = 50;
const BETWEEN_SCRAPES: Duration = Duration::from_millis(100);
const BETWEEN_REPORTS: Duration = Duration::from_secs(1);
const MOST_SCRAPE_MILLISECONDS: f64 = 20.0;

pub(crate) fn compare(verdict: &mut Verdict) {
    let folder = tempfile::tempdir().expect("a folder");
    let service = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads");
    let url = service.block_on(serve_legacy_grid(folder.path()));
    let server = Server::start();
    let measuring = runtime("measure");
    let (mut runs, mut scrapes) = (Vec::new(), Vec::new());
    let reports = Arc::new(AtomicU64::new(0));
    for _ in 0..RUNS {
        let quiet = paced::run(&measuring, &server, Kind::Hyper, STREAMS);
        let over = draw_reports(&service, folder.path(), &reports);
        let mut scraper = role("scraper", &[&url]).spawn().expect("starts");
        let disturbed = paced::run(&measuring, &server, Kind::Llmsoak, STREAMS);
        over.store(true, Ordering::Relaxed);
        // The end of its input ends it.
        scraper.stdin.take();
        let output = BufReader::new(scraper.stdout.take().expect("is piped"));
        scrapes.push(output.lines().map(|line| line.expect("text").parse().expect("a number")).collect::<Vec<f64>>());
        scraper.wait().expect("ends");
        runs.push([quiet, disturbed]);
    }
    let total: usize = scrapes.iter().map(Vec::len).sum();
    Verdict::tell("meanwhile", &format!("{total} scrapes, {} reports", reports.load(Ordering::Relaxed)));
    paced::judge(verdict, &format!("{STREAMS} streams, scraped"), &runs);
    let of = |share: f64| middle(&scrapes.iter().map(|run| quantile(run, share)).collect::<Vec<_>>());
    Verdict::tell("a scrape of the legacy grid, median", &format!("{:.1} ms", of(0.5)));
    verdict.at_most("a scrape of the legacy grid, p99", of(0.99), MOST_SCRAPE_MILLISECONDS, "ms");
}

/// Renders reports until the flag that it returns is set.
fn draw_reports(service: &Runtime, folder: &Path, drawn: &Arc<AtomicU64>) -> Arc<AtomicBool> {
    let over = Arc::new(AtomicBool::new(false));
    let (folder, drawn, ends) = (folder.to_owned(), drawn.clone(), over.clone());
    let draw = move || {
        while !ends.load(Ordering::Relaxed) {
            let history = Reader::open(&folder).expect("a history");
            let input = ReportInput::from_history(&history, "workstation", None, EstimatePlan::default(), begin())
                .expect("is read")
                .expect("has samples");
            render(&input, Language::English).expect("is rendered");
            drawn.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(BETWEEN_REPORTS);
        }
    };
    service.spawn(in_background(draw));
    over
}

fn begin() -> Timestamp {
    "2026-12-24T12:00:00Z".parse().expect("is a time")
}

/// Records a history of the legacy grid, shows it, and returns where.
async fn serve_legacy_grid(folder: &Path) -> String {
    let (history, _) = Writer::open(folder).expect("a history");
    let facts = |key: &str, value: &str| [(key.to_owned(), value.to_owned())].into();
    let sighting = Sighting {
        target: target(),
        url: "http://127.0.0.1:11434".to_owned(),
        identity: facts("server_version", "1"),
        load: facts("slots_mode", "client"),
        at: begin(),
        running: None,
    };
    let epoch = history.enter_epoch(sighting).await.expect("an epoch").epoch.id;
    let (board, clock) = (Board::default(), WallClock::System);
    let sources = ProcessSources {
        log: LogCounter::default(),
        reports: ReportCounter::default(),
        notifications: NotificationCounter::default(),
        reload: ReloadStatus::new(clock.now()),
        lag: LagMeter::default(),
        storage: history.status(),
    };
    let metrics = Arc::new(Metrics::new(board.clone(), sources, &MetricsPlan::default()));
    let grid = Arc::new(Grid::legacy(true));
    let mut at = begin();
    let mut samples = Vec::new();
    for number in 1..=CYCLES {
        let start = CycleStart { target: target(), epoch, number, grid: grid.clone(), seed: 42, at };
        history.start_cycle(start).await;
        for &cell in &grid.measured() {
            at += SignedDuration::from_secs(APART);
            samples.push(Arc::new(measured(epoch, number, cell, 1.0, at)));
        }
        let happening = Happening::CycleEnded { cycle: number, seconds: 1800.0 };
        samples.push(Arc::new(Event { target: target(), at, happening }));
    }
    for event in &samples {
        history.record(event.clone()).await;
    }
    history.flush().await;
    let reader = Reader::open(folder).expect("a history");
    let known = reader.newest_epoch("workstation", None).expect("is read").expect("is there");
    let happenings = [
        Happening::Joined { url: "http://127.0.0.1:11434".to_owned(), lane: "gpu0".to_owned() },
        Happening::EpochEntered {
            epoch: Arc::new(known.epoch),
            grid,
            samples: Arc::default(),
            named: None,
            before: None,
            changes: Arc::default(),
        },
    ];
    let first = happenings.into_iter().map(|happening| Arc::new(Event { target: target(), at, happening }));
    for event in first.chain(samples) {
        board.apply(&event);
        metrics.observe(&event);
    }
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let url = format!("http://{}/metrics", listener.local_addr().expect("is bound"));
    let readiness = Readiness::default();
    readiness.set_ready();
    let (storage, reports) = (folder.to_owned(), folder.join("reports"));
    let app = App { board, metrics, storage, reports, clock, readiness, lifecycle: None };
    tokio::spawn(serve(listener, router(app), Security::default(), std::future::pending()));
    url
}

/// Scrapes as Prometheus does, until the standard input closes; prints the milliseconds of each.
pub(crate) fn scrape() {
    let url = std::env::args().nth(1).expect("is told what");
    let over = Arc::new(AtomicBool::new(false));
    let ends = over.clone();
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        ends.store(true, Ordering::Relaxed);
    });
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut taken = runtime.block_on(async {
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        let mut taken = Vec::new();
        while !over.load(Ordering::Relaxed) {
            let began = now();
            let answer = http.get(&url).header("accept-encoding", "gzip").send().await.expect("an answer");
            let body = answer.bytes().await.expect("a body");
            assert!(body.len() > 10_000, "the whole grid");
            let span = now() - began;
            taken.push(span as f64 / 1e6);
            let wait = nanoseconds(BETWEEN_SCRAPES).saturating_sub(span);
            tokio::time::sleep(Duration::from_nanos(wait)).await;
        }
        taken
    });
    taken.sort_by(f64::total_cmp);
    let text: String = taken.iter().map(|milliseconds| format!("{milliseconds}\n")).collect();
    std::io::stdout().write_all(text.as_bytes()).expect("somebody reads");
}
