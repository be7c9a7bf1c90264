//! The detector on stories of a few dozen cycles, each with what it has to say of them.

use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::domain::{Cell, Facts};

const MINUTES_A_CYCLE: i64 = 40;
const GRID: [(u32, u32); 9] = [(1, 4), (1, 8), (1, 32), (4, 4), (4, 8), (4, 32), (16, 4), (16, 8), (16, 32)];

/// A story: how fast the server is, and what changes.
#[derive(Clone)]
struct Story {
    cycles: u64,
    seed: u64,
    /// The factor of the speed in each cell and cycle.
    speed: fn(u64, Cell) -> f64,
    driver: fn(u64) -> &'static str,
    /// By how many minutes the clock is wrong in a cycle.
    clock: fn(u64) -> i64,
}

impl Story {
    fn of(cycles: u64, speed: fn(u64, Cell) -> f64) -> Self {
        Self { cycles, seed: 1, speed, driver: |_| "1", clock: |_| 0 }
    }

    /// The cycles, each cell with noise of 2 % of its own.
    fn views(&self) -> Vec<CycleView> {
        let mut state = self.seed;
        let mut noise = move || {
            // The sum of twelve uniform numbers is normal enough; Knuth's MMIX generator.
            let uniform = |_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 11) as f64 / (1_u64 << 53) as f64
            };
            0.02 * ((0..12).map(uniform).sum::<f64>() - 6.0)
        };
        (0..self.cycles)
            .map(|cycle| CycleView {
                at: Timestamp::UNIX_EPOCH
                    + SignedDuration::from_mins(MINUTES_A_CYCLE * cycle as i64 + (self.clock)(cycle)),
                identity: Facts::from([("driver_version".to_owned(), (self.driver)(cycle).to_owned())]),
                cells: GRID
                    .iter()
                    .map(|&(workers, batch)| {
                        let cell = Cell::new(workers, batch);
                        let rate = 20.0 * f64::from(cell.concurrency()) * (self.speed)(cycle, cell);
                        let figures = [rate, 3.0 / rate, 1.0 / rate].map(|figure| Some(figure * noise().exp()));
                        CellFigures { cell, figures }
                    })
                    .collect(),
            })
            .collect()
    }

    fn findings(&self) -> Vec<Finding> {
        let mut detector = Detector::new(Settings::default());
        self.views().iter().flat_map(|view| detector.observe(view)).collect()
    }

    /// What is told of the token rate.
    fn changes(&self) -> Vec<ChangeEvent> {
        let change = |finding| match finding {
            Finding::Changed(event) => Some(event),
            Finding::Withdrawn { .. } => None,
        };
        self.findings()
            .into_iter()
            .filter_map(change)
            .filter(|event| event.measure == Measure::TokensPerSecond)
            .collect()
    }
}

#[test]
fn a_driver_that_slows_is_named_after_two_cycles() {
    let story = Story {
        driver: |cycle| if cycle < 30 { "1" } else { "2" },
        ..Story::of(45, |cycle, _| if cycle < 30 { 1.0 } else { 0.92 })
    };
    let [event] = story.changes().try_into().expect("one change");
    assert_eq!((event.changed.cycle, event.detected.cycle), (30, 31));
    assert_eq!((event.cause, event.components.as_slice()), (Cause::EnvironmentChange, [Component::Driver].as_slice()));
    assert_eq!((event.direction, event.scope), (Direction::Regression, Scope::All));
    assert!((event.ratio.value - 0.92).abs() < 0.015, "{event:?}");
    assert!(event.ratio.lower < 0.92 && event.ratio.upper > 0.92, "{event:?}");
}

#[test]
fn every_measure_tells_of_a_slower_server() {
    let story = Story::of(45, |cycle, _| if cycle < 30 { 1.0 } else { 0.9 });
    let told: Vec<(Measure, Direction)> = story
        .findings()
        .into_iter()
        .filter_map(|finding| match finding {
            Finding::Changed(event) => Some((event.measure, event.direction)),
            Finding::Withdrawn { .. } => None,
        })
        .collect();
    assert_eq!(told.len(), 3);
    assert!(Measure::ALL.into_iter().all(|measure| told.contains(&(measure, Direction::Regression))), "{told:?}");
}

#[test]
fn a_clock_that_is_set_is_no_change_and_hides_none() {
    const YEAR: i64 = 365 * 24 * 60;
    let clocks: [fn(u64) -> i64; 5] = [
        |cycle| if cycle < 20 { 0 } else { -60 },
        |cycle| if cycle < 20 { 0 } else { 60 },
        |cycle| if (10..20).contains(&cycle) { 3 * YEAR } else { 0 },
        |cycle| if (10..20).contains(&cycle) { -3 * YEAR } else { 0 },
        |cycle| if cycle.is_multiple_of(2) { -MINUTES_A_CYCLE } else { 0 },
    ];
    for (number, clock) in clocks.into_iter().enumerate() {
        for seed in 1..=3 {
            let steady = Story { seed, clock, ..Story::of(90, |_, _| 1.0) };
            assert_eq!(steady.findings(), [], "clock {number}, seed {seed}");
            let slower = Story { seed, clock, ..Story::of(45, |cycle, _| if cycle < 30 { 1.0 } else { 0.9 }) };
            let changes: Vec<_> = slower.changes().iter().map(|event| (event.changed.cycle, event.direction)).collect();
            assert_eq!(changes, [(30, Direction::Regression)], "clock {number}, seed {seed}");
        }
    }
}

#[test]
fn a_driver_without_effect_is_no_change() {
    for seed in 1..=5 {
        let story = Story { seed, driver: |cycle| if cycle < 30 { "1" } else { "2" }, ..Story::of(90, |_, _| 1.0) };
        assert_eq!(story.findings(), [], "seed {seed}");
    }
}

#[test]
fn a_day_that_moves_the_server_by_4_percent_is_no_change() {
    // Thirty-six cycles a day, begun at any hour: a flank looks like a step.
    fn day(cycle: u64, eighths: u64) -> f64 {
        1.0 + 0.04 * (std::f64::consts::TAU * (cycle as f64 / 36.0 + eighths as f64 / 8.0)).sin()
    }
    let days: [fn(u64, Cell) -> f64; 4] =
        [|cycle, _| day(cycle, 0), |cycle, _| day(cycle, 1), |cycle, _| day(cycle, 4), |cycle, _| day(cycle, 5)];
    for day in days {
        assert_eq!(Story::of(150, day).findings(), []);
    }
}

#[test]
fn a_dip_soon_after_a_driver_without_effect_is_no_change() {
    for seed in 1..=8 {
        let story = Story {
            seed,
            driver: |cycle| if cycle < 30 { "1" } else { "2" },
            ..Story::of(60, |cycle, _| if (31..34).contains(&cycle) { 0.9 } else { 1.0 })
        };
        assert_eq!(story.findings(), [], "seed {seed}");
    }
}

#[test]
fn a_step_at_an_unknown_time_has_no_component() {
    let [event] =
        Story::of(50, |cycle, _| if cycle < 30 { 1.0 } else { 1.08 }).changes().try_into().expect("one change");
    assert!((29..=31).contains(&event.changed.cycle) && event.detected.cycle <= 35, "{event:?}");
    assert_eq!((event.cause, event.components.as_slice()), (Cause::UnexplainedStep, [].as_slice()));
    assert_eq!(event.direction, Direction::Improvement);
}

#[test]
fn a_change_of_large_batches_has_their_scope_and_cells() {
    let story = Story::of(50, |cycle, cell| if cycle >= 30 && cell.batch >= 32 { 0.85 } else { 1.0 });
    let [event] = story.changes().try_into().expect("one change");
    assert_eq!(event.scope, Scope::BatchAtLeast(32));
    assert!(!event.affected.is_empty() && event.affected.iter().all(|cell| cell.batch >= 32), "{event:?}");
}

#[test]
fn a_server_that_slows_until_it_is_restarted_decays() {
    let story = Story::of(70, |cycle, _| 1.0 - 0.012 * cycle.saturating_sub(40).min(12) as f64);
    let changes = story.changes();
    let first = changes.first().expect("a change");
    assert_eq!((first.cause, first.direction), (Cause::SlowDecay, Direction::Regression), "{first:?}");
    assert!(first.detected.cycle < 52, "{first:?}");
}

#[test]
fn a_dip_of_three_cycles_is_no_change() {
    for depth in [
        |cycle: u64, _: Cell| if (40..43).contains(&cycle) { 0.7 } else { 1.0 },
        |cycle: u64, _: Cell| {
            if (40..43).contains(&cycle) { 0.95 } else { 1.0 }
        },
    ] {
        assert_eq!(Story::of(80, depth).findings(), []);
    }
}

#[test]
fn a_longer_dip_is_withdrawn_and_the_old_level_goes_on() {
    let findings = Story::of(70, |cycle, _| if (40..46).contains(&cycle) { 0.85 } else { 1.0 }).findings();
    let of_rate = |finding: &&Finding| match finding {
        Finding::Changed(event) => event.measure == Measure::TokensPerSecond,
        Finding::Withdrawn { measure, .. } => *measure == Measure::TokensPerSecond,
    };
    let of_rate: Vec<&Finding> = findings.iter().filter(of_rate).collect();
    let [Finding::Changed(event), Finding::Withdrawn { changed, returned, .. }] = of_rate.as_slice() else {
        panic!("{of_rate:?}");
    };
    assert_eq!((event.changed.cycle, changed.cycle, returned.cycle), (40, 40, 46));
}

#[test]
fn a_lasting_step_back_is_a_change_of_its_own() {
    let changes = Story::of(100, |cycle, _| if (40..65).contains(&cycle) { 0.9 } else { 1.0 }).changes();
    let told: Vec<(u64, Direction)> = changes.iter().map(|event| (event.changed.cycle, event.direction)).collect();
    assert_eq!(told, [(40, Direction::Regression), (65, Direction::Improvement)]);
}

#[test]
fn a_detector_is_restored_by_replaying() {
    let story = Story::of(420, |cycle, _| if cycle < 400 { 1.0 } else { 0.95 });
    let views = story.views();
    let told = |from: usize| {
        let mut detector = Detector::new(Settings::default());
        let findings: Vec<Finding> = views[from..].iter().flat_map(|view| detector.observe(view)).collect();
        findings
            .into_iter()
            .filter_map(|finding| match finding {
                Finding::Changed(event) => Some((event.measure, event.detected.at, event.changed.at, event.cause)),
                Finding::Withdrawn { .. } => None,
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(told(0).len(), 3);
    assert_eq!(told(200), told(0));
}

#[test]
fn missing_figures_cells_and_cycles_are_no_change() {
    let story = Story::of(60, |_, _| 1.0);
    let mut detector = Detector::new(Settings::default());
    for (cycle, mut view) in story.views().into_iter().enumerate() {
        match cycle {
            20..25 => view.cells.clear(),
            // A row of the grid is gone for a while, then new cells come.
            30..40 => view.cells.retain(|figures| figures.cell.workers != 16),
            45.. => {
                view.cells.extend([CellFigures { cell: Cell::new(32, 64), figures: [Some(900.0), Some(-1.0), None] }]);
            }
            _ => view.cells.iter_mut().for_each(|figures| figures.figures[cycle % 3] = None),
        }
        assert_eq!(detector.observe(&view), [], "cycle {cycle}");
    }
}

#[test]
fn a_change_in_a_lost_cycle_is_laid_to_the_driver_all_the_same() {
    let story = Story {
        driver: |cycle| if cycle < 30 { "1" } else { "2" },
        ..Story::of(45, |cycle, _| if cycle < 30 { 1.0 } else { 0.9 })
    };
    let mut detector = Detector::new(Settings::default());
    let mut told = Vec::new();
    for (cycle, mut view) in story.views().into_iter().enumerate() {
        if cycle == 30 {
            view.cells.clear();
        }
        told.extend(detector.observe(&view));
    }
    let Some(Finding::Changed(event)) = told.first() else { panic!("{told:?}") };
    assert_eq!((event.cause, event.changed.cycle, event.detected.cycle), (Cause::EnvironmentChange, 30, 32));
}

#[test]
fn fewer_false_alarms_need_a_clearer_change() {
    let detected = |false_alarms_per_1000_cycles: f64, minimum_effect: f64| {
        let story = Story::of(60, |cycle, _| if cycle < 30 { 1.0 } else { 0.96 });
        let mut detector = Detector::new(Settings { minimum_effect, false_alarms_per_1000_cycles });
        let findings: Vec<Finding> = story.views().iter().flat_map(|view| detector.observe(view)).collect();
        findings.len()
    };
    assert!(detected(0.5, 0.01) > 0);
    assert_eq!(detected(0.5, 0.1), 0);
    assert_eq!(detected(1e-6, 0.01), 0);
}
