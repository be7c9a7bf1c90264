//! A wall clock that is set while a soak runs, and a machine that sleeps in between.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::stage::Stage;
use crate::domain::{Grid, Happening};
use crate::soak::WallClock;
use crate::store::Reader;

const CYCLES: u64 = 40;

/// Soaks for some cycles beside a clock that is set by so much, and back, every seven seconds.
async fn check(by: SignedDuration) {
    let at: Timestamp = "2026-11-24T17:00:00Z".parse().expect("a time");
    let clock = WallClock::Unsteady { at, since: Instant::now(), every: Duration::from_secs(7), by };
    let mut stage = Stage::with_clock(4, clock);
    stage.cycles = Some(CYCLES);
    stage.schedule.pause_between_samples = Duration::from_millis(700);
    stage.watch();
    let target = stage.target("t", "a", Grid::new(&[1, 2, 4], &[1, 2, 4], true).expect("sound"));
    let began = Instant::now();
    let events = stage.run(vec![target]).await;
    let took = began.elapsed();

    let mut cycles = Vec::new();
    for event in &events {
        match &event.happening {
            Happening::SampleEnded { sample, .. } => {
                let stamped = sample.completed_at.duration_since(sample.started_at).as_secs_f64();
                assert!(
                    sample.is_valid() && (stamped - sample.measurement.total_seconds).abs() < 0.01,
                    "{by:#}: {sample:?}"
                );
            }
            Happening::CycleEnded { cycle, seconds } => {
                assert!(*seconds > 0.0, "{by:#}: {event:?}");
                cycles.push(*cycle);
            }
            Happening::EpochEntered { before: Some(_), .. }
            | Happening::ChangeFound(_)
            | Happening::AlarmTurned { .. }
            | Happening::Away { .. }
            | Happening::SampleDropped { .. } => panic!("{by:#}: nothing happened but to the clock: {event:?}"),
            _ => {}
        }
    }
    assert_eq!(cycles, (1..=CYCLES).collect::<Vec<_>>(), "{by:#}");
    let set = took.as_secs() / 7;
    assert!(set > CYCLES / 2, "{by:#}: the clock was set {set} times");
    let history = Reader::open(stage.folder.path()).expect("a history");
    let epoch = history.newest_epoch("t", None).expect("readable").expect("measured");
    assert_eq!((epoch.epoch.id.0, epoch.last_cycle), (1, CYCLES), "{by:#}: one epoch");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_forward_and_back_changes_no_span_and_no_epoch() {
    for by in [SignedDuration::from_secs(-1), SignedDuration::from_hours(1), SignedDuration::from_hours(-24 * 400)] {
        check(by).await;
    }
}
