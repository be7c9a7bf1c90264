//! Retention, aggregates, the ledger and the way up from an old schema, on real files.

mod changes;

use std::path::Path;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use rusqlite::Connection;
use tempfile::TempDir;

use super::retention::{self, DOOMED, PRUNABLE_EPOCHS, SAMPLES_A_STEP};
use super::schema::{MIGRATIONS, WAL_BYTES, number, open_to_read, open_to_write};
use super::{CycleStart, FILE_NAME, Reader, Sighting, StoreError, Writer};
use crate::domain::{
    Cell, CellAggregate, Conditions, Cost, EpochId, Event, Facts, Grid, Happening, InvalidReason, Latencies,
    Measurement, Moments, Quantiles, Sample, Spent, TargetId, ThrottleReason, TokenSource,
};

/// A stretch of cycles, one a day, of a server of that version under a load of that length.
pub(super) struct Stretch {
    model: &'static str,
    version: u32,
    output_tokens: u32,
    days: std::ops::Range<i64>,
}

pub(super) const fn stretch(version: u32, days: std::ops::Range<i64>) -> Stretch {
    Stretch { model: "gemma3:4b", version, output_tokens: 200, days }
}

fn day(number: i64) -> Timestamp {
    let origin: Timestamp = "2026-01-01T12:00:00Z".parse().expect("is a time");
    origin + SignedDuration::from_hours(24 * number)
}

fn facts(key: &str, value: u32) -> Facts {
    [(key.to_owned(), value.to_string())].into()
}

/// One that is different from all others of its cell. The cell 2×2 has none that is valid.
fn sample(target: &TargetId, epoch: EpochId, cycle: u64, cell: Cell, completed_at: Timestamp) -> Sample {
    let rate = 50.0 * f64::from(cell.concurrency()) * (1.0 + 0.01 * (cycle as f64).sin());
    let tokens = u64::from(cell.batch) * 200;
    let total_seconds = tokens as f64 / rate;
    let quantiles = |p50: f64| Some(Quantiles { p50, p95: 2.0 * p50, p99: 3.0 * p50 });
    let invalid = if cell == Cell::new(2, 2) { vec![InvalidReason::ClientLimited] } else { Vec::new() };
    let measurement = Measurement {
        total_seconds,
        seconds_per_request: total_seconds / f64::from(cell.batch),
        tokens_per_second: rate,
        steady_tokens_per_second: None,
        prompt_tokens_per_second: None,
        requests: cell.batch,
        failed_requests: 0,
        failures: Default::default(),
        output_tokens: tokens,
        prompt_tokens: None,
        cached_prompt_tokens: None,
        token_source: TokenSource::Usage,
        short_outputs: 0,
        observed_parallelism: None,
        observed_parallelism_peak: None,
        reported_slots: Some(4),
        time_to_first_token: quantiles(2.0 / rate),
        // A server that tells too little in every other cycle.
        inter_token_latency: quantiles(1.0 / rate).filter(|_| cycle.is_multiple_of(2)),
        time_per_output_token: None,
        request_duration: quantiles(total_seconds),
        worker_wait: None,
        queue_wait: quantiles(0.5 * total_seconds),
        load_seconds: None,
        gpu_share: Some(1.0 / f64::from(cell.batch)),
        timer_lag_p99_seconds: None,
        client_cpu_ratio: 0.01,
        // Known in every other cycle, as of a machine whose driver is away for a while.
        conditions: if cycle.is_multiple_of(2) { conditions(tokens as f64) } else { Conditions::default() },
    };
    let started_at = completed_at - SignedDuration::from_secs(10);
    Sample { target: target.clone(), epoch, cycle, cell, started_at, completed_at, measurement, invalid }
}

/// Conditions in which nothing is unknown.
fn conditions(unit: f64) -> Conditions {
    Conditions {
        gpu_temperature_celsius: Some(60.0 + unit),
        sm_clock_megahertz: Some(1900.0 + unit),
        memory_clock_megahertz: Some(2600.0 + unit),
        gpu_utilization: Some(0.9),
        power_watts: Some(300.0 + unit),
        gpu_memory_used_bytes: Some(70_000_000_000),
        throttle_reasons: [ThrottleReason::PowerCap, ThrottleReason::Thermal].into(),
        energy_joules: Some(2.5 * unit),
    }
}

/// A writer that is the calling test's own task.
async fn writing<T>(folder: &Path, work: impl AsyncFnOnce(&Writer) -> T) -> T {
    let (writer, task) = Writer::open_as_task(folder).expect("a history");
    let outcome = work(&writer).await;
    assert_eq!(writer.status().failures(), 0);
    drop(writer);
    task.await.expect("the writer ends well");
    outcome
}

async fn record(writer: &Writer, sample: Sample) {
    let seconds = sample.measurement.total_seconds;
    let latencies = Latencies { request_duration: vec![seconds, 2.0 * seconds], ..Latencies::default() };
    let (target, at) = (sample.target.clone(), sample.completed_at);
    let happening = Happening::SampleEnded { sample: Arc::new(sample), latencies: Arc::new(latencies) };
    writer.record(Arc::new(Event { at, target, happening })).await;
}

/// Lives through a stretch: enters its epoch and writes its cycles.
async fn live(writer: &Writer, stretch: &Stretch) -> EpochId {
    let target = TargetId::new("workstation", stretch.model);
    let sighting = Sighting {
        target: target.clone(),
        url: "http://127.0.0.1:11434".to_owned(),
        identity: facts("server_version", stretch.version),
        load: facts("output_tokens", stretch.output_tokens),
        at: day(stretch.days.start),
        running: None,
    };
    let epoch = writer.enter_epoch(sighting).await.expect("an epoch").epoch.id;
    let grid = Arc::new(Grid::new(&[1, 2], &[1, 2], true).expect("sound axes"));
    for number in stretch.days.clone() {
        let (cycle, at) = (number.unsigned_abs() + 1, day(number));
        let start = CycleStart { target: target.clone(), epoch, number: cycle, grid: grid.clone(), seed: 42, at };
        writer.start_cycle(start).await;
        for cell in grid.measured() {
            record(writer, sample(&target, epoch, cycle, cell, at)).await;
        }
        let happening = Happening::CycleEnded { cycle, seconds: 30.0 };
        writer.record(Arc::new(Event { at, target: target.clone(), happening })).await;
    }
    epoch
}

/// A history of those stretches, and their epochs.
pub(super) async fn lived(stretches: &[Stretch]) -> (TempDir, Vec<EpochId>) {
    let folder = TempDir::new().expect("a folder");
    let epochs = writing(folder.path(), async |writer| {
        let mut epochs = Vec::new();
        for stretch in stretches {
            epochs.push(live(writer, stretch).await);
        }
        epochs
    });
    let epochs = epochs.await;
    (folder, epochs)
}

fn samples(folder: &Path, epoch: EpochId) -> Vec<Sample> {
    Reader::open(folder).expect("a history").samples(&TargetId::new("any", "any"), epoch).expect("samples")
}

fn aggregates(folder: &Path, epoch: EpochId) -> Vec<CellAggregate> {
    Reader::open(folder).expect("a history").aggregates(epoch).expect("aggregates")
}

/// The days on which an epoch's cells still have samples.
fn days_left(folder: &Path, epoch: EpochId) -> String {
    let samples = samples(folder, epoch);
    let cells = [Cell::new(1, 1), Cell::new(1, 2), Cell::new(2, 2)].map(|cell| {
        let days: Vec<_> = samples.iter().filter(|sample| sample.cell == cell).map(|s| s.cycle - 1).collect();
        format!("{cell}: {days:?}")
    });
    cells.join(" ")
}

fn prune(folder: &Path, before: Timestamp, samples_a_step: usize) {
    let mut connection = open_to_write(&folder.join(FILE_NAME)).expect("a history");
    loop {
        let pruned = retention::step(&mut connection, before, samples_a_step, 0).expect("a step");
        assert!(pruned.samples <= samples_a_step as u64, "{pruned:?}");
        if !pruned.has_more {
            break;
        }
    }
    let orphans: i64 = connection
        .query_row("SELECT COUNT(*) FROM latency WHERE sample_id NOT IN (SELECT id FROM sample)", [], |row| row.get(0))
        .expect("a count");
    assert_eq!(orphans, 0);
}

/// Lives through the stretches, deletes what is older than a day in steps of several sizes,
/// and compares what is left of each. What else the history knows must stay.
async fn check(stretches: &[Stretch], before_day: i64, left: &[&str]) {
    let (original, epochs) = lived(stretches).await;
    let others = "SELECT (SELECT COUNT(*) FROM epoch) || ' ' || (SELECT COUNT(*) FROM cycle)";
    let others = |folder: &Path| -> String {
        let connection = open_to_read(&folder.join(FILE_NAME)).expect("a history");
        connection.query_row(others, [], |row| row.get(0)).expect("counts")
    };
    for samples_a_step in [1, 4, SAMPLES_A_STEP] {
        let folder = TempDir::new().expect("a folder");
        std::fs::copy(original.path().join(FILE_NAME), folder.path().join(FILE_NAME)).expect("a copy");
        prune(folder.path(), day(before_day), samples_a_step);
        let found: Vec<String> = epochs.iter().map(|&epoch| days_left(folder.path(), epoch)).collect();
        assert_eq!(found, left, "in steps of {samples_a_step}");
        assert_eq!(others(folder.path()), others(original.path()));
        for &epoch in &epochs {
            assert_eq!(aggregates(folder.path(), epoch), aggregates(original.path(), epoch));
            compare(&aggregates(folder.path(), epoch), &samples(original.path(), epoch));
        }
    }
}

/// Compares aggregates with the samples that they are of, by the textbook's formulas.
fn compare(aggregates: &[CellAggregate], samples: &[Sample]) {
    assert_eq!(aggregates.iter().map(|cell| cell.attempts).sum::<u64>(), samples.len() as u64);
    for aggregate in aggregates {
        let all: Vec<_> = samples.iter().filter(|sample| sample.cell == aggregate.cell).collect();
        let valid: Vec<_> = all.iter().filter(|sample| sample.is_valid()).map(|sample| &sample.measurement).collect();
        let rates: Vec<f64> = valid.iter().map(|m| m.tokens_per_second).collect();
        assert_eq!(aggregate.attempts, all.len() as u64);
        assert_eq!(Some(aggregate.first_at), all.iter().map(|sample| sample.started_at).min());
        assert_eq!(Some(aggregate.last_at), all.iter().map(|sample| sample.completed_at).max());
        assert_eq!(aggregate.valid_samples, valid.len() as u64);
        assert_eq!(aggregate.lowest_tokens_per_second, rates.iter().copied().reduce(f64::min));
        assert_eq!(aggregate.highest_tokens_per_second, rates.iter().copied().reduce(f64::max));
        let sum = |of: fn(&Measurement) -> u64| valid.iter().map(|m| of(m)).sum::<u64>();
        assert_eq!(aggregate.requests, sum(|m| m.requests.into()));
        assert_eq!(aggregate.failed_requests, sum(|m| m.failed_requests.into()));
        assert_eq!(aggregate.output_tokens, sum(|m| m.output_tokens));
        assert!((aggregate.total_seconds - valid.iter().map(|m| m.total_seconds).sum::<f64>()).abs() < 1e-9);
        compare_logs(aggregate.log_rate, &rates);
        let medians = |of: fn(&Measurement) -> Option<Quantiles>| -> Vec<f64> {
            valid.iter().filter_map(|m| of(m)).map(|quantiles| quantiles.p50).collect()
        };
        compare_logs(aggregate.log_time_to_first_token, &medians(|m| m.time_to_first_token));
        compare_logs(aggregate.log_inter_token_latency, &medians(|m| m.inter_token_latency));
    }
}

fn compare_logs(moments: Moments, values: &[f64]) {
    let logs: Vec<f64> = values.iter().map(|value| value.ln()).collect();
    let mean = logs.iter().sum::<f64>() / (logs.len().max(1) as f64);
    let m2: f64 = logs.iter().map(|log| (log - mean).powi(2)).sum();
    assert_eq!(moments.count, logs.len() as u64);
    assert!((moments.mean - mean).abs() < 1e-12 && (moments.m2 - m2).abs() < 1e-12, "{moments:?} {mean} {m2}");
}

#[tokio::test]
async fn the_baseline_stays_and_what_is_old_elsewhere_goes() {
    // The newest epoch is compared with the one before it, not with the first.
    let stretches = [stretch(1, 0..4), stretch(2, 4..7), stretch(3, 7..12)];
    check(
        &stretches,
        10,
        &[
            "1×1: [] 1×2: [] 2×2: []",
            "1×1: [4, 5, 6] 1×2: [4, 5, 6] 2×2: [4, 5, 6]",
            "1×1: [10, 11] 1×2: [10, 11] 2×2: [10, 11]",
        ],
    )
    .await;
}

#[tokio::test]
async fn an_epoch_of_two_cycles_is_no_baseline_and_the_one_before_it_may_be() {
    let stretches = [stretch(1, 0..3), stretch(2, 3..5), stretch(3, 5..6)];
    check(
        &stretches,
        5,
        &["1×1: [0, 1, 2] 1×2: [0, 1, 2] 2×2: [0, 1, 2]", "1×1: [] 1×2: [] 2×2: []", "1×1: [5] 1×2: [5] 2×2: [5]"],
    )
    .await;
}

#[tokio::test]
async fn an_epoch_of_another_load_or_model_is_no_baseline() {
    let stretches = [
        Stretch { model: "qwen3:8b", output_tokens: 24, ..stretch(1, 0..4) },
        stretch(1, 0..3),
        Stretch { output_tokens: 24, ..stretch(1, 3..6) },
    ];
    check(
        &stretches,
        5,
        // The other model's own epoch is its newest.
        &["1×1: [3] 1×2: [3] 2×2: []", "1×1: [] 1×2: [] 2×2: []", "1×1: [5] 1×2: [5] 2×2: [5]"],
    )
    .await;
}

#[tokio::test]
async fn after_a_year_off_the_newest_valid_sample_of_each_cell_is_left() {
    check(&[stretch(1, 0..5)], 365, &["1×1: [4] 1×2: [4] 2×2: []"]).await;
}

/// A long history: a short one, copied within its epoch.
async fn long_history(samples: i64) -> (TempDir, EpochId) {
    let (folder, epochs) = lived(&[stretch(1, 0..3)]).await;
    let connection = open_to_write(&folder.path().join(FILE_NAME)).expect("a history");
    let columns: Vec<String> = connection
        .prepare("SELECT name FROM pragma_table_info('sample') WHERE name <> 'id'")
        .and_then(|mut statement| statement.query_map([], |row| row.get(0))?.collect())
        .expect("columns");
    let copy = format!(
        "WITH RECURSIVE copies (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM copies LIMIT {samples})
         INSERT INTO sample ({0}) SELECT {0} FROM sample, copies WHERE id = 1;
         INSERT INTO latency SELECT sample.id, measure, histogram FROM sample, latency WHERE sample_id = 1 AND sample.id > 9",
        columns.join(", ")
    );
    connection.execute_batch(&copy).expect("copies");
    connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").expect("no reader");
    (folder, epochs[0])
}

#[tokio::test]
async fn the_file_shrinks_in_bounded_steps_by_what_they_tell() {
    let (folder, _) = long_history(1200).await;
    let length = || std::fs::metadata(folder.path().join(FILE_NAME)).expect("a file").len();
    let original = length();
    let deleted = writing(folder.path(), async |writer| {
        let mut deleted = Vec::new();
        loop {
            let before = length();
            let step = writer.prune(day(2)).await.expect("a step");
            assert_eq!(before - length(), step.freed_bytes);
            deleted.push(step.samples);
            if !step.has_more {
                return deleted;
            }
        }
    });
    assert_eq!(deleted.await, [500, 500, 206], "all copies and two days of three cells");
    assert!(length() < original / 2, "{} of {original}", length());
}

#[tokio::test]
async fn what_is_recorded_between_steps_is_neither_lost_nor_deleted() {
    let (folder, epoch) = long_history(1200).await;
    writing(folder.path(), async |writer| {
        for cycle in 101.. {
            let step = writer.prune(day(2)).await.expect("a step");
            let target = TargetId::new("workstation", "gemma3:4b");
            record(writer, sample(&target, epoch, cycle, Cell::new(1, 1), day(3))).await;
            if !step.has_more {
                break;
            }
        }
    })
    .await;
    let cycles: Vec<_> = samples(folder.path(), epoch).iter().map(|sample| sample.cycle).collect();
    assert_eq!(cycles, [3, 3, 3, 101, 102, 103]);
    assert_eq!(aggregates(folder.path(), epoch)[0].attempts, 6, "three days and three steps; no copy");
}

#[tokio::test]
async fn pruning_waits_for_a_reader_rather_than_let_the_log_grow() {
    let (folder, _) = long_history(600).await;
    let path = folder.path().join(FILE_NAME);
    let mut connection = open_to_write(&path).expect("a history");
    let reader = open_to_read(&path).expect("a history");
    reader.execute_batch("BEGIN; SELECT id FROM sample LIMIT 1").expect("a look");
    let mut step = |log_bytes| retention::step(&mut connection, day(2), 100, log_bytes).expect("a step");
    let has_moved = step(0);
    assert_eq!((has_moved.samples, has_moved.has_more), (100, true), "a short log may grow");
    let waits = step(WAL_BYTES + 1);
    assert_eq!((waits.samples, waits.has_more), (0, true));
    reader.execute_batch("COMMIT").expect("the end of the look");
    assert_eq!(step(WAL_BYTES + 1).samples, 100);
}

#[tokio::test]
async fn what_retention_looks_for_is_found_through_an_index() {
    let (folder, _) = lived(&[stretch(1, 0..1)]).await;
    let connection = open_to_read(&folder.path().join(FILE_NAME)).expect("a history");
    for sql in [PRUNABLE_EPOCHS, DOOMED] {
        let plan: Vec<String> = connection
            .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
            .and_then(|mut statement| statement.raw_query().mapped(|row| row.get("detail")).collect())
            .expect("a plan");
        // Epochs are few; samples and cycles are not.
        let is_long =
            |step: &&String| ["SCAN sample", "SCAN cycle", "TEMP B-TREE"].iter().any(|long| step.contains(long));
        assert_eq!(plan.iter().find(is_long), None, "{plan:#?}");
    }
}

#[tokio::test]
async fn what_was_spent_outlives_a_restart_and_goes_after_two_days() {
    let folder = TempDir::new().expect("a folder");
    let [gemma, qwen, other] = [("paid", "gemma3:4b"), ("paid", "qwen3:8b"), ("free", "gemma3:4b")]
        .map(|(name, model)| TargetId::new(name, model));
    let spent = |at, requests, tokens| Spent { at, cost: Cost { requests, tokens } };
    let seen = |name, since| Reader::open(folder.path()).expect("a history").spending(name, since).expect("a ledger");
    writing(folder.path(), async |writer| {
        writer.spend(gemma.clone(), spent(day(0), 9, 9000), None).await;
        writer.spend(gemma, spent(day(0), 3, 700), Some(day(0))).await;
        writer.spend(qwen.clone(), spent(day(1), 5, 1200), None).await;
        writer.spend(other.clone(), spent(day(1), 1, 10), None).await;
    })
    .await;
    assert_eq!(seen("paid", day(0)), [spent(day(0), 3, 700), spent(day(1), 5, 1200)], "of both models");
    assert_eq!(seen("paid", day(1)), [spent(day(1), 5, 1200)]);
    assert_eq!(seen("nobody", day(0)), []);
    writing(folder.path(), async |writer| writer.spend(other, spent(day(3), 2, 20), None).await).await;
    assert_eq!(seen("paid", day(0)), [spent(day(1), 5, 1200)], "another target's row drops what is old");
    assert_eq!(seen("free", day(0)), [spent(day(1), 1, 10), spent(day(3), 2, 20)]);
}

/// The rows that each older schema added to those before it.
const OLD_ROWS: [&str; 4] = [
    include_str!("fixtures/version_1.sql"),
    include_str!("fixtures/version_2.sql"),
    include_str!("fixtures/version_3.sql"),
    include_str!("fixtures/version_4.sql"),
];

/// A file as the releases of that schema left it.
fn old_history(version: usize) -> TempDir {
    let folder = TempDir::new().expect("a folder");
    let connection = Connection::open(folder.path().join(FILE_NAME)).expect("a file");
    if version > 1 {
        connection.execute_batch("PRAGMA auto_vacuum = INCREMENTAL").expect("no page yet");
    }
    connection.execute_batch("PRAGMA journal_mode = WAL").expect("a log");
    for sql in MIGRATIONS.iter().take(version).chain(OLD_ROWS.iter().take(version)) {
        connection.execute_batch(sql).expect("its schema and rows");
    }
    connection.pragma_update(None, "user_version", version.cast_signed()).expect("a version");
    folder
}

/// Opens a file of each older schema in some way and looks at what became of it.
fn check_upgrades(open: impl Fn(&Path)) {
    assert_eq!(OLD_ROWS.len() + 1, MIGRATIONS.len(), "each older schema has its stored rows");
    for version in 1..MIGRATIONS.len() {
        let folder = old_history(version);
        open(folder.path());
        check_upgraded(&folder);
        let reader = Reader::open(folder.path()).expect("a history");
        assert_eq!(reader.spending("workstation", day(0)).expect("a ledger").len(), version - 1);
    }
}

fn check_upgraded(folder: &TempDir) {
    for (epoch, cells) in [(EpochId(1), 2), (EpochId(2), 1)] {
        let aggregates = aggregates(folder.path(), epoch);
        assert_eq!(aggregates.len(), cells);
        compare(&aggregates, &samples(folder.path(), epoch));
    }
    let mut connection = open_to_write(&folder.path().join(FILE_NAME)).expect("a history");
    assert_eq!(number(&connection, "user_version").expect("a version"), MIGRATIONS.len() as u64);
    assert_eq!(number(&connection, "auto_vacuum").expect("a mode"), 2);
    // What an old release did not measure is unknown, and can be written from now on.
    let known = |m: &Measurement| {
        m.queue_wait.is_some() || m.reported_slots.is_some() || m.gpu_share.is_some() || m.conditions.is_known()
    };
    assert!(!samples(folder.path(), EpochId(1)).iter().any(|sample| known(&sample.measurement)));
    let lost: i64 = connection.query_row("SELECT 1 - COUNT(*) FROM latency", [], |row| row.get(0)).expect("a count");
    assert_eq!(lost, 0);
    // The aggregates of old samples know which ones have to stay.
    let pruned = retention::step(&mut connection, day(365), SAMPLES_A_STEP, 0).expect("a step");
    assert_eq!(pruned.samples, 4);
    assert_eq!(samples(folder.path(), EpochId(2)).len(), 1);
}

#[test]
fn a_history_of_an_older_schema_is_brought_up_to_date_by_a_writer() {
    check_upgrades(|folder| {
        let (writer, thread) = Writer::open(folder).expect("a history");
        drop(writer);
        thread.join().expect("ends with its handle");
    });
}

#[test]
fn a_history_of_an_older_schema_is_brought_up_to_date_by_a_reader() {
    check_upgrades(|folder| {
        Reader::open(folder).expect("a history");
    });
}

#[test]
fn a_reader_leaves_an_old_history_alone_that_is_being_written() {
    let folder = old_history(1);
    let _lock = super::schema::Lock::take(folder.path()).expect("the lock");
    assert!(matches!(Reader::open(folder.path()), Err(StoreError::Locked { .. })));
}
