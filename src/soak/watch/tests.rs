//! A target under watch, from the events of its cycles to what it says of them.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::recall::{Held, Memory};
use super::target::TargetWatch;
use crate::analysis::regression::{CellFigures, CycleView, Settings};
use crate::domain::{
    Baseline, BaselineOrder, Cell, Direction, Epoch, EpochId, Facts, Happening, Latencies, Measure, Measurement,
    OrderKind, Quantiles, Sample, TargetId, TokenSource, Turn,
};
use crate::store::Cycle;

const CELLS: [(u32, u32); 8] = [(1, 1), (2, 2), (2, 4), (2, 8), (4, 4), (4, 8), (4, 16), (8, 16)];

fn at(cycle: u64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_mins(10 * cycle as i64)
}

fn epoch(id: i64, driver: &str) -> Arc<Epoch> {
    let identity = Facts::from([("driver_version".to_owned(), driver.to_owned())]);
    Arc::new(Epoch { id: EpochId(id), identity, load: Facts::new(), first_seen: at(0), last_seen: at(0) })
}

/// A valid sample, half a percent about the level.
fn sample(cycle: u64, (workers, batch): (u32, u32), level: f64) -> Sample {
    let wobble = 1.0 + 0.005 * f64::sin((7 * cycle) as f64 + 1.7 * f64::from(workers) + 0.9 * f64::from(batch));
    let rate = 30.0 * f64::from(workers.min(batch)) * wobble * level;
    let quantiles = |p50: f64| Some(Quantiles { p50, p95: 2.0 * p50, p99: 3.0 * p50 });
    let measurement = Measurement {
        conditions: crate::domain::Conditions::default(),
        total_seconds: 2.0,
        seconds_per_request: 0.5,
        tokens_per_second: rate,
        steady_tokens_per_second: None,
        prompt_tokens_per_second: None,
        requests: batch,
        failed_requests: 0,
        failures: Default::default(),
        output_tokens: 200,
        prompt_tokens: None,
        cached_prompt_tokens: None,
        token_source: TokenSource::Usage,
        short_outputs: 0,
        observed_parallelism: None,
        observed_parallelism_peak: None,
        reported_slots: None,
        time_to_first_token: None,
        inter_token_latency: quantiles(1.0 / rate),
        time_per_output_token: None,
        request_duration: None,
        worker_wait: None,
        queue_wait: None,
        load_seconds: None,
        gpu_share: None,
        timer_lag_p99_seconds: None,
        client_cpu_ratio: 0.01,
    };
    Sample {
        target: TargetId::new("a", "m"),
        epoch: EpochId(1),
        cycle,
        cell: Cell::new(workers, batch),
        started_at: at(cycle),
        completed_at: at(cycle),
        measurement,
        invalid: Vec::new(),
    }
}

fn view(cycle: u64, driver: &str, level: f64) -> CycleView {
    let cells = CELLS.iter().map(|&cell| CellFigures::of(&sample(cycle, cell, level)));
    CycleView { at: at(cycle), identity: epoch(1, driver).identity.clone(), cells: cells.collect() }
}

fn memory(epoch: Arc<Epoch>) -> Memory {
    let (cycles, current, changes, orders) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    Memory { epoch, before: None, cycles, current, changes, orders, held: None }
}

/// A target that is watched while its cycles pass, from 101 on.
struct Story {
    watch: TargetWatch,
    next: u64,
}

impl Story {
    fn new(memory: Memory) -> Self {
        Self { watch: TargetWatch::restored(Settings::default(), memory), next: 101 }
    }

    /// So many cycles at a level; what was told in them, with the number of the cycle.
    fn cycles(&mut self, count: u64, level: f64) -> Vec<(u64, Happening)> {
        let mut told = Vec::new();
        for cycle in self.next..self.next + count {
            self.begin(cycle, level);
            let end = Happening::CycleEnded { cycle, seconds: 500.0 };
            told.extend(self.watch.hear(at(cycle + 1), &end).into_iter().map(|happening| (cycle, happening)));
        }
        self.next += count;
        told
    }

    fn begin(&mut self, cycle: u64, level: f64) {
        let mut tell = |happening| assert_eq!(self.watch.hear(at(cycle), &happening).len(), 0);
        tell(Happening::CycleStarted { cycle, cells: 8, due_at: None });
        for cell in CELLS {
            let (sample, latencies) = (Arc::new(sample(cycle, cell, level)), Arc::new(Latencies::default()));
            tell(Happening::SampleEnded { sample, latencies });
        }
    }

    fn enter(&mut self, epoch: Arc<Epoch>) -> Vec<Happening> {
        self.watch.enter(epoch, None)
    }
}

/// The turns of the alarm of the token rate.
fn turns(told: &[(u64, Happening)]) -> Vec<(u64, Turn, Direction)> {
    let turn = |(cycle, happening): &(u64, Happening)| match happening {
        Happening::AlarmTurned { measure: Measure::TokensPerSecond, turn, direction, .. } => {
            Some((*cycle, *turn, *direction))
        }
        _ => None,
    };
    told.iter().filter_map(turn).collect()
}

#[test]
fn a_slower_driver_is_told_with_the_numbers_of_its_cycles() {
    let mut story = Story::new(memory(epoch(1, "1")));
    assert_eq!(story.cycles(20, 1.0).len(), 0);
    story.enter(epoch(2, "2"));
    let told = story.cycles(4, 0.92);
    assert_eq!(turns(&told), [(122, Turn::Raised, Direction::Regression)]);
    let found = told.iter().find_map(|(_, happening)| match happening {
        Happening::ChangeFound(event) if event.measure == Measure::TokensPerSecond => Some(event.clone()),
        _ => None,
    });
    let found = found.expect("is told");
    assert_eq!((found.changed.cycle, found.changed.at), (121, at(121)));
    assert_eq!((found.detected.cycle, found.detected.at), (122, at(123)));
    assert!((found.ratio.value - 0.92).abs() < 0.015, "{found:?}");
    assert_eq!(found.components.first().map(|component| component.as_str()), Some("driver"));
}

#[test]
fn a_driver_without_effect_raises_nothing() {
    let mut story = Story::new(memory(epoch(1, "1")));
    story.cycles(20, 1.0);
    story.enter(epoch(2, "2"));
    assert_eq!(story.cycles(20, 1.0).len(), 0);
}

#[test]
fn an_alarm_outlives_a_harmless_change_and_ends_when_it_is_accepted() {
    let mut story = Story::new(memory(epoch(1, "1")));
    story.cycles(20, 1.0);
    story.enter(epoch(2, "2"));
    story.cycles(10, 0.92);
    story.enter(epoch(3, "3"));
    assert_eq!(turns(&story.cycles(10, 0.92)), []);
    assert_eq!(story.watch.alarms.active().count(), 2);
    let order = BaselineOrder { kind: OrderKind::Accepted, at: at(story.next), epoch: Some(EpochId(3)) };
    let told: Vec<(u64, Happening)> = story.watch.obey(vec![order]).into_iter().map(|told| (0, told)).collect();
    assert_eq!(turns(&told), [(0, Turn::Accepted, Direction::Regression)]);
    assert_eq!(story.watch.alarms.active().count(), 0);
    // Said once, it is obeyed once.
    assert_eq!(story.watch.obey(vec![order]).len(), 0);
}

#[test]
fn a_level_that_is_back_ends_its_alarm() {
    let mut story = Story::new(memory(epoch(1, "1")));
    story.cycles(20, 1.0);
    story.enter(epoch(2, "2"));
    story.cycles(15, 0.9);
    story.enter(epoch(3, "1"));
    let told = turns(&story.cycles(6, 1.0));
    assert!(matches!(told.as_slice(), [(_, Turn::Recovered, Direction::Regression)]), "{told:?}");
}

#[test]
fn a_level_that_is_back_is_seen_beside_the_baseline_however_short_the_regression_was() {
    let first = epoch(1, "1");
    let mut story = Story::new(memory(first.clone()));
    story.cycles(6, 1.0);
    let cycles: Vec<CycleView> = (101..=106).map(|number| view(number, "1", 1.0)).collect();
    let baseline = Arc::new(Baseline { epoch: first, is_pinned: false, optima: Vec::new() });
    let held = || Some(Held { baseline: baseline.clone(), cycles: cycles.clone() });
    let entered =
        |id, driver, story: &Story| Arc::new(Epoch { first_seen: at(story.next), ..Epoch::clone(&epoch(id, driver)) });
    story.watch.enter(entered(2, "2", &story), held());
    assert_eq!(turns(&story.cycles(2, 0.7)), [(108, Turn::Raised, Direction::Regression)]);
    story.watch.enter(entered(3, "1", &story), held());
    let told = story.cycles(4, 1.0);
    assert_eq!(turns(&told), [(110, Turn::Recovered, Direction::Regression)]);
    let found: Vec<_> = told
        .iter()
        .filter_map(|(_, happening)| match happening {
            Happening::ChangeFound(event) if event.measure == Measure::TokensPerSecond => Some(event.clone()),
            _ => None,
        })
        .collect();
    let [back] = found.as_slice() else { panic!("told once: {found:?}") };
    assert_eq!((back.direction, back.changed.cycle), (Direction::Improvement, 109));
    assert!((back.ratio.value - 1.0 / 0.7).abs() < 0.05, "{back:?}");
    assert_eq!(back.components.first().map(|component| component.as_str()), Some("driver"));
    assert_eq!(story.watch.alarms.active().count(), 0);
}

#[test]
fn a_cycle_that_another_epoch_cut_short_is_no_cycle() {
    let mut story = Story::new(memory(epoch(1, "1")));
    story.cycles(20, 1.0);
    story.begin(121, 0.5);
    story.enter(epoch(2, "2"));
    story.next = 122;
    assert_eq!(story.cycles(10, 1.0).len(), 0);
}

#[test]
fn who_is_restored_goes_on_as_if_nothing_had_been() {
    let mut whole = Story::new(memory(epoch(1, "1")));
    whole.cycles(20, 1.0);
    whole.enter(epoch(2, "2"));
    whole.cycles(5, 0.92);
    let record = whole.watch.record();
    assert_eq!(record.alarms.len(), 2);

    let cycles = (101..=125).map(|number| {
        let view = if number <= 120 { view(number, "1", 1.0) } else { view(number, "2", 0.92) };
        Cycle { number, view }
    });
    let cycles: Vec<Cycle> = cycles.collect();
    let current = cycles.iter().skip(20).map(|cycle| cycle.view.clone()).collect();
    let memory = Memory { cycles, current, changes: record.changes.clone(), ..memory(epoch(2, "2")) };
    let mut restored = Story { next: 126, ..Story::new(memory) };
    assert_eq!(restored.watch.record(), record);
    // What was told is not told again, and what comes is told as it would have been.
    assert_eq!(turns(&restored.cycles(8, 0.92)), []);
    whole.cycles(8, 0.92);
    restored.enter(epoch(3, "3"));
    whole.enter(epoch(3, "3"));
    let (told, expected) = (restored.cycles(4, 0.8), whole.cycles(4, 0.8));
    assert_eq!(turns(&told), turns(&expected));
    assert_eq!(turns(&told).len(), 1, "{told:?}");
}

#[test]
fn each_cycle_is_compared_with_the_baseline_from_the_second_on() {
    let before = epoch(1, "1");
    let mut story = Story::new(memory(before.clone()));
    story.cycles(5, 1.0);
    let cycles = (101..=105).map(|number| view(number, "1", 1.0)).collect();
    let held = Held { baseline: Arc::new(Baseline { epoch: before, is_pinned: false, optima: Vec::new() }), cycles };
    let told = story.watch.enter(epoch(2, "2"), Some(held));
    assert!(matches!(told.first(), Some(Happening::BaselineChosen(Some(_)))), "{told:?}");
    let ratios: Vec<Option<f64>> = story
        .cycles(3, 0.9)
        .iter()
        .filter_map(|(_, happening)| match happening {
            Happening::Compared(compared) => Some(compared.measures[0].ratio().map(|ratio| ratio.value)),
            _ => None,
        })
        .collect();
    assert_eq!(ratios.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true, true]);
    assert!(ratios.iter().flatten().all(|ratio| (ratio - 0.9).abs() < 0.01), "{ratios:?}");
}
