//! What a track keeps of its rows, and what it says of them.

use jiff::{SignedDuration, Timestamp};

use super::super::view::CellFigures;
use super::*;

const CELLS: [Cell; 4] = [Cell::new(1, 4), Cell::new(1, 8), Cell::new(2, 4), Cell::new(2, 8)];
const NAN: f64 = f64::NAN;
const THRESHOLDS: Thresholds = Thresholds { known: 2.7, unknown: 4.0, elsewhere: 2.5, minimum_effect: 0.01 };
const RATE: Measure = Measure::TokensPerSecond;

/// Parts: all of it, the batches of eight, two workers.
fn registry() -> Registry {
    let mut registry = Registry::default();
    registry.learn(&CELLS.map(|cell| CellFigures { cell, figures: [Some(1.0); 3] }));
    registry
}

fn at(cycle: u64) -> CycleRef {
    CycleRef { cycle, at: Timestamp::UNIX_EPOCH + SignedDuration::from_hours(cycle as i64) }
}

fn row(cycle: u64, logs: [f64; 4]) -> Row {
    let (position, seconds) = (cycle as f64, 3600.0 * cycle as f64);
    Row { at: at(cycle), position, seconds, logs: logs.to_vec(), change: None, pooled: Vec::new() }
}

fn changed(cycle: u64, components: &[Component], logs: [f64; 4]) -> Row {
    Row { change: Some((at(cycle), components.to_vec())), ..row(cycle, logs) }
}

/// A track that has taken so many rows of these values.
fn taken(measure: Measure, rows: u64, logs: impl Fn(u64) -> [f64; 4]) -> Track {
    let mut track = Track::new(measure);
    for cycle in 0..rows {
        track.take(row(cycle, logs(cycle)), &registry(), cycle == 0);
    }
    track
}

/// Noise of a thousandth that is the cell's own.
fn noise(cycle: u64, cell: u64) -> f64 {
    0.001 * ((2.4 * cycle as f64 + cell as f64).sin() + (0.7 * (cycle * cycle) as f64 + 1.3 * cell as f64).sin())
}

/// Cells of levels of their own, all of them moved.
fn moved(cycle: u64, by: f64) -> [f64; 4] {
    [0, 1, 2, 3].map(|cell| cell as f64 + noise(cycle, cell) + by)
}

fn close(a: f64, b: f64) {
    assert!((a - b).abs() < 1e-9, "{a} is not {b}");
}

#[test]
fn the_newest_rows_and_warm_ups_are_kept() {
    let track = taken(RATE, 105, |_| [0.0; 4]);
    assert_eq!((track.rows.len(), track.rows[0].at), (100, at(5)));
    assert_eq!(track.warmups, [Warmup { position: 0.0, is_start: true }]);
    let mut track = Track::new(RATE);
    for cycle in 0..20 {
        track.take(changed(cycle, &[Component::Driver], [0.0; 4]), &registry(), false);
        assert_eq!(track.warmups.len() as u64, (cycle + 1).min(16));
        assert_eq!(track.warmups.last(), Some(&Warmup { position: cycle as f64, is_start: false }));
    }
    assert_eq!(track.warmups[0].position, 4.0);
}

#[test]
fn a_row_has_half_of_the_usual_cells() {
    let check = |before: u64, logs: [f64; 4], expected: bool| {
        let mut track = taken(RATE, before, |_| [0.0; 4]);
        assert_eq!(track.take(row(before, logs), &registry(), false), expected, "{before} {logs:?}");
        assert_eq!(track.rows.len() as u64, before + u64::from(expected));
    };
    check(0, [NAN; 4], false);
    check(0, [0.0, NAN, NAN, NAN], true);
    check(5, [0.0, NAN, NAN, NAN], false);
    check(5, [0.0, NAN, 0.0, NAN], true);
    check(5, [NAN; 4], false);
}

#[test]
fn a_change_of_identity_before_a_thin_row_is_one_with_that_after_it() {
    let mut track = taken(RATE, 5, |_| [0.0; 4]);
    assert!(!track.take(changed(5, &[Component::Model, Component::Driver], [NAN; 4]), &registry(), false));
    assert!(track.take(changed(6, &[Component::Driver, Component::Cuda], [0.0; 4]), &registry(), false));
    let mut components = vec![Component::Model, Component::Driver, Component::Cuda];
    components.sort_unstable();
    assert_eq!(track.rows[5].change, Some((at(5), components)));
    assert!(track.take(row(7, [0.0; 4]), &registry(), false));
    assert_eq!(track.rows[6].change, None);
}

#[test]
fn usual_levels_are_looked_up_again_after_a_third_more_rows_and_after_sixteen_at_most() {
    let mut track = Track::new(RATE);
    let refreshed = |track: &mut Track, cycles: std::ops::Range<u64>| -> Vec<u64> {
        let took = cycles.filter(|&cycle| {
            track.take(row(cycle, [0.0; 4]), &registry(), false);
            track.unrefreshed == 0
        });
        took.map(|cycle| cycle + 1).collect()
    };
    assert_eq!(refreshed(&mut track, 0..40), [1, 2, 3, 4, 5, 7, 10, 14, 20, 29]);
    assert_eq!(refreshed(&mut track, 40..110), [43, 59, 75, 91, 107]);
    track.take(row(110, [0.0; 4]), &registry(), true);
    assert_eq!(track.unrefreshed, 0, "the grid grew");
}

#[test]
fn the_memory_and_restlessness_are_those_of_all_cells_together() {
    let track = taken(RATE, 75, |cycle| moved(cycle, 0.02 * (cycle as f64 / 9.0).sin()));
    let (y, gaps) = track.whole();
    assert_eq!((y.len(), gaps.iter().sum::<f64>()), (75, 74.0));
    assert_eq!(track.phi, Jumps { y: &y, gaps: &gaps }.phi());
    assert!((track.phi - Line::USUAL_PHI).abs() > 0.01, "{}", track.phi);
    let line = track.line(&registry(), &track.surroundings(), 0);
    assert_eq!(track.restlessness, line.restlessness());
    assert!(track.restlessness > 1.5, "{}", track.restlessness);
    let restless = Restless { drift: track.restlessness, day: track.restlessness, warmup: 1.0 };
    assert_eq!(track.surroundings().restless, restless);
}

#[test]
fn a_window_that_just_began_is_as_restless_as_the_one_before() {
    let restless = |rows: u64| {
        let mut track = taken(RATE, rows, |cycle| moved(cycle, 0.0));
        track.restlessness = 2.5;
        track.pool(&registry(), true);
        track.restlessness
    };
    assert_eq!([10, 32].map(restless), [2.5, 2.5]);
    assert_eq!([33, 40].map(restless), [1.0, 1.0]);
}

#[test]
fn rows_without_a_value_are_a_gap_in_the_whole() {
    let mut track = Track::new(RATE);
    for (cycle, value) in [(3, 0.1), (4, NAN), (5, 0.3), (6, 0.2), (9, 0.4)] {
        track.rows.push(Row { pooled: vec![value, 9.0], ..row(cycle, [0.0; 4]) });
    }
    assert_eq!(track.whole(), (vec![0.1, 0.3, 0.2, 0.4], vec![0.0, 2.0, 1.0, 3.0]));
    assert_eq!(Track::new(RATE).whole(), (Vec::new(), Vec::new()));
}

#[test]
fn an_accepted_change_settles_while_the_window_begins_with_it() {
    let mut track = taken(RATE, 3, |_| [0.0; 4]);
    for (position, expected) in [(0.0, Some(0.1)), (-1.0, None)] {
        track.settling = Some((position, 0.1));
        assert_eq!(track.surroundings().settling, expected, "{position}");
    }
    assert_eq!(track.surroundings().positions, [0.0, 1.0, 2.0]);
    assert_eq!(track.surroundings().seconds, [0.0, 3600.0, 7200.0]);
}

#[test]
fn the_time_to_the_first_token_moves_more_by_itself() {
    let factors = Measure::ALL.map(|measure| Track::new(measure).surroundings().factor);
    assert_eq!(factors, [1.0, 1.5, 1.0]);
}

#[test]
fn what_is_known_of_the_noise_is_that_of_the_cells_and_of_all_together() {
    for (measure, common) in [(RATE, 0.003), (Measure::TimeToFirstToken, 0.0045)] {
        let mut track = taken(measure, 14, |cycle| moved(cycle, 0.0));
        for part in 0..3 {
            let own = track.usuals.variance(&registry().parts[part].members);
            let prior = track.prior(&registry(), part);
            close(prior.variance / (own + common * common), 1.0);
            assert_eq!(prior.rows, 8.0);
        }
        let carried = Prior { variance: 0.5, rows: 30.0 };
        track.carried.insert(Scope::BatchAtLeast(8), carried);
        assert_eq!(track.prior(&registry(), 1), carried);
        assert_eq!(track.prior(&registry(), 0).rows, 8.0);
    }
    let nothing = Track::new(RATE);
    assert_eq!(nothing.prior(&registry(), 0), Prior { variance: 0.003 * 0.003, rows: 8.0 });
    assert_eq!(nothing.prior(&registry(), 3), Prior { variance: 0.003 * 0.003, rows: 1.0 });
}

#[test]
fn identity_and_other_measures_speak_for_a_change() {
    let told = |measure: Measure, cycle: u64, direction: Direction| Told {
        measure,
        changed: at(cycle),
        direction,
        cause: Cause::UnexplainedStep,
    };
    let check = |measure: Measure, told: &[Told], expected: Option<Clue>| {
        let mut track = taken(measure, 4, |_| [0.0; 4]);
        track.take(changed(4, &[Component::Driver], [0.0; 4]), &registry(), false);
        assert_eq!(track.clue(2, told), expected, "{measure} {told:?}");
        assert_eq!(track.clue(4, told), Some(Clue::Identity));
        assert_eq!(track.clue(5, told), None);
    };
    let (ttft, itl) = (Measure::TimeToFirstToken, Measure::InterTokenLatency);
    let (up, down) = (Some(Clue::Elsewhere { direction: 1.0 }), Some(Clue::Elsewhere { direction: -1.0 }));
    check(RATE, &[], None);
    check(RATE, &[told(RATE, 2, Direction::Regression)], None);
    check(RATE, &[told(itl, 3, Direction::Regression)], None);
    check(RATE, &[told(itl, 2, Direction::Regression)], down);
    check(RATE, &[told(itl, 2, Direction::Improvement)], up);
    check(ttft, &[told(RATE, 2, Direction::Regression)], up);
    check(ttft, &[told(itl, 3, Direction::Regression), told(RATE, 2, Direction::Improvement)], down);
}

/// What is told in the last of so many rows.
fn told(rows: u64, thresholds: Thresholds, logs: impl Fn(u64) -> [f64; 4]) -> Option<ChangeEvent> {
    let mut track = taken(RATE, rows, logs);
    match track.look(&registry(), thresholds, &[])? {
        Finding::Changed(event) => Some(event),
        Finding::Withdrawn { .. } => panic!("a dip"),
    }
}

#[test]
fn a_change_of_a_part_is_one_where_it_is_clearer_there() {
    let part = |by: f64, rest: f64| {
        told(40, THRESHOLDS, |cycle| {
            let [a, b, c, d] = moved(cycle, 0.0);
            if cycle < 34 { [a, b, c, d] } else { [a + rest, b + by, c + rest, d + by] }
        })
    };
    let of_part = part(0.1, 0.0).expect("a change");
    assert_eq!((of_part.scope, of_part.changed), (Scope::BatchAtLeast(8), at(34)));
    assert_eq!(of_part.affected, [CELLS[1], CELLS[3]]);
    let of_all = part(0.1, 0.1).expect("a change");
    assert_eq!((of_all.scope, of_all.changed), (Scope::All, at(34)));
    assert_eq!(of_all.affected, CELLS);
}

/// Forty rows, from the 34th on with a change of the large batches and of the others.
fn two_sizes(large: f64, small: f64) -> impl Fn(u64) -> [f64; 4] {
    move |cycle| {
        let [a, b, c, d] = moved(cycle, 0.0);
        if cycle < 34 { [a, b, c, d] } else { [a + small, b + large, c + small, d + large] }
    }
}

/// By how much a part is beyond the threshold by itself.
fn excess(part: usize, logs: impl Fn(u64) -> [f64; 4]) -> f64 {
    let track = taken(RATE, 40, logs);
    let line = track.line(&registry(), &track.surroundings(), part);
    line.best(&mut Designs::default(), &[], THRESHOLDS).expect("a change").excess
}

#[test]
fn a_part_has_to_be_beyond_a_higher_threshold() {
    let check = |small: f64, scope: Scope, part: usize, penalty: f64| {
        let beyond = excess(part, two_sizes(0.01, small)) - penalty;
        let raised = |by: f64| told(40, THRESHOLDS.raised(by), two_sizes(0.01, small)).map(|event| event.scope);
        assert_eq!((raised(beyond - 0.01), raised(beyond + 0.01)), (Some(scope), None));
    };
    check(0.01, Scope::All, 0, 0.0);
    check(0.003, Scope::BatchAtLeast(8), 1, 0.4);
}

#[test]
fn a_part_has_to_be_clearer_than_the_whole_by_a_margin() {
    let is_clearer = |step: f64| {
        let logs = || two_sizes(0.02, step);
        let event = told(40, THRESHOLDS, logs()).expect("a change");
        let is_part = event.scope == Scope::BatchAtLeast(8);
        assert_eq!(is_part, excess(1, logs()) - excess(0, logs()) > 0.9, "{step}");
        is_part
    };
    assert!(is_clearer(0.0165) && !is_clearer(0.0168));
}

/// Takes ten rows in, then a change of a size from the sixth on, and accepts it.
fn accepted(size: f64, standard_error: f64, clue: Clue, shape: Shape) -> (Track, Option<ChangeEvent>) {
    let mut track = taken(RATE, 20, |cycle| moved(cycle, if cycle < 16 { 0.0 } else { size }));
    track.rows[16].change = Some((at(15), vec![Component::Driver]));
    let line = track.line(&registry(), &track.surroundings(), 1);
    let effect = super::super::fit::Effect { size, standard_error };
    let candidate = Candidate { shape, first: 16, clue, effect, excess: 1.0, before: 16, after: 4 };
    let elsewhere = Told {
        measure: Measure::InterTokenLatency,
        changed: at(16),
        direction: Direction::Regression,
        cause: Cause::SlowDecay,
    };
    let event = track.accept(&registry(), 1, candidate, &line, &[elsewhere], 0.02_f64.ln_1p());
    (track, event)
}

#[test]
fn an_accepted_change_is_a_little_smaller_than_was_seen() {
    let check = |size: f64, error: f64, expected: f64| {
        let event = accepted(size, error, Clue::None, Shape::Step).1.expect("a change");
        close(event.ratio.value, f64::exp(expected));
    };
    check(0.03, 0.02, 0.03 * 0.9);
    check(-0.03, 0.02, -0.03 * 0.9);
    check(0.1, 0.05, 0.1 * 0.8);
}

#[test]
fn an_accepted_change_is_told_with_what_it_is_laid_to() {
    let check = |clue: Clue, shape: Shape, expected: (Cause, CycleRef, &[Component])| {
        let event = accepted(-0.1, 0.01, clue, shape).1.expect("a change");
        assert_eq!((event.cause, event.changed, event.components.as_slice()), expected);
        assert_eq!((event.scope, event.cycles_before, event.cycles_after), (Scope::BatchAtLeast(8), 16, 4));
        assert_eq!((event.measure, event.direction, event.detected), (RATE, Direction::Regression, at(19)));
        close(event.minimum_effect, 0.02);
    };
    check(Clue::Identity, Shape::Step, (Cause::EnvironmentChange, at(15), &[Component::Driver]));
    check(Clue::Elsewhere { direction: -1.0 }, Shape::Step, (Cause::SlowDecay, at(16), &[]));
    check(Clue::None, Shape::Step, (Cause::UnexplainedStep, at(16), &[]));
    check(Clue::None, Shape::Ramp(10.0), (Cause::SlowDecay, at(16), &[]));
}

#[test]
fn a_new_window_begins_with_an_accepted_change_and_knows_the_noise_of_the_last() {
    let before = taken(RATE, 20, |cycle| moved(cycle, if cycle < 16 { 0.0 } else { 0.1 }));
    let (track, event) = accepted(0.1, 0.05, Clue::None, Shape::Step);
    assert!(event.is_some());
    assert_eq!(track.rows.iter().map(|row| row.at).collect::<Vec<_>>(), [16, 17, 18, 19].map(at));
    let (position, size) = track.settling.expect("settles");
    close(position, 16.0);
    close(size, 0.08);
    let recent = track.recent.as_ref().expect("may be a dip");
    assert_eq!((recent.before.len(), recent.changed, recent.part), (16, at(16), 1));
    close(recent.size, 0.08);
    // That of the window while the change was a part of it, as it settles.
    let surroundings = Surroundings { settling: None, ..before.surroundings() };
    for part in 0..3 {
        let line = before.line(&registry(), &surroundings, part);
        assert_eq!(track.prior(&registry(), part), Prior { variance: line.variance, rows: line.noise_rows });
        assert!(line.noise_rows < 30.0);
    }
    let mut long = taken(RATE, 60, |cycle| moved(cycle, 0.0));
    long.carry_noise(&registry());
    assert_eq!(long.prior(&registry(), 2).rows, 30.0);
}

/// A track that told a change of −0.1 from a level of 0.2, and has taken rows at these levels
/// since; `deviation` is that of its noise.
fn after_a_change(levels: &[f64], deviation: f64) -> Track {
    let rows = |from: u64, levels: &[f64]| -> Vec<Row> {
        levels.iter().zip(from..).map(|(level, cycle)| row(cycle, [*level; 4])).collect()
    };
    let mut track = taken(RATE, 12, |_| [0.0; 4]);
    let before = rows(0, &[[7.0; 8].as_slice(), &[0.2; 12]].concat());
    track.rows = rows(20, levels);
    track.carried.insert(Scope::All, Prior { variance: deviation * deviation, rows: 30.0 });
    track.recent = Some(Recent { before, changed: at(20), size: -0.1, part: 0 });
    track.settling = Some((20.0, -0.1));
    track
}

#[test]
fn a_level_that_is_back_withdraws_the_change() {
    let mut track = after_a_change(&[0.1, 0.1, 0.1, 0.17, 0.2, 0.23], 0.01);
    let withdrawn = Finding::Withdrawn { measure: RATE, changed: at(20), returned: at(23) };
    assert_eq!(track.look(&registry(), THRESHOLDS, &[]), Some(withdrawn));
    let cycles: Vec<u64> = track.rows.iter().map(|row| row.at.cycle).collect();
    assert_eq!(cycles, (0..20).chain(23..26).collect::<Vec<_>>());
    assert!(track.recent.is_none() && track.settling.is_none());
    assert!(track.rows.iter().all(|row| row.pooled.len() == 3), "pooled anew");
}

#[test]
fn a_level_is_back_when_three_rows_are_near_the_old_one_and_far_from_the_new_one() {
    let check = |levels: &[f64], deviation: f64, expected: bool| {
        let mut track = after_a_change(levels, deviation);
        assert_eq!(track.withdrawn(&registry()).is_some(), expected, "{levels:?} {deviation}");
        let is_over = expected || levels.len() > 10;
        assert_eq!(track.recent.is_none(), is_over, "{levels:?} {deviation}");
    };
    let (near, far) = ([0.161, 0.2, 0.239], [0.159, 0.2, 0.241]);
    check(&near, 0.01, true);
    for place in 0..3 {
        let mut levels = near;
        levels[place] = far[place];
        check(&[&[0.1][..], &levels].concat(), 0.01, place == 1);
    }
    check(&[0.2, 0.2], 0.01, false);
    // A tenth is 3.5 deviations of 0.02857.
    check(&[0.1, 0.2, 0.2, 0.2], 0.028, true);
    check(&[0.1, 0.2, 0.2, 0.2], 0.029, false);
    check(&[0.1, 0.23, 0.23, 0.23], 0.037, true);
    check(&[0.1, 0.23, 0.23, 0.23], 0.0375, false);
    // After ten rows it is a change of its own.
    check(&[[0.1; 7].as_slice(), &near].concat(), 0.01, true);
    check(&[[0.1; 8].as_slice(), &near].concat(), 0.01, false);
}

#[test]
fn a_change_of_identity_since_makes_a_return_no_end_of_a_dip() {
    for (place, expected) in [(0, true), (1, false), (3, false)] {
        let mut track = after_a_change(&[0.1, 0.2, 0.2, 0.2], 0.01);
        track.rows[place].change = Some((at(20), vec![Component::Driver]));
        assert_eq!(track.withdrawn(&registry()).is_some(), expected, "{place}");
        assert!(track.recent.is_none());
    }
}
