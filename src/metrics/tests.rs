//! Families as they are scraped: how many series, and what they say after which events.

mod changes;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::{LogCounter, Metrics, NotificationCounter, ProcessSources, ReloadStatus, ReportCounter, size};
use crate::domain::event::RequestEnd;
use crate::domain::plan::{CellDetail, HistogramLabels, MetricsPlan};
use crate::domain::{
    Canary, Cell, Component, Conditions, EnvironmentChanges, Epoch, EpochId, Event, Facts, Grid, Happening,
    InvalidReason, Latencies, LatencyMeasure, Measurement, Quantiles, Sample, ServerIdentity, ServerKind, TargetId,
    TokenCounts, TokenSource,
};
use crate::soak::{Board, LagMeter, TargetSnapshot};
use crate::store::WriterStatus;

fn now() -> Timestamp {
    "2026-11-24T17:01:02Z".parse().expect("is a time")
}

/// Metrics with a board of the targets of those names, which hear what is told.
struct Stage {
    board: Board,
    metrics: Metrics,
    reports: ReportCounter,
    reload: ReloadStatus,
}

impl Stage {
    fn new(names: &[&str], plan: &MetricsPlan) -> Self {
        let unknown = |name: &&str| TargetSnapshot::new(id(name), "http://gpu:11434".to_owned(), "gpu".to_owned());
        let board = Board::new(names.iter().map(unknown));
        let (reports, reload) = (ReportCounter::default(), ReloadStatus::new(now()));
        let sources = ProcessSources {
            log: LogCounter::default(),
            reports: reports.clone(),
            notifications: NotificationCounter::default(),
            reload: reload.clone(),
            lag: LagMeter::default(),
            storage: WriterStatus::default(),
        };
        let metrics = Metrics::new(board.clone(), sources, plan);
        Self { board, metrics, reports, reload }
    }

    fn tell(&self, target: &TargetId, happening: Happening) {
        let event = Event { target: target.clone(), at: now(), happening };
        self.board.apply(&event);
        self.metrics.observe(&event);
    }

    /// Tells of a target all that it can know: a cycle in which every cell was measured.
    fn measure(&self, target: &TargetId, grid: &Grid) {
        self.tell(target, Happening::Identified(Arc::new(identity(target))));
        self.enter_epoch(target, grid);
        for cycle in 1..=2 {
            let cells = u32::try_from(grid.measured().len()).expect("is small");
            self.tell(target, Happening::CycleStarted { cycle, cells, due_at: Some(now()) });
            for cell in grid.measured() {
                self.tell(target, Happening::SampleStarted { cell, due_at: now() });
                self.tell(target, ended(sample(target, cell)));
            }
            self.tell(target, Happening::CycleEnded { cycle, seconds: 60.0 });
        }
        let canary = Canary { load_seconds: Some(2.5), time_to_first_token_seconds: 2.75 };
        self.tell(target, Happening::CanaryEnded(canary));
        changes::tell_all(self, target);
        self.reports.note_written(target, now());
    }

    fn enter_epoch(&self, target: &TargetId, grid: &Grid) {
        let epoch =
            Epoch { id: EpochId(1), identity: Facts::new(), load: Facts::new(), first_seen: now(), last_seen: now() };
        self.enter(target, grid, epoch, every_change());
    }

    fn enter(&self, target: &TargetId, grid: &Grid, epoch: Epoch, changes: EnvironmentChanges) {
        let (epoch, grid, changes) = (Arc::new(epoch), Arc::new(grid.clone()), Arc::new(changes));
        let (samples, named, before) = (Arc::default(), None, None);
        self.tell(target, Happening::EpochEntered { epoch, grid, samples, named, before, changes });
    }

    fn text(&self) -> String {
        self.metrics.render()
    }

    fn series(&self) -> Vec<String> {
        self.text().lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    }

    /// Checks that each of these lines is there, in whole.
    fn check(&self, expected: &[&str]) {
        let series = self.series();
        for line in expected {
            let name = line.split(' ').next().unwrap_or_default();
            let like = || series.iter().filter(|seen| seen.starts_with(name)).collect::<Vec<_>>();
            assert!(series.iter().any(|seen| seen == line), "no {line}\nbut {:?}", like());
        }
    }

    /// How many series there are of a name.
    fn count(&self, name: &str) -> usize {
        self.series().iter().filter(|line| line.split(['{', ' ']).next() == Some(name)).count()
    }
}

fn id(name: &str) -> TargetId {
    TargetId::new(name, "tiny")
}

fn identity(target: &TargetId) -> ServerIdentity {
    ServerIdentity {
        version: Some("b1".to_owned()),
        slots: Some(4),
        ..ServerIdentity::of(ServerKind::LlamaCpp, target.model.to_string())
    }
}

/// An epoch in which every component is the one of that name.
fn epoch_of(name: &str, second: i64) -> Epoch {
    let facts = |keys: &[&str]| keys.iter().map(|&key| (key.to_owned(), name.to_owned())).collect();
    let keys: Vec<&str> = Component::ALL.iter().filter_map(|component| component.key()).chain(["rack"]).collect();
    let at = Timestamp::from_second(second).expect("is a time");
    Epoch { id: EpochId(second), identity: facts(&keys), load: facts(&["api"]), first_seen: at, last_seen: at }
}

/// Each component changed once.
fn every_change() -> EnvironmentChanges {
    EnvironmentChanges::over(&[epoch_of("old", 1), epoch_of("new", 2)])
}

/// A valid sample in which nothing is unknown.
fn sample(target: &TargetId, cell: Cell) -> Sample {
    let quantiles = Some(Quantiles { p50: 0.1, p95: 0.2, p99: 0.3 });
    // Within the service level, and of a step that streams make longer.
    let gaps = Some(Quantiles { p50: 0.02, p95: 0.03, p99: 0.04 });
    let streams = f64::from(cell.concurrency());
    let measurement = Measurement {
        total_seconds: 2.0,
        seconds_per_request: 0.5,
        tokens_per_second: 100.0 + f64::from(cell.batch),
        steady_tokens_per_second: Some(streams / (0.02 + 0.002 * streams)),
        prompt_tokens_per_second: Some(900.0),
        requests: cell.batch,
        failed_requests: 0,
        failures: BTreeMap::new(),
        output_tokens: 200,
        prompt_tokens: Some(64),
        cached_prompt_tokens: Some(0),
        token_source: TokenSource::Usage,
        short_outputs: 0,
        observed_parallelism: Some(streams),
        observed_parallelism_peak: Some(cell.concurrency()),
        reported_slots: Some(4),
        time_to_first_token: quantiles,
        inter_token_latency: gaps,
        time_per_output_token: quantiles,
        request_duration: quantiles,
        worker_wait: quantiles,
        queue_wait: quantiles,
        load_seconds: Some(0.01),
        gpu_share: Some(1.0),
        timer_lag_p99_seconds: Some(0.0001),
        client_cpu_ratio: 0.01,
        conditions: Conditions { energy_joules: Some(500.0), ..Conditions::default() },
    };
    Sample {
        target: target.clone(),
        epoch: EpochId(1),
        cycle: 1,
        cell,
        started_at: now(),
        completed_at: now(),
        measurement,
        invalid: Vec::new(),
    }
}

fn ended(sample: Sample) -> Happening {
    let latencies = Latencies {
        time_to_first_token: vec![0.0005, 0.3, 200.0],
        inter_token_latency: vec![0.004],
        time_per_output_token: vec![0.004],
        request_duration: vec![1.5],
        requests_without_inter_token_latency: 1,
    };
    Happening::SampleEnded { sample: Arc::new(sample), latencies: Arc::new(latencies) }
}

fn succeeded(output: u64) -> Happening {
    let tokens = TokenCounts { output, source: TokenSource::Usage, prompt: Some(64), cached_prompt: Some(3) };
    Happening::RequestEnded(RequestEnd { tokens, short: true, ..RequestEnd::default() })
}

#[test]
fn the_predicted_size_is_what_a_measured_target_comes_to() {
    let small = Grid::new(&[1, 2, 8], &[1, 4, 16], false).expect("axes are sound");
    let grids = [small, Grid::automatic(Some(6), true), Grid::automatic(None, false)];
    let few = BTreeMap::from([(LatencyMeasure::TimeToFirstToken, vec![0.1, 1.0])]);
    for cells in [CellDetail::Full, CellDetail::Core, CellDetail::Off] {
        for labels in [HistogramLabels::None, HistogramLabels::Workers, HistogramLabels::WorkersAndBatch] {
            for buckets in [BTreeMap::new(), few.clone()] {
                let plan = MetricsPlan { cells, histogram_labels: labels, buckets, ..MetricsPlan::default() };
                let stage = Stage::new(&["a", "b", "c"], &plan);
                for (name, grid) in ["a", "b", "c"].into_iter().zip(&grids) {
                    stage.measure(&id(name), grid);
                }
                assert_eq!(stage.series().len() as u64, size::series(&plan, &grids), "{plan:?}");
            }
        }
    }
}

#[test]
fn the_legacy_grid_comes_to_what_the_documents_say() {
    let size = |cells, histogram_labels| {
        let plan = MetricsPlan { cells, histogram_labels, ..MetricsPlan::default() };
        size::of_target(&plan, &Grid::legacy(true))
    };
    let of_one_cell = size(CellDetail::Off, HistogramLabels::None);
    assert_eq!(size(CellDetail::Full, HistogramLabels::None) - of_one_cell, 126 * 28);
    assert_eq!(size(CellDetail::Core, HistogramLabels::None) - of_one_cell, 126 * 10);
    assert_eq!(size(CellDetail::Off, HistogramLabels::Workers) - of_one_cell, 98 * 13);
    assert_eq!(size(CellDetail::Off, HistogramLabels::WorkersAndBatch) - of_one_cell, 98 * 61);
}

#[test]
fn an_environment_is_one_series_and_its_changes_begin_at_nought() {
    let stage = Stage::new(&["a"], &MetricsPlan::default());
    let of =
        |family: &str, labels: &str| format!(r#"llmsoak_environment_{family}{{target="a",model="tiny",{labels}}}"#);
    let info = |value: &str, server: &str| {
        let labels = format!(
            r#"gpu="{value}",driver_version="{value}",cuda_version="{value}",kernel="{value}",server="{server}",server_version="{value}",model_digest="{value}",quantization="",slots="{value}""#
        );
        of("info", &labels) + " 1"
    };
    let driver = |count| of("changes_total", r#"component="driver""#) + count;
    stage.check(&[&info("", ""), &driver(" 0")]);
    assert_eq!(stage.count("llmsoak_environment_changes_total"), Component::ALL.len());
    assert_eq!(stage.count("llmsoak_environment_changed_timestamp_seconds"), 0);
    let (grid, epoch) = (Grid::legacy(true), epoch_of("new", 2));
    stage.enter(&id("a"), &grid, epoch.clone(), every_change());
    let load = of("changed_timestamp_seconds", r#"component="load""#) + " 2";
    stage.check(&[&info("new", ""), &driver(" 1"), &load]);
    let mut more = epoch;
    more.identity.insert("server".to_owned(), "ollama".to_owned());
    stage.tell(&id("a"), Happening::EpochLearned(Arc::new(more)));
    stage.check(&[&info("new", "ollama")]);
    assert_eq!(stage.count("llmsoak_environment_info"), 1);
}

#[test]
fn without_a_target_there_is_the_process_alone() {
    let stage = Stage::new(&[], &MetricsPlan::default());
    assert_eq!(stage.series().len() as u64, size::of_process());
}

#[test]
fn without_cells_the_optimum_and_its_rows_remain() {
    let plan = MetricsPlan { cells: CellDetail::Off, ..MetricsPlan::default() };
    let stage = Stage::new(&["a"], &plan);
    stage.measure(&id("a"), &Grid::new(&[1, 2], &[1, 4], true).expect("axes are sound"));
    assert_eq!(stage.text().matches("llmsoak_cell_").count(), 0);
    stage.check(&[
        r#"llmsoak_optimum_batch{target="a",model="tiny",objective="throughput"} 4"#,
        r#"llmsoak_optimum_batch_for_workers{target="a",model="tiny",workers="2"} 4"#,
    ]);
}

#[test]
fn a_histogram_counts_each_value_in_the_buckets_at_or_above_it() {
    let buckets = BTreeMap::from([(LatencyMeasure::TimeToFirstToken, vec![0.3, 1.0])]);
    let plan = MetricsPlan { buckets, histogram_labels: HistogramLabels::WorkersAndBatch, ..MetricsPlan::default() };
    let stage = Stage::new(&["a"], &plan);
    let target = id("a");
    stage.enter_epoch(&target, &Grid::new(&[1, 2], &[4], true).expect("axes are sound"));
    stage.tell(&target, ended(sample(&target, Cell::new(2, 4))));
    let rejected = Sample { invalid: vec![InvalidReason::PrefixCache], ..sample(&target, Cell::new(2, 4)) };
    stage.tell(&target, ended(rejected));
    stage.check(&[
        r#"llmsoak_time_to_first_token_seconds_bucket{target="a",model="tiny",workers="2",batch="4",le="0.3"} 2"#,
        r#"llmsoak_time_to_first_token_seconds_bucket{target="a",model="tiny",workers="2",batch="4",le="1"} 2"#,
        r#"llmsoak_time_to_first_token_seconds_bucket{target="a",model="tiny",workers="2",batch="4",le="+Inf"} 3"#,
        r#"llmsoak_time_to_first_token_seconds_sum{target="a",model="tiny",workers="2",batch="4"} 200.3005"#,
        r#"llmsoak_time_to_first_token_seconds_count{target="a",model="tiny",workers="2",batch="4"} 3"#,
        r#"llmsoak_time_to_first_token_seconds_count{target="a",model="tiny",workers="1",batch="4"} 0"#,
        r#"llmsoak_requests_without_inter_token_latency_total{target="a",model="tiny"} 1"#,
        r#"llmsoak_samples_total{target="a",model="tiny"} 2"#,
        r#"llmsoak_sample_failures_total{target="a",model="tiny",reason="prefix_cache"} 1"#,
    ]);
}

#[test]
fn another_grid_takes_the_histograms_of_its_rows_alone() {
    let stage = Stage::new(&["a"], &MetricsPlan::default());
    let target = id("a");
    let workers = |workers: &[u32]| Grid::new(workers, &[8], true).expect("axes are sound");
    stage.enter_epoch(&target, &workers(&[1, 2]));
    stage.tell(&target, ended(sample(&target, Cell::new(2, 8))));
    stage.enter_epoch(&target, &workers(&[2, 4]));
    assert_eq!(stage.count("llmsoak_request_duration_seconds_count"), 2);
    stage.check(&[
        r#"llmsoak_request_duration_seconds_count{target="a",model="tiny",workers="2"} 1"#,
        r#"llmsoak_request_duration_seconds_count{target="a",model="tiny",workers="4"} 0"#,
    ]);
}

#[test]
fn a_dropped_sample_leaves_nothing_in_flight_and_every_request_counted_once() {
    let stage = Stage::new(&["a"], &MetricsPlan::default());
    let target = id("a");
    let cell = Cell::new(2, 4);
    stage.tell(&target, Happening::SampleStarted { cell, due_at: now() });
    for _ in 0..3 {
        stage.tell(&target, Happening::RequestStarted);
    }
    stage.tell(&target, succeeded(20));
    stage.check(&[r#"llmsoak_requests_in_flight{target="a",model="tiny"} 2"#]);
    stage.tell(&target, Happening::SampleDropped { cell, reason: "paused" });
    // A worker that was just at its end, and one that had just begun, when they were stopped.
    stage.tell(&target, succeeded(20));
    stage.tell(&target, Happening::RequestStarted);
    stage.tell(&target, Happening::SampleStarted { cell, due_at: now() });
    stage.check(&[
        r#"llmsoak_requests_in_flight{target="a",model="tiny"} 0"#,
        r#"llmsoak_requests_total{target="a",model="tiny"} 4"#,
        r#"llmsoak_request_failures_total{target="a",model="tiny",reason="cancelled"} 3"#,
        r#"llmsoak_output_tokens_total{target="a",model="tiny"} 20"#,
        r#"llmsoak_cached_prompt_tokens_total{target="a",model="tiny"} 3"#,
        r#"llmsoak_short_outputs_total{target="a",model="tiny"} 1"#,
        r#"llmsoak_requests_by_token_source_total{target="a",model="tiny",source="usage"} 1"#,
        r#"llmsoak_samples_total{target="a",model="tiny"} 1"#,
        r#"llmsoak_sample_failures_total{target="a",model="tiny",reason="cancelled"} 1"#,
    ]);
}

#[test]
fn a_target_that_joins_has_its_counters_and_one_that_left_has_nothing_ever_after() {
    let stage = Stage::new(&[], &MetricsPlan::default());
    let target = id("a");
    stage.tell(&target, succeeded(20));
    assert_eq!(stage.series().len() as u64, size::of_process(), "unknown so far");
    stage.tell(&target, Happening::Joined { url: "http://gpu".to_owned(), lane: "gpu".to_owned() });
    stage.check(&[
        r#"llmsoak_samples_total{target="a",model="tiny"} 0"#,
        r#"llmsoak_request_failures_total{target="a",model="tiny",reason="not_started"} 0"#,
        r#"llmsoak_requests_in_flight{target="a",model="tiny"} 0"#,
    ]);
    let grid = Grid::legacy(true);
    stage.enter_epoch(&target, &grid);
    assert_eq!(stage.count("llmsoak_inter_token_latency_seconds_count"), 14);
    stage.tell(&target, Happening::RequestStarted);
    stage.tell(&target, Happening::Left);
    stage.tell(&target, succeeded(20));
    stage.tell(&target, ended(sample(&target, Cell::new(4, 8))));
    stage.enter_epoch(&target, &grid);
    stage.reports.note_written(&target, now());
    assert_eq!(stage.series().len() as u64, size::of_process(), "{}", stage.text());
}

#[test]
fn another_model_begins_at_nought_and_takes_the_place_of_the_last() {
    let stage = Stage::new(&["a"], &MetricsPlan::default());
    let other = TargetId::new("a", "large");
    stage.tell(&id("a"), Happening::CycleEnded { cycle: 1, seconds: 60.0 });
    stage.check(&[r#"llmsoak_cycles_completed_total{target="a",model="tiny"} 1"#]);
    stage.tell(&other, Happening::Identified(Arc::new(identity(&other))));
    stage.check(&[r#"llmsoak_cycles_completed_total{target="a",model="large"} 0"#]);
    assert_eq!(stage.count("llmsoak_cycles_completed_total"), 1);
}

#[test]
fn a_reload_that_fails_leaves_the_time_of_the_last_good_one() {
    let stage = Stage::new(&[], &MetricsPlan::default());
    let at = |seconds| Timestamp::from_second(seconds).expect("is a time");
    stage.reload.note(true, at(1_000_001));
    stage.reload.note(false, at(1_000_002));
    stage.check(&[
        "llmsoak_config_last_reload_successful 0",
        "llmsoak_config_last_reload_success_timestamp_seconds 1000001",
    ]);
    stage.reload.note(true, at(1_000_003));
    stage.check(&[
        "llmsoak_config_last_reload_successful 1",
        "llmsoak_config_last_reload_success_timestamp_seconds 1000003",
    ]);
}

#[test]
fn reports_are_counted_from_nought_whatever_their_model() {
    let stage = Stage::new(&["a", "b"], &MetricsPlan::default());
    stage.reports.note_failed(&TargetId::new("a", ""));
    stage.check(&[
        r#"llmsoak_report_failures_total{target="a",model="tiny"} 1"#,
        r#"llmsoak_reports_written_total{target="a",model="tiny"} 0"#,
        r#"llmsoak_report_failures_total{target="b",model="tiny"} 0"#,
    ]);
}
