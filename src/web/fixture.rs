//! Boards for tests, made of events as the engine's are.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::{App, Readiness};
use crate::domain::plan::MetricsPlan;
use crate::domain::{
    Cell, Conditions, Epoch, EpochId, Event, Facts, Grid, Happening, InvalidReason, Latencies, Measurement, Sample,
    SchedulerState, ServerIdentity, ServerKind, TargetId, TokenSource,
};
use crate::metrics::{LogCounter, Metrics, NotificationCounter, ProcessSources, ReloadStatus, ReportCounter};
use crate::soak::{Board, LagMeter, TargetSnapshot, WallClock};
use crate::store::WriterStatus;

/// The time of all pages of these tests.
pub(super) fn now() -> Timestamp {
    "2026-11-24T17:01:02Z".parse().expect("is a time")
}

/// A board whose targets are known by these names and models and nothing else.
pub(super) fn board(targets: &[(&str, &str)]) -> Board {
    let unknown = |&(name, model): &(&str, &str)| {
        TargetSnapshot::new(TargetId::new(name, model), "http://127.0.0.1:11434".to_owned(), "gpu0".to_owned())
    };
    Board::new(targets.iter().map(unknown))
}

/// The pages of a board. Needs a runtime.
pub(super) fn app(board: Board, reports: impl Into<PathBuf>) -> App {
    let sources = ProcessSources {
        log: LogCounter::default(),
        reports: ReportCounter::default(),
        notifications: NotificationCounter::default(),
        reload: ReloadStatus::new(now()),
        lag: LagMeter::default(),
        storage: WriterStatus::default(),
    };
    let metrics = Arc::new(Metrics::new(board.clone(), sources, &MetricsPlan::default()));
    let (clock, readiness) = (WallClock::anchored(now()), Readiness::default());
    let reports = reports.into();
    // As a daemon's: its reports lie in a folder of the storage.
    let storage = reports.parent().map(PathBuf::from).unwrap_or_default();
    App { board, metrics, storage, reports, clock, readiness, lifecycle: None }
}

pub(super) fn tell(board: &Board, target: &TargetId, happening: Happening) {
    board.apply(&Event { target: target.clone(), at: now(), happening });
}

/// A target in the middle of its second cycle: the first was complete but for one rejected
/// cell, and the second has come to the `done`-th cell.
pub(super) fn soak(board: &Board, target: &TargetId, grid: Grid, done: usize) {
    let tell = |happening| tell(board, target, happening);
    let identity = ServerIdentity {
        kind: ServerKind::Ollama,
        version: Some("0.12.9".to_owned()),
        model: target.model.to_string(),
        model_digest: None,
        model_file: None,
        quantization: Some("Q8_0".to_owned()),
        slots: Some(24),
        context_per_slot: Some(4096),
        gpu_share: Some(0.6359),
    };
    let epoch = |id: i64, version: &str| Epoch {
        id: EpochId(id),
        identity: facts(&[
            ("server_version", version),
            ("gpu", "NVIDIA L4"),
            ("gpu_count", "2"),
            ("driver_version", "580.95"),
        ]),
        load: Facts::new(),
        first_seen: now() - SignedDuration::from_hours(2),
        last_seen: now(),
    };
    let cells = grid.measured();
    let count = u32::try_from(cells.len()).expect("is small");
    tell(Happening::Identified(Arc::new(identity)));
    tell(Happening::EpochEntered {
        epoch: Arc::new(epoch(3, "0.12.9")),
        grid: Arc::new(grid),
        samples: Arc::default(),
        named: None,
        before: Some(Arc::new(epoch(2, "0.12.8"))),
        changes: Arc::default(),
    });
    for cycle in 1..=2 {
        tell(Happening::CycleStarted { cycle, cells: count, due_at: (cycle > 1).then_some(now()) });
        for &cell in cells.iter().take(if cycle == 1 { cells.len() } else { done }) {
            let invalid = if cell == cells[1] { vec![InvalidReason::FailedRequests] } else { Vec::new() };
            let sample = Sample { cycle, invalid, ..sample(target, cell, cycle) };
            tell(Happening::SampleEnded { sample: Arc::new(sample), latencies: Arc::new(Latencies::default()) });
        }
        if cycle == 1 {
            tell(Happening::CycleEnded { cycle, seconds: 2407.0 });
        }
    }
    if let Some(&cell) = cells.get(done) {
        tell(Happening::SampleStarted { cell, due_at: now() + SignedDuration::from_secs(300) });
        tell(Happening::StateChanged { state: SchedulerState::Running, until: None, due_at: None });
    }
}

fn facts(pairs: &[(&str, &str)]) -> Facts {
    pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// A server of 24 slots in which one token of each of c streams takes 19 + 2.15 c ms.
fn sample(target: &TargetId, cell: Cell, cycle: u64) -> Sample {
    let streams = cell.concurrency().min(24);
    let waves = cell.batch.div_ceil(streams);
    let total = f64::from(waves) * 200.0 * (0.019 + 0.002_15 * f64::from(streams)) * (1.0 + 0.01 * cycle as f64);
    let tokens = 200.0 * f64::from(cell.batch);
    let measurement = Measurement {
        total_seconds: total,
        seconds_per_request: total / f64::from(cell.batch),
        tokens_per_second: tokens / total,
        steady_tokens_per_second: None,
        prompt_tokens_per_second: None,
        requests: cell.batch,
        failed_requests: 0,
        failures: BTreeMap::new(),
        output_tokens: u64::from(cell.batch) * 200,
        prompt_tokens: None,
        cached_prompt_tokens: None,
        token_source: TokenSource::Usage,
        short_outputs: 0,
        observed_parallelism: None,
        observed_parallelism_peak: Some(streams),
        reported_slots: Some(24),
        time_to_first_token: None,
        inter_token_latency: None,
        time_per_output_token: None,
        request_duration: None,
        worker_wait: None,
        queue_wait: None,
        load_seconds: None,
        gpu_share: None,
        timer_lag_p99_seconds: None,
        client_cpu_ratio: 0.0,
        conditions: Conditions::default(),
    };
    Sample {
        target: target.clone(),
        epoch: EpochId(3),
        cycle,
        cell,
        started_at: now(),
        completed_at: now(),
        measurement,
        invalid: Vec::new(),
    }
}
