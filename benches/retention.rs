//! What retention costs in a history of a million samples, while samples go on being recorded.
//!
//! `cargo bench --bench retention` makes such a history, deletes nine tenths of it in steps
//! without a pause between them, the last of them while a reader reads all of it again and
//! again, and prints sizes and times. It fails when the file does not shrink or the
//! write-ahead log grows beyond its bound. `SAMPLES=200000` makes a smaller one.

#![expect(clippy::expect_used, reason = "a bench may end at the first surprise")]

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use llmsoak::analysis::quantile::quantiles;
use llmsoak::domain::{
    Cell, Conditions, EpochId, Event, Facts, Grid, Happening, Latencies, Measurement, Sample, TargetId, TokenSource,
};
use llmsoak::store::{FILE_NAME, Sighting, Writer};
use rusqlite::Connection;
use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, sleep};

/// From one sample to the next, seconds.
const APART: i64 = 30;
/// Cycles that are measured; the rest of the history are copies of them.
const CYCLES: u64 = 2;
const OUTPUT_TOKENS: u32 = 204;
/// Samples that are deleted while a reader is there.
const BESIDE_A_READER: i64 = 100_000;
/// The log's bound: what it is cut back to, and a step more.
const LOG_BYTES: u64 = 24 << 20;
const MEBIBYTE: f64 = 1_048_576.0;

fn main() -> ExitCode {
    let samples = std::env::var("SAMPLES").map_or(1_000_000, |text| text.parse().expect("SAMPLES is a number"));
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let epoch = write_template(&runtime, folder.path());
    let samples = copy_template(folder.path(), samples);

    let (writer, thread) = Writer::open(folder.path()).expect("a history");
    let file = folder.path().join(FILE_NAME);
    let size = || std::fs::metadata(&file).expect("a file").len();
    let before = size();
    let recorder = Recorder { writer: writer.clone(), epoch, next: samples + 1 };
    let (recorder, alone) = runtime.block_on(recorder.record_until(&AtomicBool::new(true), 200));

    let stop = Arc::new(AtomicBool::new(false));
    let seen = stop.clone();
    let recording = runtime.spawn(async move { recorder.record_until(&seen, 0).await });
    let prune = |before| runtime.block_on(prune(folder.path(), &writer, before));
    let without = prune(at(samples * 9 / 10 - BESIDE_A_READER));
    let beside = with_a_reader(folder.path(), || prune(at(samples * 9 / 10)));
    stop.store(true, Ordering::Relaxed);
    let (recorder, meanwhile) = runtime.block_on(recording).expect("records");
    drop((writer, recorder));
    thread.join().expect("the writer ends");

    let after = size();
    let share = after as f64 / before as f64;
    let deleted = without.samples + beside.samples;
    println!("samples   {samples}, of which {deleted} deleted, {} recorded meanwhile", meanwhile.len());
    println!("file      {:.0} → {:.0} MiB ({:.1} %)", before as f64 / MEBIBYTE, after as f64 / MEBIBYTE, 100.0 * share);
    for (name, run) in [("without a reader", &without), ("with a reader", &beside)] {
        println!("steps {name}: {}, and {} that waited", run.seconds.len(), run.waits);
        println!("          {}; log at most {:.1} MiB", spread(&run.seconds), run.log_bytes as f64 / MEBIBYTE);
    }
    println!("a sample is written in");
    println!("          {} without pruning", spread(&alone));
    println!("          {} while pruning without a pause", spread(&meanwhile));
    let is_sound = share < 0.15
        && without.log_bytes.max(beside.log_bytes) < LOG_BYTES
        && deleted >= samples.unsigned_abs() * 8 / 10;
    if is_sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn spread(seconds: &[f64]) -> String {
    let quantiles = quantiles(seconds).expect("is not empty");
    let longest = seconds.iter().copied().fold(0.0, f64::max);
    let [p50, p99, longest] = [quantiles.p50, quantiles.p99, longest].map(|seconds| 1e3 * seconds);
    format!("p50 {p50:.1} ms, p99 {p99:.1} ms, max {longest:.1} ms")
}

/// When the sample of that number ended.
fn at(number: i64) -> Timestamp {
    let origin: Timestamp = "2026-01-01T00:00:00Z".parse().expect("is a time");
    origin + SignedDuration::from_secs(APART * number)
}

fn target() -> TargetId {
    TargetId::new("workstation", "gemma3:4b")
}

/// Samples as a server of the reference profile gives them, written as the program writes them.
fn write_template(runtime: &Runtime, folder: &Path) -> EpochId {
    let (writer, thread) = Writer::open(folder).expect("a history");
    let sighting = Sighting {
        target: target(),
        url: "http://127.0.0.1:11434".to_owned(),
        identity: Facts::new(),
        load: Facts::new(),
        at: at(0),
        running: None,
    };
    let epoch = runtime.block_on(writer.enter_epoch(sighting)).expect("an epoch").epoch.id;
    let cells = Grid::legacy(true).measured();
    let cells = (1..=CYCLES).flat_map(|_| &cells);
    for (number, &cell) in (1..).zip(cells) {
        runtime.block_on(writer.record(Arc::new(measured(epoch, number, cell))));
    }
    runtime.block_on(writer.flush());
    drop(writer);
    thread.join().expect("the writer ends");
    epoch
}

/// An event of a sample with all its latencies.
fn measured(epoch: EpochId, number: i64, cell: Cell) -> Event {
    let step = 0.019 + 0.00215 * f64::from(cell.concurrency());
    // Spread widely, and different for each sample.
    let noisy = |index: u32| step * (1.0 + 0.2 * (f64::from(index) + 0.1 * number as f64).sin());
    let tokens = cell.batch * OUTPUT_TOKENS;
    let inter_token_latency: Vec<f64> = (0..tokens).map(noisy).collect();
    let of_requests = |factor: f64| -> Vec<f64> { (0..cell.batch).map(|index| factor * noisy(index)).collect() };
    let latencies = Latencies {
        time_to_first_token: of_requests(3.0),
        time_per_output_token: of_requests(1.0),
        request_duration: of_requests(f64::from(OUTPUT_TOKENS)),
        requests_without_inter_token_latency: 0,
        inter_token_latency,
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
        conditions: Conditions::default(),
    };
    let completed_at = at(number);
    let sample = Sample {
        target: target(),
        epoch,
        cycle: 1,
        cell,
        started_at: completed_at - SignedDuration::from_secs(APART / 2),
        completed_at,
        measurement,
        invalid: Vec::new(),
    };
    let happening = Happening::SampleEnded { sample: Arc::new(sample), latencies: Arc::new(latencies) };
    Event { at: completed_at, target: target(), happening }
}

/// Repeats what was measured, later each time, until there are about that many samples; returns
/// how many there are.
fn copy_template(folder: &Path, samples: i64) -> i64 {
    let connection = Connection::open(folder.join(FILE_NAME)).expect("a history");
    connection.execute_batch("PRAGMA synchronous = OFF").expect("a setting");
    let measured: i64 = connection.query_row("SELECT COUNT(*) FROM sample", [], |row| row.get(0)).expect("a count");
    let columns: Vec<String> = connection
        .prepare("SELECT name FROM pragma_table_info('sample')")
        .and_then(|mut statement| statement.query_map([], |row| row.get(0))?.collect())
        .expect("columns");
    let later =
        |column: &str| format!("strftime('%Y-%m-%dT%H:%M:%fZ', unixepoch({column}) + ?1 * {APART}, 'unixepoch')");
    let values: Vec<String> = columns
        .iter()
        .map(|column| match column.as_str() {
            "id" => "id + ?1".to_owned(),
            "started_at" | "completed_at" => later(column),
            _ => column.clone(),
        })
        .collect();
    let (columns, values) = (columns.join(", "), values.join(", "));
    let of_samples = format!("INSERT INTO sample ({columns}) SELECT {values} FROM sample WHERE id <= {measured}");
    let of_latencies = format!(
        "INSERT INTO latency SELECT sample_id + ?1, measure, histogram FROM latency WHERE sample_id <= {measured}"
    );
    let copies = samples / measured;
    connection.execute_batch("BEGIN").expect("a transaction");
    for copy in 1..copies {
        for sql in [&of_samples, &of_latencies] {
            connection.prepare_cached(sql).expect("sound").execute([copy * measured]).expect("copies");
        }
        if copy % 100 == 0 {
            connection.execute_batch("COMMIT; BEGIN").expect("a transaction");
        }
    }
    connection
        .execute("UPDATE cell_aggregate SET newest_valid_sample = newest_valid_sample + ?1", [(copies - 1) * measured])
        .expect("the newest are copies");
    connection.execute_batch("COMMIT; PRAGMA wal_checkpoint(TRUNCATE)").expect("no reader");
    copies * measured
}

/// Records one sample after another, as a fast target would.
struct Recorder {
    writer: Writer,
    epoch: EpochId,
    next: i64,
}

impl Recorder {
    /// Until told to stop, but that many at least; returns how long each took to be written.
    async fn record_until(mut self, stop: &AtomicBool, at_least: usize) -> (Self, Vec<f64>) {
        let mut seconds = Vec::new();
        while !stop.load(Ordering::Relaxed) || seconds.len() < at_least {
            let event = Arc::new(measured(self.epoch, self.next, Cell::new(4, 4)));
            self.next += 1;
            let begun = Instant::now();
            self.writer.record(event).await;
            self.writer.flush().await;
            seconds.push(begun.elapsed().as_secs_f64());
            sleep(Duration::from_millis(100)).await;
        }
        (self, seconds)
    }
}

/// What some steps took.
#[derive(Default)]
struct Run {
    samples: u64,
    waits: usize,
    seconds: Vec<f64>,
    log_bytes: u64,
}

/// Steps without a pause until nothing is left that ended before a time.
async fn prune(folder: &Path, writer: &Writer, before: Timestamp) -> Run {
    let log = folder.join(format!("{FILE_NAME}-wal"));
    let mut run = Run::default();
    loop {
        let begun = Instant::now();
        let pruned = writer.prune(before).await.expect("a step");
        run.log_bytes = run.log_bytes.max(std::fs::metadata(&log).map_or(0, |log| log.len()));
        if pruned.samples == 0 && pruned.freed_bytes == 0 && pruned.has_more {
            run.waits += 1;
            sleep(Duration::from_millis(100)).await;
            continue;
        }
        run.seconds.push(begun.elapsed().as_secs_f64());
        run.samples += pruned.samples;
        if !pruned.has_more {
            return run;
        }
    }
}

/// Does some work while all distributions are read again and again, with a short rest each time.
fn with_a_reader<T>(folder: &Path, work: impl FnOnce() -> T) -> T {
    let connection = Connection::open(folder.join(FILE_NAME)).expect("a history");
    let stop = Arc::new(AtomicBool::new(false));
    let seen = stop.clone();
    let reading = std::thread::spawn(move || {
        while !seen.load(Ordering::Relaxed) {
            let all = "SELECT TOTAL(LENGTH(HEX(histogram))) FROM latency";
            connection.query_row(all, [], |row| row.get::<_, f64>(0)).expect("a sum");
            std::thread::sleep(Duration::from_millis(200));
        }
    });
    let outcome = work();
    stop.store(true, Ordering::Relaxed);
    reading.join().expect("reads");
    outcome
}
