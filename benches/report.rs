//! What a report costs in a history of 1,000 cycles.
//!
//! `cargo bench --bench report` records the legacy grid with the real store: 60 cycles of an
//! epoch and 1,000 of the next one, 66,000 samples with their latencies. Then a process of its own
//! reads them, renders the report in both languages and writes it, and tells how long that took
//! and how much memory it had at the most. It fails beyond a second or 100 MB. `CYCLES=100`
//! makes a shorter history.

#![expect(clippy::expect_used, reason = "a bench may end at the first surprise")]

use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use llmsoak::analysis::quantile::quantiles;
use llmsoak::domain::plan::Language;
use llmsoak::domain::{
    Cell, Conditions, EpochId, EstimatePlan, Event, Grid, Happening, Latencies, Measurement, Sample, TargetId,
    TokenSource,
};
use llmsoak::report::{ReportInput, render, snapshot};
use llmsoak::store::{CycleStart, FILE_NAME, Reader, Sighting, Writer};
use tokio::time::Instant;

/// Cycles of the epoch before: as many as a comparison weighs.
const CYCLES_BEFORE: u64 = 60;
const OUTPUT_TOKENS: u32 = 204;
/// From one sample to the next, seconds.
const APART: i64 = 30;
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

fn target() -> TargetId {
    TargetId::new("workstation", "gemma3:4b")
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

/// An event of a sample with latencies, different in each cycle.
fn measured(epoch: EpochId, cycle: u64, cell: Cell, factor: f64, completed_at: Timestamp) -> Event {
    let wobble = 1.0 + 0.02 * (cycle as f64 * 1.7 + f64::from(cell.batch) + 0.3 * f64::from(cell.workers)).sin();
    let step = (0.019 + 0.002_15 * f64::from(cell.concurrency())) * factor * wobble;
    let noisy = |index: u32| step * (1.0 + 0.2 * (f64::from(index) + 0.1 * cycle as f64).sin());
    let tokens = cell.batch * OUTPUT_TOKENS;
    let of_requests = |factor: f64| -> Vec<f64> { (0..cell.batch).map(|index| factor * noisy(index)).collect() };
    let latencies = Latencies {
        time_to_first_token: of_requests(3.0),
        time_per_output_token: of_requests(1.0),
        request_duration: of_requests(f64::from(OUTPUT_TOKENS)),
        requests_without_inter_token_latency: 0,
        // A tenth of the tokens: a histogram is as large with all of them.
        inter_token_latency: (0..tokens / 10).map(noisy).collect(),
    };
    let total_seconds = f64::from(tokens) * step / f64::from(cell.concurrency());
    let measurement = Measurement {
        total_seconds,
        seconds_per_request: total_seconds / f64::from(cell.batch),
        tokens_per_second: f64::from(tokens) / total_seconds,
        steady_tokens_per_second: Some(f64::from(cell.concurrency()) / step),
        prompt_tokens_per_second: Some(1000.0 / step),
        requests: cell.batch,
        failed_requests: 0,
        failures: Default::default(),
        output_tokens: tokens.into(),
        prompt_tokens: Some(64 * u64::from(cell.batch)),
        cached_prompt_tokens: Some(0),
        token_source: TokenSource::Usage,
        short_outputs: 0,
        observed_parallelism: Some(f64::from(cell.concurrency())),
        observed_parallelism_peak: Some(cell.concurrency()),
        reported_slots: None,
        time_to_first_token: quantiles(&latencies.time_to_first_token),
        inter_token_latency: quantiles(&latencies.inter_token_latency),
        time_per_output_token: quantiles(&latencies.time_per_output_token),
        request_duration: quantiles(&latencies.request_duration),
        worker_wait: quantiles(&[0.0]),
        queue_wait: quantiles(&[0.0]),
        load_seconds: Some(0.0),
        gpu_share: Some(1.0),
        timer_lag_p99_seconds: Some(0.0002),
        client_cpu_ratio: 0.01,
        conditions: Conditions {
            gpu_temperature_celsius: Some(60.0 + 5.0 * wobble),
            power_watts: Some(250.0 * wobble),
            energy_joules: Some(250.0 * total_seconds),
            ..Conditions::default()
        },
    };
    let started_at = completed_at - SignedDuration::from_secs(APART / 2);
    let sample =
        Sample { target: target(), epoch, cycle, cell, started_at, completed_at, measurement, invalid: Vec::new() };
    let happening = Happening::SampleEnded { sample: Arc::new(sample), latencies: Arc::new(latencies) };
    Event { at: completed_at, target: target(), happening }
}
