//! The families of the process itself: build, log, timer lag, storage, reports.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use prometheus::core::{Collector, Desc};
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::{Bucket, Histogram, Metric, MetricFamily, MetricType};
use prometheus::{IntGaugeVec, Opts, Registry};
use tracing::{Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::family::{Family, describe, unix_seconds};
use crate::domain::TargetId;
use crate::soak::LagMeter;
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
    targets: Arc<Mutex<BTreeMap<TargetId, Reports>>>,
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
        change(self.targets.lock().unwrap_or_else(PoisonError::into_inner).entry(target.clone()).or_default());
    }
}

/// placeholder
#[derive(Clone, Debug)]
pub struct ReloadStatus;
impl ReloadStatus { pub fn new(_at: Timestamp) -> Self { Self } pub fn note(&self, _ok: bool, _at: Timestamp) {} }

/// Where the process' own figures come from.
#[derive(Clone, Debug)]
pub struct ProcessSources {
    pub log: LogCounter,
    pub reports: ReportCounter,
    pub reloads: ReloadStatus,
    pub lag: LagMeter,
    pub storage: WriterStatus,
}

pub(super) fn register(registry: &Registry, sources: ProcessSources) -> Result<(), prometheus::Error> {
    let help = "The version, revision and compiler that this program was built from.";
    let build = IntGaugeVec::new(Opts::new("llmsoak_build_info", help), &["version", "revision", "rustc"])?;
    build
        .get_metric_with_label_values(&[env!("CARGO_PKG_VERSION"), env!("LLMSOAK_REVISION"), env!("LLMSOAK_RUSTC")])?
        .set(1);
    registry.register(Box::new(build))?;
    registry.register(Box::new(ProcessCollector::for_self()))?;
    registry.register(Box::new(Process::new(sources)?))
}

const LOG: (&str, &str) = ("llmsoak_log_messages_total", "Log lines by level, whether shown or not.");
const LAG: (&str, &str) =
    ("llmsoak_event_loop_lag_seconds", "How late the measuring runtime's own timers fire: the client's distortion.");
const FAILURES: (&str, &str) =
    ("llmsoak_storage_write_failures_total", "Writes to the history that failed; what was in them is lost.");
const SIZE: (&str, &str) = ("llmsoak_storage_size_bytes", "Size of the history and its write-ahead log.");
const WRITTEN: (&str, &str) = ("llmsoak_reports_written_total", "Reports written.");
const FAILED: (&str, &str) = ("llmsoak_report_failures_total", "Reports that could not be written.");
const WRITTEN_AT: (&str, &str) = ("llmsoak_report_written_timestamp_seconds", "When the last report was written.");

/// The bounds of the lag histogram, microseconds.
const LAG_BOUNDS: [u64; 10] = [100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000];

#[derive(Debug)]
struct Process {
    sources: ProcessSources,
    descriptions: Vec<Desc>,
}

impl Process {
    fn new(sources: ProcessSources) -> Result<Self, prometheus::Error> {
        let target = ["target", "model"];
        let descriptions = [
            (LOG, &["level"][..]),
            (LAG, &[]),
            (FAILURES, &[]),
            (SIZE, &[]),
            (WRITTEN, &target),
            (FAILED, &target),
            (WRITTEN_AT, &target),
        ];
        let descriptions = descriptions
            .into_iter()
            .map(|((name, help), labels)| describe(name, help, labels))
            .collect::<Result<_, _>>()?;
        Ok(Self { sources, descriptions })
    }

    fn lag(&self) -> MetricFamily {
        let counts = self.sources.lag.counts();
        let buckets = LAG_BOUNDS.map(|microseconds| {
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(microseconds as f64 / 1e6);
            bucket.set_cumulative_count(counts.at_most(Duration::from_micros(microseconds)));
            bucket
        });
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets.to_vec());
        histogram.set_sample_count(counts.total());
        histogram.set_sample_sum(counts.sum.as_secs_f64());
        let mut metric = Metric::default();
        metric.set_histogram(histogram);
        let mut family = MetricFamily::default();
        family.set_name(LAG.0.to_owned());
        family.set_help(LAG.1.to_owned());
        family.set_field_type(MetricType::HISTOGRAM);
        family.set_metric(vec![metric]);
        family
    }

    fn reports(&self) -> [Family; 3] {
        let mut written = Family::counter(WRITTEN.0, WRITTEN.1);
        let mut failed = Family::counter(FAILED.0, FAILED.1);
        let mut written_at = Family::gauge(WRITTEN_AT.0, WRITTEN_AT.1);
        for (id, reports) in self.sources.reports.targets.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let labels = [("target", &*id.name), ("model", &*id.model)];
            written.add(&labels, reports.written.into());
            failed.add(&labels, reports.failed.into());
            if let Some(at) = reports.written_at {
                written_at.add(&labels, unix_seconds(at));
            }
        }
        [written, failed, written_at]
    }
}

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut log = Family::counter(LOG.0, LOG.1);
        for ((_, level), count) in LEVELS.iter().zip(self.sources.log.counts.iter()) {
            log.add(&[("level", level)], count.load(Ordering::Relaxed) as f64);
        }
        let mut failures = Family::counter(FAILURES.0, FAILURES.1);
        failures.add(&[], self.sources.storage.failures() as f64);
        let mut size = Family::gauge(SIZE.0, SIZE.1);
        size.add(&[], self.sources.storage.size_bytes() as f64);
        let mut families: Vec<MetricFamily> = [log, failures, size].map(Family::finish).into();
        families.push(self.lag());
        families.extend(self.reports().map(Family::finish));
        families.retain(|family| !family.get_metric().is_empty());
        families
    }
}
