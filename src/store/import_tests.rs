//! Imports on real files: what they leave alone, and what retention leaves of them.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;

use super::{Import, Reader, Sighting, StoreError, Writer};
use crate::domain::environment::SOURCE;
use crate::domain::{
    Cell, Conditions, CycleEntry, Entry, Epoch, EpochEntry, EpochId, Facts, Grid, Measurement, Sample, TargetId,
    TokenSource,
};

fn day(number: i64) -> Timestamp {
    let origin: Timestamp = "2026-01-01T12:00:00Z".parse().expect("is a time");
    origin + SignedDuration::from_hours(24 * number)
}

fn target() -> TargetId {
    TargetId::new("workstation", "gemma3:4b")
}

fn facts(key: &str, value: &str) -> Facts {
    [(key.to_owned(), value.to_owned())].into()
}

fn sample(cycle: u64, completed_at: Timestamp) -> Sample {
    let measurement = Measurement {
        total_seconds: 2.0,
        seconds_per_request: 1.0,
        tokens_per_second: 100.0 + cycle as f64,
        steady_tokens_per_second: None,
        prompt_tokens_per_second: None,
        requests: 2,
        failed_requests: 0,
        failures: BTreeMap::new(),
        output_tokens: 200,
        prompt_tokens: None,
        cached_prompt_tokens: None,
        token_source: TokenSource::Usage,
        short_outputs: 0,
        observed_parallelism: None,
        observed_parallelism_peak: None,
        reported_slots: None,
        time_to_first_token: None,
        inter_token_latency: None,
        time_per_output_token: None,
        request_duration: None,
        worker_wait: None,
        queue_wait: None,
        gpu_share: None,
        load_seconds: None,
        timer_lag_p99_seconds: None,
        client_cpu_ratio: 0.0,
        conditions: Conditions::default(),
    };
    let (cell, started_at) = (Cell::new(2, 2), completed_at - SignedDuration::from_secs(2));
    let (target, epoch, invalid) = (target(), EpochId(9), Vec::new());
    Sample { target, epoch, cycle, cell, started_at, completed_at, measurement, invalid }
}

/// An epoch of one cell with a sample a day, as a file tells of it: its number there is 9.
fn file(days: std::ops::Range<i64>) -> (Vec<Entry>, BTreeMap<EpochId, [Sample; 2]>) {
    let id = EpochId(9);
    let epoch = Epoch {
        id,
        identity: facts("server_version", "0"),
        load: facts(SOURCE, "a test"),
        first_seen: day(days.start),
        last_seen: day(days.end - 1),
    };
    let grid = Grid::new(&[2], &[2], true).expect("sound axes");
    let mut entries = vec![Entry::Epoch(EpochEntry { target: target(), url: "elsewhere".to_owned(), epoch })];
    let samples: Vec<Sample> = days.map(|number| sample(number.unsigned_abs() + 1, day(number))).collect();
    for sample in &samples {
        let (started_at, completed_at) = (sample.started_at, Some(sample.completed_at));
        let (number, grid) = (sample.cycle, grid.clone());
        entries.push(Entry::Cycle(CycleEntry { epoch: id, number, grid, seed: 1, started_at, completed_at }));
        entries.push(Entry::Sample(Box::new(sample.clone())));
    }
    let ends = samples.first().zip(samples.last()).map(|(first, last)| (id, [first.clone(), last.clone()]));
    (entries, ends.into_iter().collect())
}

/// Imports days of that file; the epoch's number and how many samples were added.
fn import(folder: &Path, days: std::ops::Range<i64>) -> (EpochId, u64) {
    let (entries, ends) = file(days);
    let mut import = Import::open(folder, 1).expect("a history");
    let epochs = import.write(entries.into_iter().map(Ok::<_, StoreError>), &ends).expect("can be written");
    let [epoch] = &epochs[..] else { panic!("{epochs:?}") };
    (epoch.id, epoch.added)
}

/// What a server that is seen now enters.
async fn enter(writer: &Writer, at: Timestamp) -> super::Entered {
    let sighting = Sighting {
        target: target(),
        url: "http://127.0.0.1:11434".to_owned(),
        identity: facts("server_version", "1"),
        load: facts("output_tokens", "200"),
        at,
        running: None,
    };
    writer.enter_epoch(sighting).await.expect("an epoch")
}

#[tokio::test]
async fn an_import_is_never_the_running_epoch() {
    let folder = TempDir::new().expect("a folder");
    let (writer, task) = Writer::open_as_task(folder.path()).expect("a history");
    let running = enter(&writer, day(5)).await;
    // Beside the writer, and newer than what it writes.
    assert_eq!(import(folder.path(), 10..13), (EpochId(2), 3));
    let after = enter(&writer, day(6)).await;
    assert_eq!((after.epoch.id, after.before, after.last_cycle), (running.epoch.id, None, running.last_cycle));
    let history = Reader::open(folder.path()).expect("a history");
    let newest = history.newest_epoch("workstation", None).expect("can be read").expect("is there");
    assert_eq!((newest.epoch.id, newest.url.as_str(), newest.grid), (running.epoch.id, "http://127.0.0.1:11434", None));
    let imported = history.newest_import("workstation", None).expect("can be read").expect("is there");
    assert_eq!((imported.epoch.id, imported.complete_cycles, imported.last_cycle), (EpochId(2), 3, 0));
    assert_eq!(imported.grid, Some(Grid::new(&[2], &[2], true).expect("sound axes")));
    drop(writer);
    task.await.expect("the writer ends well");
}

#[test]
fn an_epoch_that_grew_is_gone_on_with() {
    let folder = TempDir::new().expect("a folder");
    assert_eq!(import(folder.path(), 0..3), (EpochId(1), 3));
    assert_eq!(import(folder.path(), 0..3), (EpochId(1), 0));
    assert_eq!(import(folder.path(), 0..5), (EpochId(1), 2));
    // As a file has it whose history deleted its oldest samples.
    assert_eq!(import(folder.path(), 2..6), (EpochId(1), 1));
    let history = Reader::open(folder.path()).expect("a history");
    let aggregates = history.aggregates(EpochId(1)).expect("can be read");
    assert_eq!(aggregates.iter().map(|aggregate| aggregate.attempts).collect::<Vec<_>>(), [6]);
    let epoch = history.epoch(EpochId(1)).expect("can be read").expect("is there");
    assert_eq!((epoch.complete_cycles, epoch.epoch.last_seen), (6, day(5)));
}

#[test]
fn an_error_on_the_way_leaves_nothing() {
    let folder = TempDir::new().expect("a folder");
    import(folder.path(), 0..3);
    let (entries, ends) = file(0..9);
    let broken = entries.into_iter().map(Ok).chain([Err(StoreError::Stopped)]);
    let outcome = Import::open(folder.path(), 1).expect("a history").write(broken, &ends);
    assert!(matches!(outcome, Err(StoreError::Stopped)), "{outcome:?}");
    let history = Reader::open(folder.path()).expect("a history");
    assert_eq!(history.samples(&target(), EpochId(1)).expect("can be read").len(), 3);
}

#[tokio::test]
async fn retention_leaves_the_newest_sample_of_a_cell() {
    let folder = TempDir::new().expect("a folder");
    let (writer, task) = Writer::open_as_task(folder.path()).expect("a history");
    enter(&writer, day(100)).await;
    import(folder.path(), 0..3);
    assert_eq!(writer.prune(day(90)).await.expect("can be pruned").samples, 2);
    let history = Reader::open(folder.path()).expect("a history");
    let left: Vec<u64> =
        history.samples(&target(), EpochId(2)).expect("can be read").iter().map(|sample| sample.cycle).collect();
    assert_eq!(left, [3]);
    drop(writer);
    task.await.expect("the writer ends well");
}

#[tokio::test]
async fn beside_a_writer_an_import_is_small() {
    let folder = TempDir::new().expect("a folder");
    let (_writer, _task) = Writer::open_as_task(folder.path()).expect("a history");
    let refused = Import::open(folder.path(), 1_000_000).expect_err("is too large");
    assert!(matches!(refused, StoreError::TooLargeBeside { samples: 1_000_000, .. }), "{refused}");
    assert!(Import::open(folder.path(), 1000).expect("is small").is_beside_a_daemon());
}
