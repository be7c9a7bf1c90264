//! Each rule of the search on series whose effects are differences of means.

use super::super::line::Prior;
use super::super::shapes::Surroundings;
use super::*;

const EITHER: [Clue; 2] = [Clue::Identity, Clue::Elsewhere { direction: 1.0 }];

/// Rows without memory and with hardly any drift.
fn line(y: &[f64], sigma: f64) -> Line {
    let variance = sigma * sigma;
    Line {
        rows: (0..y.len()).collect(),
        y: y.to_vec(),
        surroundings: Surroundings {
            positions: (0..y.len()).map(|row| row as f64).collect(),
            seconds: vec![0.0; y.len()],
            factor: 1e-9,
            ..Surroundings::default()
        },
        phi: 0.0,
        variance,
        noise_rows: 100.0,
        prior: Prior { variance, rows: 100.0 },
    }
}

/// So many rows of each value.
fn rows(pieces: &[(usize, f64)]) -> Vec<f64> {
    pieces.iter().flat_map(|&(count, value)| std::iter::repeat_n(value, count)).collect()
}

/// A change of all of `size`.
fn change(line: &Line, shape: Shape, first: usize, clue: Clue, size: f64) -> Candidate {
    let (before, after) = (first, line.y.len() - first);
    Candidate { shape, first, clue, effect: Effect { size, standard_error: 0.1 }, excess: 1.0, before, after }
}

/// The deviations of a difference of means.
fn z(size: f64, sigma: f64, before: usize, after: usize) -> f64 {
    size / sigma / (1.0 / before as f64 + 1.0 / after as f64).sqrt()
}

fn close(a: f64, b: f64) {
    assert!((a - b).abs() < 1e-3 * b.abs().max(0.01), "{a} is not {b}");
}

const THRESHOLDS: Thresholds = Thresholds { known: 3.0, unknown: 4.0, elsewhere: 2.0, minimum_effect: 0.01 };

#[test]
fn a_threshold_is_higher_with_few_rows_for_a_young_known_change_and_for_an_old_unknown_one() {
    let check = |clue: Clue, after: usize, expected: f64| close(THRESHOLDS.of(clue, 10, after, 20.0), expected);
    // What few rows before add, and few rows of noise.
    let few = 3.0 / 10.0 + 8.0 / 20.0;
    check(Clue::Identity, 2, 3.5 + few);
    check(Clue::Identity, 4, 3.0 + few);
    check(Clue::Identity, 9, 3.0 + few);
    check(EITHER[1], 3, 2.25 + few);
    check(EITHER[1], 14, 2.0 + few);
    check(Clue::None, 4, 4.0 + few);
    check(Clue::None, 6, 4.0 + few);
    check(Clue::None, 14, 4.24 + few);
}

#[test]
fn a_threshold_that_is_shared_is_the_normal_tail_of_the_share() {
    let shared = THRESHOLDS.shared(8.0_f64.exp());
    assert_eq!(shared, Thresholds { known: 5.0, ..THRESHOLDS });
}

#[test]
fn thresholds_are_raised_together_and_the_least_effect_is_not() {
    let raised = THRESHOLDS.raised(0.5);
    assert_eq!(raised, Thresholds { known: 3.5, unknown: 4.5, elsewhere: 2.5, minimum_effect: 0.01 });
}

#[test]
fn identity_is_looked_at_before_other_measures_and_all_else() {
    assert!(Clue::Identity.rank() < EITHER[1].rank() && EITHER[1].rank() < Clue::None.rank());
}

#[test]
fn a_ramp_has_to_explain_more_than_a_step() {
    let line = line(&[0.0; 20], 1.0);
    let likelihood = |shape: Shape| change(&line, shape, 14, Clue::None, -0.5).likelihood();
    close(likelihood(Shape::Step), 25.0);
    close(likelihood(Shape::Ramp(10.0)), 23.0);
}

/// Whether a change of size 1, or of size −1 in the mirrored series, shows at its ends.
fn at_its_ends(pieces: &[(usize, f64)], sigma: f64, shape: Shape, first: usize, clue: Clue) -> bool {
    let [up, down] = [1.0, -1.0].map(|size| {
        let y: Vec<f64> = rows(pieces).iter().map(|value| 5.0 + size * value).collect();
        let line = line(&y, sigma);
        let size = size * line.part_by_now(shape, first);
        line.shows_at_its_ends(&change(&line, shape, first, clue, size))
    });
    assert_eq!(up, down);
    up
}

#[test]
fn the_last_three_rows_each_show_a_third_of_a_change() {
    let check = |pieces: &[(usize, f64)], expected: bool| {
        assert_eq!(at_its_ends(pieces, 1e-3, Shape::Step, 25, Clue::None), expected, "{pieces:?}");
    };
    // Only the twelve rows before say what the level was.
    for before in [(13, 9.0), (13, -9.0)] {
        check(&[before, (12, 0.0), (3, 1.0), (3, 0.36)], true);
        check(&[before, (12, 0.0), (3, 1.0), (1, 0.34), (2, 1.0)], false);
        check(&[before, (12, 0.0), (3, 1.0), (2, 1.0), (1, 0.34)], false);
        check(&[before, (12, 0.0), (2, 1.0), (1, 0.34), (3, 1.0)], true);
        check(&[before, (12, 0.0), (1, 1.0)], true);
        check(&[before, (12, 0.0), (1, 0.34)], false);
    }
}

#[test]
fn a_row_of_a_ramp_shows_a_third_of_what_is_there_of_it_by_then() {
    let check = |third_last: f64, expected: bool| {
        let pieces = [(12, 0.0), (3, 0.0), (1, third_last), (1, 0.5), (1, 0.6)];
        assert_eq!(at_its_ends(&pieces, 1e-3, Shape::Ramp(10.0), 12, Clue::None), expected, "{third_last}");
        assert_eq!(at_its_ends(&pieces, 1e-3, Shape::Ramp(10.0), 12, Clue::Identity), expected, "{third_last}");
    };
    // Four tenths are there.
    check(0.15, true);
    check(0.13, false);
}

#[test]
fn a_row_may_lack_what_the_noise_could_take_but_not_in_an_early_verdict() {
    let check = |last: f64, after: usize, clue: Clue, expected: bool| {
        let pieces = [(12, 0.0), (after - 1, 1.0), (1, last)];
        assert_eq!(at_its_ends(&pieces, 0.375, Shape::Step, 12, clue), expected, "{last} {after} {clue:?}");
    };
    check(0.25, 3, Clue::None, true);
    check(0.24, 3, Clue::None, false);
    for clue in EITHER {
        check(0.25, 3, clue, false);
        check(0.25, 4, clue, true);
        check(0.24, 4, clue, false);
    }
}

#[test]
fn of_a_young_known_step_the_first_three_rows_show_it_too() {
    let check = |gap: usize, after: usize, clue: Clue, expected: bool| {
        let pieces = [(12, 0.0), (gap, 1.0), (1, 0.1), (after - 1 - gap, 1.0)];
        assert_eq!(at_its_ends(&pieces, 1e-3, Shape::Step, 12, clue), expected, "{gap} {after} {clue:?}");
    };
    for clue in EITHER {
        check(0, 8, clue, false);
        check(2, 8, clue, false);
        check(3, 8, clue, true);
        check(0, 9, clue, true);
    }
    check(0, 8, Clue::None, true);
}

#[test]
fn without_three_rows_a_change_shows_by_the_others() {
    let line = line(&rows(&[(12, 0.0), (6, -0.02)]), 0.01);
    let down = change(&line, Shape::Step, 12, Clue::None, -0.02);
    close(line.z_without(&down, 9), z(0.02, 0.01, 9, 6));
    close(line.z_without(&down, 10), z(0.02, 0.01, 10, 5));
    close(line.z_without(&down, 15), z(0.02, 0.01, 12, 3));
    close(line.z_without(&down, 17), z(0.02, 0.01, 12, 5));
    let up = change(&line, Shape::Step, 12, Clue::None, 0.02);
    close(line.z_without(&up, 15), -z(0.02, 0.01, 12, 3));
}

#[test]
fn what_a_dip_could_have_made_is_no_change() {
    let check = |before: usize, after: usize, least: f64| {
        let line = line(&rows(&[(before, 0.0), (after, 0.02)]), 0.01);
        let step = change(&line, Shape::Step, before, Clue::None, 0.02);
        assert!(line.shows_without_a_dip(&step, 0.999 * least), "{before} {after}");
        assert!(!line.shows_without_a_dip(&step, 1.001 * least), "{before} {after}");
    };
    // Without three of few rows before, by half a deviation more; or of few rows since.
    check(7, 40, z(0.02, 0.01, 4, 40) - 0.5);
    check(20, 9, z(0.02, 0.01, 20, 6));
    // A dip anywhere since: what is left without it is nothing.
    for start in [0, 3, 6] {
        let line = line(&rows(&[(20, 0.0), (start, 0.0), (3, 0.2), (6 - start, 0.0)]), 0.01);
        let step = change(&line, Shape::Step, 20, Clue::None, 0.06);
        assert!(!line.shows_without_a_dip(&step, 0.5), "{start}");
    }
}

#[test]
fn beside_any_dip_a_little_of_a_change_is_left() {
    let check = |pieces: &[(usize, f64)], sigma: f64, expected: bool| {
        let line = line(&rows(pieces), sigma);
        let step = change(&line, Shape::Step, 12, Clue::Identity, 0.01);
        assert_eq!(line.shows_beside_a_dip(&step), expected, "{pieces:?}");
    };
    let least_z = 1.2;
    for (before, left, after) in [(10, 1, 2), (12, 3, 6)] {
        let sigma = z(0.01, 1.0, before, left) / least_z;
        check(&[(12, 0.0), (after, 0.01)], 0.999 * sigma, true);
        check(&[(12, 0.0), (after, 0.01)], 1.001 * sigma, false);
    }
    // The dip comes right before, begins with the change, or ends with the series.
    check(&[(9, 0.0), (3, -0.01), (2, 0.0)], 1e-3, false);
    check(&[(12, 0.0), (3, 0.01), (2, 0.0)], 1e-3, false);
    check(&[(12, 0.0), (3, 0.0), (3, 0.01)], 1e-3, false);
    check(&[(12, 0.0), (1, 0.01)], 1e-3, true);
}

/// Whether a candidate holds that shows by so many deviations whichever three rows are left out.
fn holds(least_z: f64, shape: Shape, clue: Clue, after: usize, size: f64) -> bool {
    let part = |row: usize| size * shape.part((row + 1) as f64);
    let y: Vec<f64> = std::iter::repeat_n(0.0, 40).chain((0..after).map(part)).collect();
    let of = |line: &Line| {
        let candidate = change(line, shape, 40, clue, size * line.part_by_now(shape, 40));
        let without = |dip: usize| line.z_without(&candidate, dip);
        ((40..=40 + after - DIP).map(without).fold(f64::INFINITY, f64::min), without(37), line.holds(&candidate))
    };
    // All deviations go with one over that of the rows.
    let (since, before, _) = of(&line(&y, 1e-3));
    let (since, before, holds) = of(&line(&y, 1e-3 / (least_z / since).max((least_z + 0.5) / before)));
    close(since.min(before - 0.5), least_z);
    holds
}

#[test]
fn how_clear_a_change_has_to_be_without_a_dip_depends_on_what_speaks_for_it() {
    let check = |least_z: f64, shape: Shape, clue: Clue| {
        assert!(holds(1.02 * least_z, shape, clue, 9, 0.02), "{shape:?} {clue:?}");
        assert!(!holds(0.98 * least_z, shape, clue, 9, 0.02), "{shape:?} {clue:?}");
        assert!(holds(1.02 * least_z, shape, clue, 6, 0.02), "{shape:?} {clue:?}");
    };
    check(3.0, Shape::Step, Clue::None);
    check(3.5, Shape::Ramp(10.0), Clue::None);
    check(1.5, Shape::Step, EITHER[1]);
    assert!(holds(3.05, Shape::Ramp(10.0), Clue::Identity, 9, 0.02));
    assert!(!holds(2.95, Shape::Ramp(10.0), Clue::Identity, 9, 0.02));
    // An old change of identity is told from a dip like any other change.
    assert!(holds(3.05, Shape::Step, Clue::Identity, 9, 0.02));
    assert!(!holds(2.95, Shape::Step, Clue::Identity, 9, 0.02));
    assert!(holds(2.0, Shape::Step, Clue::Identity, 8, 0.02));
}

#[test]
fn a_young_ramp_does_not_hold() {
    for clue in [Clue::None, Clue::Identity] {
        assert!(holds(9.0, Shape::Ramp(10.0), clue, 6, 0.02));
        assert!(!holds(9.0, Shape::Ramp(10.0), clue, 5, 0.02));
    }
}

#[test]
fn what_another_measure_speaks_for_goes_the_way_it_says() {
    let elsewhere = |direction: f64, size: f64| holds(9.0, Shape::Step, Clue::Elsewhere { direction }, 8, size);
    assert!(elsewhere(1.0, 0.02) && elsewhere(-1.0, -0.02));
    assert!(!elsewhere(1.0, -0.02) && !elsewhere(-1.0, 0.02));
    let line = line(&rows(&[(20, 0.0), (9, 1.0)]), 0.01);
    assert!(!line.holds(&change(&line, Shape::Step, 20, EITHER[1], 0.0)));
}

#[test]
fn a_known_young_step_shows_at_its_ends_and_beside_a_dip() {
    // One of its first rows does not show it; or all of it may be a dip.
    for pieces in [[(12, 0.0), (1, 0.1), (7, 1.0)], [(12, 0.0), (3, 1.0), (3, 0.0)]] {
        let line = line(&rows(&pieces), 0.01);
        assert!(!line.holds(&change(&line, Shape::Step, 12, Clue::Identity, 1.0)), "{pieces:?}");
    }
}

#[test]
fn a_change_survives_doubt_that_leaves_it_beyond_its_threshold_or_nearly() {
    let y: Vec<f64> =
        (0..30).map(|row| 0.01 * (2.4 * row as f64).sin() + f64::from(u8::from(row >= 20)) * 0.04).collect();
    let line = Line { phi: 0.4, ..line(&y, 0.01) };
    let doubted = line.doubted_z(Shape::Step, 20.0);
    assert!(doubted > 2.0, "{doubted}");
    for (effect, beyond, expected) in [(0.6, 1e-6, true), (0.6, -1e-6, false), (-0.6, 1e-6, true), (-0.6, -1e-6, false)]
    {
        let mut candidate = change(&line, Shape::Step, 20, Clue::None, effect);
        candidate.excess = 6.0 - (doubted + DOUBT) + beyond;
        assert_eq!(line.survives_doubt(&candidate), expected, "{effect} {beyond}");
    }
}

/// What is settled on when a step at row 14 of twenty or so is believed, with 10 deviations, and
/// there is another candidate too.
fn settled(after: usize, other: impl Fn(Candidate) -> Candidate) -> Option<Candidate> {
    // So much noise that any change shows.
    let line = line(&vec![0.0; 14 + after], 10.0);
    let believed = change(&line, Shape::Step, 14, Clue::None, 1.0);
    let other = other(believed);
    let found = line.settle(&[other, believed], believed, 100.0)?;
    assert!(found == believed || found == other);
    (found == other).then_some(found).or(Some(believed))
}

/// That of a size, with z² as given.
fn with_square(candidate: Candidate, size: f64, square: f64) -> Candidate {
    Candidate { effect: Effect { size, standard_error: size.abs() / square.sqrt() }, ..candidate }
}

#[test]
fn a_change_of_identity_that_explains_nearly_as_much_is_the_cause() {
    let check = |size: f64, square: f64, excess: f64, clue: Clue, expected: bool| {
        let found = settled(6, |believed| Candidate { first: 12, clue, excess, ..with_square(believed, size, square) });
        assert_eq!(found.expect("is settled").first == 12, expected, "{size} {square} {excess} {clue:?}");
    };
    check(0.5, 93.0, 1.0, Clue::Identity, true);
    check(0.5, 91.0, 1.0, Clue::Identity, false);
    check(0.5, 93.0, -0.5, Clue::Identity, false);
    check(0.5, 93.0, 0.0, Clue::Identity, false);
    check(-0.5, 93.0, 1.0, Clue::Identity, false);
    check(0.5, 93.0, 1.0, EITHER[1], false);
    check(0.5, 93.0, 1.0, Clue::None, false);
}

#[test]
fn a_change_of_no_size_is_not_the_cause() {
    let line = line(&[0.0; 20], 10.0);
    let believed = with_square(change(&line, Shape::Step, 14, Clue::None, 1.0), 1.0, 5.0);
    let none =
        Candidate { first: 12, clue: Clue::Identity, effect: Effect { size: 0.0, standard_error: 0.1 }, ..believed };
    assert_eq!(line.settle(&[none, believed], believed, 5.0), Some(believed));
}

#[test]
fn the_likeliest_time_and_shape_is_settled_on() {
    let step = |square: f64, clue: Clue| {
        settled(6, |believed| Candidate { first: 15, clue, ..with_square(believed, 2.0, square) })
            .map(|found| found.first)
    };
    assert_eq!(step(101.0, Clue::None), Some(15));
    assert_eq!(step(99.0, Clue::None), Some(14));
    assert_eq!(step(101.0, EITHER[1]), Some(14));
    let ramp = |square: f64, after: usize| {
        let found =
            settled(after, |believed| Candidate { shape: Shape::Ramp(10.0), ..with_square(believed, 2.0, square) });
        found.map(|found| found.shape)
    };
    assert_eq!(ramp(102.1, 6), Some(Shape::Ramp(10.0)));
    // Too much alike while the step is young.
    assert_eq!(ramp(101.9, 6), None);
    assert_eq!(ramp(99.1, 6), None);
    assert_eq!(ramp(98.9, 6), Some(Shape::Step));
    assert_eq!(ramp(101.9, 7), Some(Shape::Step));
}

#[test]
fn a_likelier_change_that_does_not_show_at_its_ends_is_not_settled_on() {
    let line = line(&rows(&[(14, 0.0), (3, 1.0), (3, 0.1)]), 1e-3);
    let believed = change(&line, Shape::Step, 14, Clue::None, 0.2);
    let larger = Candidate { effect: Effect { size: 1.0, standard_error: 0.01 }, ..believed };
    assert_eq!(line.settle(&[larger, believed], believed, 4.0), Some(believed));
}

#[test]
fn that_a_ramp_is_believed_leaves_nothing_open() {
    let line = line(&[0.0; 20], 10.0);
    let believed = Candidate { shape: Shape::Ramp(30.0), ..change(&line, Shape::Step, 14, Clue::None, 1.0) };
    let other = Candidate { shape: Shape::Ramp(10.0), ..with_square(believed, 2.0, 99.0) };
    assert_eq!(line.settle(&[other, believed], believed, 100.0), Some(believed));
}

/// The candidates of a line, with their first rows.
fn candidates(line: &Line, known: &[(usize, Clue)], thresholds: Thresholds) -> Vec<Candidate> {
    let design = line.design();
    line.candidates(&Fit::new(&line.y, &design, line.variance.sqrt()), known, thresholds)
}

fn firsts(candidates: &[Candidate], shape: Shape, clue: Clue) -> Vec<usize> {
    let of = candidates.iter().filter(|candidate| candidate.shape == shape && candidate.clue == clue);
    of.map(|candidate| candidate.first).collect()
}

#[test]
fn candidates_are_young_and_have_rows_on_either_side() {
    let check = |count: usize, unknown: std::ops::Range<usize>, known: std::ops::Range<usize>| {
        let line = line(&rows(&[(4, 0.0), (count - 4, 0.1)]), 0.01);
        let everywhere: Vec<(usize, Clue)> = (0..count).map(|row| (row, Clue::Identity)).collect();
        // Those of identity depend on what is near them.
        let all = Thresholds { known: -99.0, unknown: -99.0, ..THRESHOLDS };
        let found = candidates(&line, &everywhere, all);
        let unknown: Vec<usize> = unknown.collect();
        assert_eq!(firsts(&found, Shape::Step, Clue::None), unknown, "{count}");
        for length in RAMPS {
            assert_eq!(firsts(&found, Shape::Ramp(length), Clue::None), unknown, "{count}");
            let of_identity = firsts(&found, Shape::Ramp(length), Clue::Identity);
            assert_eq!(of_identity, known.clone().collect::<Vec<_>>(), "{count}");
        }
    };
    check(30, 16..27, 10..29);
    check(22, 8..19, 3..21);
    check(10, 6..7, 3..9);
    check(9, 0..0, 3..8);
}

#[test]
fn a_candidate_is_what_is_there_of_it_by_now_with_its_excess() {
    let ramp: Vec<f64> = (0..30).map(|row| Shape::Ramp(30.0).part(row as f64 - 19.0)).collect();
    let line = line(&ramp, 0.01);
    let found = candidates(&line, &[(25, Clue::Identity)], THRESHOLDS);
    let of = |shape: Shape, first: usize| {
        let is_it = |candidate: &&Candidate| candidate.shape == shape && candidate.first == first;
        *found.iter().find(is_it).expect("a candidate")
    };
    let candidate = of(Shape::Ramp(30.0), 20);
    assert_eq!((candidate.before, candidate.after), (20, 10));
    close(candidate.effect.size, 1.0 / 3.0);
    let whole = line.effect(Shape::Ramp(30.0), 20.0).expect("can be told");
    close(candidate.effect.standard_error, whole.standard_error / 3.0);
    close(candidate.excess, whole.z() - THRESHOLDS.of(Clue::None, 20, 10, 100.0));
    let step = of(Shape::Step, 20);
    close(step.effect.size, ramp[20..].iter().sum::<f64>() / 10.0);
    close(step.excess, step.effect.z() - THRESHOLDS.of(Clue::None, 20, 10, 100.0));
}

#[test]
fn steps_that_are_far_from_their_thresholds_make_no_ramp_worth_a_look() {
    let line = line(&rows(&[(20, 0.0), (10, -0.02)]), 0.01);
    let at = |unknown: f64| candidates(&line, &[], Thresholds { unknown, ..THRESHOLDS });
    let most = at(4.0).iter().map(|candidate| candidate.excess).fold(f64::NEG_INFINITY, f64::max);
    assert!(most > 0.0);
    assert_eq!(at(4.0 + most + 1.501), []);
    assert!(!firsts(&at(4.0 + most + 1.499), Shape::Ramp(10.0), Clue::None).is_empty());
}

/// Which of the rows of thirty are looked at where the identity changed, or another measure did,
/// and the series has a step at a row, of a size in deviations.
fn known_steps(step: usize, size: f64, clue: Clue) -> Vec<usize> {
    let line = line(&rows(&[(step, 0.0), (30 - step, 0.001 * size)]), 0.001);
    let everywhere: Vec<(usize, Clue)> = (0..30).map(|row| (row, clue)).collect();
    firsts(&candidates(&line, &everywhere, THRESHOLDS), Shape::Step, clue)
}

#[test]
fn a_clearer_step_right_before_or_after_the_identity_changed_is_the_change() {
    // From 22 on, a step is at most eight rows old: a clearer one speaks against it in the three rows
    // after that one, and where the identity changed also in the two rows before it.
    let until = |last: usize, rest: &[usize]| (10..=last).chain(rest.iter().copied()).collect::<Vec<_>>();
    assert_eq!(known_steps(24, 50.0, EITHER[1]), until(24, &[]));
    assert_eq!(known_steps(24, 50.0, Clue::Identity), until(21, &[24]));
    // One at 26 that is small is clearer than one at 24 by more than a margin, and than no other.
    assert_eq!(known_steps(26, 2.5, Clue::Identity), until(23, &[25, 26]));
    for clue in EITHER {
        assert_eq!(known_steps(19, 50.0, clue), until(21, &[]));
    }
}

#[test]
fn how_much_clearer_it_has_to_be_is_a_margin() {
    // How much clearer the step at 24 is than one at another row, as a square, for steps of size 1.
    let own = z(1.0, 1.0, 24, 6).powi(2);
    let at = |row: usize| {
        // The difference of the means on both sides of a row.
        let (before, after) = (row as f64, 30.0 - row as f64);
        let size = if row <= 24 { 6.0 / after } else { 24.0 / before };
        z(size, 1.0, row, 30 - row).powi(2)
    };
    let size = |margin: f64, row: usize| (margin / (own - at(row))).sqrt();
    for (row, clue, margin) in [(25, Clue::Identity, 1.0), (25, EITHER[1], 1.0), (23, Clue::Identity, 8.0)] {
        assert!(known_steps(24, 0.99 * size(margin, row), clue).contains(&row), "{row} {clue:?}");
        assert!(!known_steps(24, 1.01 * size(margin, row), clue).contains(&row), "{row} {clue:?}");
    }
}

/// What is found in rows with little noise, which is estimated as a hundredth.
fn best(pieces: &[(usize, f64)], known: &[(usize, Clue)]) -> Option<Candidate> {
    let noise = |row: usize| 0.01 * [0.3, -1.1, 0.9, -0.2, 1.2, -0.8, 0.1, -0.4][row % 8];
    let y: Vec<f64> = rows(pieces).iter().enumerate().map(|(row, value)| value + noise(row)).collect();
    line(&y, 0.01).best(&mut Designs::default(), known, THRESHOLDS)
}

#[test]
fn a_step_is_laid_to_the_identity_that_changed_near_it_unless_that_explains_much_less() {
    let known = [(19, Clue::Identity)];
    let small = best(&[(20, 0.0), (10, 0.025)], &known).expect("a change");
    assert_eq!((small.first, small.clue), (19, Clue::Identity));
    let large = best(&[(20, 0.0), (10, 0.5)], &known).expect("a change");
    assert_eq!((large.first, large.clue), (20, Clue::None));
}

#[test]
fn a_change_of_identity_is_told_while_a_step_elsewhere_is_open() {
    let pieces = [(20, 0.0), (1, 0.01), (1, 0.03), (4, 0.05)];
    assert_eq!(best(&pieces, &[]), None);
    let told = best(&pieces, &[(20, Clue::Identity)]).expect("a change");
    assert_eq!((told.first, told.clue, told.shape), (20, Clue::Identity, Shape::Step));
}
