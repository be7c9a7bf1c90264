//! The families of the process itself: build, log, timer lag, storage, reloads, reports.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tracing::{Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::family::{Family, Labelled, Reading, families, series_of_histogram, unix_seconds, zero_or_one};
use super::system;
use crate::domain::TargetId;
use crate::domain::notify::Sink;
use crate::soak::LagMeter;
use crate::soak::board::Snapshot;
use crate::store::WriterStatus;

/// Counts log lines by level. Cheap to clone; a layer of the subscriber.
#[derive(Clone, Debug, Default)]
pub struct LogCounter {
    counts: Arc<[AtomicU64; LEVELS.len()]>,
}

const LEVELS: [(Level, &str); 4] =
    [(Level::ERROR, "error"), (Level::WARN, "warn"), (Level::INFO, "info"), (Level::DEBUG, "debug")];

impl<S: Subscriber> Layer<S> for LogCounter {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let level = *event.metadata().level();
        let index = LEVELS.iter().position(|(known, _)| *known == level);
        if let Some(count) = index.and_then(|index| self.counts.get(index)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What became of the reports of each target. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct ReportCounter {
    /// By name: a report that fails may not know its model.
    targets: Arc<Mutex<BTreeMap<Arc<str>, Reports>>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Reports {
    written: u32,
    failed: u32,
    written_at: Option<Timestamp>,
}

impl ReportCounter {
    pub fn note_written(&self, target: &TargetId, at: Timestamp) {
        self.change(target, |reports| {
            reports.written += 1;
            reports.written_at = Some(at);
        });
    }

    pub fn note_failed(&self, target: &TargetId) {
        self.change(target, |reports| reports.failed += 1);
    }

    fn change(&self, target: &TargetId, change: impl FnOnce(&mut Reports)) {
        change(self.targets.lock().unwrap_or_else(PoisonError::into_inner).entry(target.name.clone()).or_default());
    }

    fn of(&self, target: &TargetId) -> Reports {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner).get(&target.name).copied().unwrap_or_default()
    }
}

/// What became of notifications, by where they went. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct NotificationCounter {
    counts: Arc<[Notifications; Sink::ALL.len()]>,
}

#[derive(Debug, Default)]
struct Notifications {
    sent: AtomicU64,
    failed: AtomicU64,
}

impl NotificationCounter {
    pub fn note_sent(&self, sink: Sink) {
        self.of(sink).map(|counts| counts.sent.fetch_add(1, Ordering::Relaxed));
    }

    pub fn note_failed(&self, sink: Sink) {
        self.of(sink).map(|counts| counts.failed.fetch_add(1, Ordering::Relaxed));
    }

    fn of(&self, sink: Sink) -> Option<&Notifications> {
        let index = Sink::ALL.iter().position(|known| *known == sink)?;
        self.counts.get(index)
    }
}

/// What became of the last reload of the configuration. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ReloadStatus {
    last: Arc<Mutex<Reload>>,
}

#[derive(Clone, Copy, Debug)]
struct Reload {
    is_success: bool,
    succeeded_at: Timestamp,
}

impl ReloadStatus {
    /// The start is the first success.
    pub fn new(started_at: Timestamp) -> Self {
        Self { last: Arc::new(Mutex::new(Reload { is_success: true, succeeded_at: started_at })) }
    }

    pub fn note(&self, is_success: bool, at: Timestamp) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_success = is_success;
        if is_success {
            last.succeeded_at = at;
        }
    }

    fn last(&self) -> Reload {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the process' own figures come from.
#[derive(Clone, Debug)]
pub struct ProcessSources {
    pub log: LogCounter,
    pub reports: ReportCounter,
    pub notifications: NotificationCounter,
    pub reload: ReloadStatus,
    pub lag: LagMeter,
    pub storage: WriterStatus,
}

const READINGS: &[Reading<ProcessSources>] = &[
    Reading {
        name: "llmsoak_config_last_reload_successful",
        help: "Whether the configuration was sound when it was last read.",
        value: |sources| Some(zero_or_one(sources.reload.last().is_success)),
    },
    Reading {
        name: "llmsoak_config_last_reload_success_timestamp_seconds",
        help: "When a sound configuration was last read.",
        value: |sources| Some(unix_seconds(sources.reload.last().succeeded_at)),
    },
    Reading {
        name: "llmsoak_storage_write_failures_total",
        help: "Writes to the history that failed; what was in them is lost.",
        value: |sources| Some(sources.storage.failures() as f64),
    },
    Reading {
        name: "llmsoak_storage_size_bytes",
        help: "Size of the history and its write-ahead log.",
        value: |sources| Some(sources.storage.size_bytes() as f64),
    },
];

const REPORT_READINGS: &[Reading<Reports>] = &[
    Reading {
        name: "llmsoak_reports_written_total",
        help: "Reports written.",
        value: |reports| Some(reports.written.into()),
    },
    Reading {
        name: "llmsoak_report_failures_total",
        help: "Reports that could not be written.",
        value: |reports| Some(reports.failed.into()),
    },
    Reading {
        name: "llmsoak_report_written_timestamp_seconds",
        help: "When the last report was written.",
        value: |reports| reports.written_at.map(unix_seconds),
    },
];

const NOTIFICATION_READINGS: &[Reading<Notifications>] = &[
    Reading {
        name: "llmsoak_notifications_sent_total",
        help: "Messages about changes that their receiver took.",
        value: |counts| Some(counts.sent.load(Ordering::Relaxed) as f64),
    },
    Reading {
        name: "llmsoak_notification_failures_total",
        help: "Messages about changes that were given up.",
        value: |counts| Some(counts.failed.load(Ordering::Relaxed) as f64),
    },
];

const BUILD: (&str, &str) =
    ("llmsoak_build_info", "The version, revision and compiler that this program was built from.");
const LOG: (&str, &str) = ("llmsoak_log_messages_total", "Log lines by level, whether shown or not.");
const LAG: (&str, &str) =
    ("llmsoak_event_loop_lag_seconds", "How late the measuring runtime's own timers fire: the client's distortion.");

/// The bounds of the lag histogram, microseconds.
const LAG_BOUNDS: [u64; 10] = [100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000];

/// How many series there are here without any target.
pub(super) fn series() -> usize {
    let build = 1;
    let notifications = NOTIFICATION_READINGS.len() * Sink::ALL.len();
    build + system::series() + READINGS.len() + notifications + LEVELS.len() + series_of_histogram(LAG_BOUNDS.len())
}

/// How many series a target has here once a report of it was written.
pub(super) fn series_of_target() -> usize {
    REPORT_READINGS.len()
}

/// The families of the process. Reports are those of the targets that there are: one that has
/// left leaves nothing behind.
pub(super) fn collect(snapshot: &Snapshot, sources: &ProcessSources) -> Vec<Family> {
    let singles = [Labelled::new(&[], sources)];
    let of = |id: &TargetId| Labelled::new(&[("target", &id.name), ("model", &id.model)], sources.reports.of(id));
    let reports: Vec<_> = snapshot.targets.values().map(|target| of(&target.id)).collect();
    let counts = Sink::ALL.iter().zip(sources.notifications.counts.iter());
    let notifications: Vec<Labelled<&Notifications>> =
        counts.map(|(sink, counts)| Labelled::new(&[("sink", sink.as_str())], counts)).collect();
    let mut all = families(READINGS, &singles);
    all.extend(families(REPORT_READINGS, &reports));
    all.extend(families(NOTIFICATION_READINGS, &notifications));
    all.extend([build(), log(&sources.log), lag(&sources.lag)]);
    all.extend(system::collect());
    all
}

fn build() -> Family {
    let mut family = Family::new(BUILD.0, BUILD.1);
    let (version, revision) = (env!("CARGO_PKG_VERSION"), env!("LLMSOAK_REVISION"));
    family.add(&[("version", version), ("revision", revision), ("rustc", env!("LLMSOAK_RUSTC"))], 1.0);
    family
}

fn log(log: &LogCounter) -> Family {
    let mut family = Family::new(LOG.0, LOG.1);
    for ((_, level), count) in LEVELS.iter().zip(log.counts.iter()) {
        family.add(&[("level", level)], count.load(Ordering::Relaxed) as f64);
    }
    family
}

fn lag(meter: &LagMeter) -> Family {
    let counts = meter.counts();
    let mut below = 0;
    let buckets = LAG_BOUNDS.map(|microseconds| {
        let at_most = counts.at_most(Duration::from_micros(microseconds));
        let within = at_most - std::mem::replace(&mut below, at_most);
        (microseconds as f64 / 1e6, within)
    });
    let mut family = Family::histogram(LAG.0, LAG.1);
    family.add_histogram(&[], buckets, counts.total() - below, counts.sum.as_secs_f64());
    family
}
