//! The cold path, apart from the grid.

use std::time::Duration;

use jiff::Timestamp;

use super::stage::{MINUTE, Stage};
use crate::domain::plan::TargetPlan;
use crate::domain::slots::{CommandPlan, SlotSwitch, SlotsPlan};
use crate::domain::{Canary, Grid, Happening, SchedulerState};
use crate::soak::SoakTarget;
use crate::store::Reader;

const HOUR: Duration = Duration::from_secs(3600);

fn grid() -> Grid {
    Grid::new(&[1], &[1, 2], true).expect("sound")
}

#[tokio::test(start_paused = true)]
async fn a_canary_is_sent_now_and_then_and_no_sample_meets_an_unloaded_model() {
    let mut stage = Stage::new(1);
    stage.schedule.canary_every = Some(HOUR);
    stage.schedule.cycle_interval = 10 * MINUTE;
    stage.cycles = Some(13);
    let (mut canaries, mut samples, mut states) = (Vec::new(), 0, Vec::new());
    for event in stage.run(vec![stage.target("t", "a", grid())]).await {
        match &event.happening {
            Happening::CanaryEnded(canary) => canaries.push((event.at.as_second() / 60, *canary)),
            Happening::SampleEnded { sample, .. } => {
                samples += 1;
                assert!(sample.is_valid(), "{:?}", sample.invalid);
            }
            Happening::StateChanged { state, .. } => states.push(*state),
            _ => {}
        }
    }
    // A prompt and a step of its own come after the load of 2.5 s.
    let is_cold =
        |canary: &Canary| canary.load_seconds == Some(2.5) && (2.5..3.0).contains(&canary.time_to_first_token_seconds);
    assert!(canaries.iter().all(|(_, canary)| is_cold(canary)), "{canaries:?}");
    // At once, and with the first cycle that begins an hour after the last.
    assert_eq!(canaries.iter().map(|(minute, _)| *minute).collect::<Vec<_>>(), [0, 60, 120]);
    assert_eq!(samples, 13 * 2);
    assert!(states.contains(&SchedulerState::Canary));
    let history = Reader::open(stage.folder.path()).expect("a history");
    let epoch = history.newest_epoch("t", None).expect("readable").expect("measured");
    let (at, newest) = history.newest_canary(&epoch.target).expect("readable").expect("one was sent");
    assert_eq!((at.as_second() / 60, Some(newest)), (120, canaries.last().map(|(_, canary)| *canary)));
}

#[tokio::test(start_paused = true)]
async fn a_canary_of_a_time_to_come_holds_none_back() {
    let mut stage = Stage::new(1);
    stage.schedule.canary_every = Some(HOUR);
    let ahead = Timestamp::UNIX_EPOCH + 1000 * HOUR;
    let target = SoakTarget { canary_at: Some(ahead), ..stage.target("t", "a", grid()) };
    let events = stage.run(vec![target]).await;
    assert!(events.iter().any(|event| matches!(event.happening, Happening::CanaryEnded(_))));
}

#[tokio::test(start_paused = true)]
async fn a_server_of_our_own_is_started_anew_for_it() {
    let mut stage = Stage::new(1);
    stage.schedule.canary_every = Some(HOUR);
    let slots = SlotsPlan::Server { by: SlotSwitch::Process(CommandPlan::default()), ready_timeout: MINUTE };
    let plan = TargetPlan { slots, ..(*stage.target("t", "a", grid()).plan).clone() };
    let events = stage.run(vec![stage.target_of(plan)]).await;
    let canaries: Vec<_> = events.iter().filter(|event| matches!(event.happening, Happening::CanaryEnded(_))).collect();
    assert_eq!(canaries.len(), 1);
    let switches = events.iter().filter(|event| matches!(event.happening, Happening::SlotsSwitched { .. }));
    assert_eq!(switches.count(), 1, "its row stays open");
}
