//! What a report costs in a history of 1,000 cycles.
//!
//! `cargo bench --bench report` records the legacy grid with the real store: 60 cycles of an
//! epoch and 1,000 of the next one, 66,000 samples with their latencies. Then a process of its own
//! reads them, renders the report in both languages and writes it, and tells how long that took
//! and how much memory it had at the most. It fails beyond a second or 100 MB. `CYCLES=100`
//! makes a shorter history.

#![expect(clippy::expect_used, reason = "a bench may end at the first surprise")]

#[path = "recorded/mod.rs"]
mod recorded;

use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use llmsoak::domain::plan::Language;
use llmsoak::domain::{EstimatePlan, Event, Grid, Happening};
use llmsoak::report::{ReportInput, render, snapshot};
use llmsoak::store::{CycleStart, FILE_NAME, Reader, Sighting, Writer};
use recorded::{APART, measured, target};
use tokio::time::Instant;

/// Cycles of the epoch before: as many as a comparison weighs.
const CYCLES_BEFORE: u64 = 60;
/// The bounds.
const SECONDS: f64 = 1.0;
const MEGABYTES: f64 = 100.0;
/// Names the folder of the history for the process that renders.
const FOLDER: &str = "LLMSOAK_BENCH_FOLDER";

fn main() -> ExitCode {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return render_all(Path::new(&folder));
    }
    let cycles = std::env::var("CYCLES").map_or(1000, |text| text.parse().expect("CYCLES is a number"));
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let begun = Instant::now();
    runtime.block_on(record(folder.path(), cycles));
    let megabytes = std::fs::metadata(folder.path().join(FILE_NAME)).expect("a file").len() as f64 / 1e6;
    println!("history   {cycles} cycles and {CYCLES_BEFORE} before, {megabytes:.0} MB");
    println!("          recorded in {:.0} s", begun.elapsed().as_secs_f64());
    let program = std::env::current_exe().expect("a program");
    let ended = Command::new(program).env(FOLDER, folder.path()).status().expect("runs");
    if ended.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Reads, renders and writes, and fails where that takes more than it may.
fn render_all(folder: &Path) -> ExitCode {
    let now: Timestamp = "2026-12-24T12:00:00Z".parse().expect("is a time");
    let mut holds = true;
    for &language in Language::ALL {
        let begun = Instant::now();
        let history = Reader::open(folder).expect("a history");
        let input = ReportInput::from_history(&history, "workstation", None, EstimatePlan::default(), now)
            .expect("is read")
            .expect("has samples");
        let read = begun.elapsed().as_secs_f64();
        let report = render(&input, language).expect("is rendered");
        let rendered = begun.elapsed().as_secs_f64() - read;
        snapshot::write(&folder.join(language.code()), &report, "workstation", now, 1).expect("is written");
        let total = begun.elapsed().as_secs_f64();
        let bytes = report.markdown.len() + report.charts.iter().map(|chart| chart.svg.len()).sum::<usize>();
        println!(
            "report    {}: {} samples, {} charts, {:.0} kB",
            language.code(),
            input.samples.len(),
            report.charts.len(),
            bytes as f64 / 1e3
        );
        println!(
            "          read in {read:.2} s, rendered in {rendered:.2} s, written in {:.2} s: {total:.2} s",
            total - read - rendered
        );
        holds &= total < SECONDS;
    }
    let megabytes = peak_bytes() as f64 / 1e6;
    println!("memory    {megabytes:.0} MB at the most");
    if holds && megabytes < MEGABYTES { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The most memory that this process ever had, as the kernel counts it.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the kernel counts");
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kibibytes * 1024
}

async fn record(folder: &Path, cycles: u64) {
    let (writer, thread) = Writer::open(folder).expect("a history");
    let mut clock = Clock("2026-01-01T00:00:00Z".parse().expect("is a time"));
    epoch(&writer, "1.0", 1..=CYCLES_BEFORE, 1.0, &mut clock).await;
    epoch(&writer, "1.1", CYCLES_BEFORE + 1..=CYCLES_BEFORE + cycles, 1.05, &mut clock).await;
    writer.flush().await;
    drop(writer);
    thread.join().expect("the writer ends");
}

/// The time of the history.
struct Clock(Timestamp);

impl Clock {
    fn next(&mut self) -> Timestamp {
        self.0 += SignedDuration::from_secs(APART);
        self.0
    }
}

/// Cycles of a server of that version, which is slower by a factor.
async fn epoch(writer: &Writer, version: &str, cycles: std::ops::RangeInclusive<u64>, factor: f64, clock: &mut Clock) {
    let facts = |key: &str, value: &str| [(key.to_owned(), value.to_owned())].into();
    let sighting = Sighting {
        target: target(),
        url: "http://127.0.0.1:11434".to_owned(),
        identity: facts("server_version", version),
        load: facts("slots_mode", "client"),
        at: clock.next(),
        running: None,
    };
    let epoch = writer.enter_epoch(sighting).await.expect("an epoch").epoch.id;
    let grid = Arc::new(Grid::legacy(true));
    let cells = grid.measured();
    for number in cycles {
        let at = clock.next();
        writer.start_cycle(CycleStart { target: target(), epoch, number, grid: grid.clone(), seed: 42, at }).await;
        for &cell in &cells {
            writer.record(Arc::new(measured(epoch, number, cell, factor, clock.next()))).await;
        }
        let happening = Happening::CycleEnded { cycle: number, seconds: 1800.0 };
        writer.record(Arc::new(Event { target: target(), at: clock.next(), happening })).await;
    }
}
