//! Targets that share hardware take turns; others do not wait for them.

use crate::support::{Span, Stage, Target, simulator};

/// Soaks two targets in those lanes for two cycles each and returns what spans the cycles
/// of each of them took, and the samples.
fn spans(lanes: [&str; 2]) -> (Vec<Span>, Vec<Span>) {
    // Samples of some hundred milliseconds: long beside the scheduler's own work.
    let (_first, first) = simulator(&["--speed", "0.2"]);
    let (_second, second) = simulator(&["--speed", "0.2"]);
    let stage = Stage::new();
    let targets = [("first", first, lanes[0]), ("second", second, lanes[1])].map(|(name, address, lane)| Target {
        name,
        lane,
        ..Target::at(address)
    });
    let mut once = stage.once(&targets, 2);
    assert_eq!(once.code(), Some(0), "{}", once.stderr());
    let history = stage.history();
    (history.spans("cycle"), history.spans("sample"))
}

/// The pairs of spans of two targets that were at the same time.
fn overlaps(spans: &[Span]) -> Vec<(&Span, &Span)> {
    let of = |name: &'static str| spans.iter().filter(move |span| span.target == name);
    assert!(of("first").count() >= 2 && of("second").count() >= 2, "{spans:?}");
    of("first").flat_map(|one| of("second").map(move |other| (one, other))).filter(|(a, b)| a.overlaps(b)).collect()
}

#[test]
fn targets_of_one_lane_take_turns() {
    // A cycle spans its warm-ups too.
    let (cycles, samples) = spans(["gpu", "gpu"]);
    assert!(overlaps(&cycles).is_empty(), "{:?}", overlaps(&cycles));
    assert!(overlaps(&samples).is_empty(), "{:?}", overlaps(&samples));
}

#[test]
fn two_lanes_run_side_by_side() {
    let (_, samples) = spans(["gpu0", "gpu1"]);
    assert!(!overlaps(&samples).is_empty(), "{samples:?}");
}
