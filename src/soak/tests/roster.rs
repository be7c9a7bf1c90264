//! Targets that come, change and go.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::stage::{Stage, measured_cells};
use crate::domain::plan::{CellOrder, TargetPlan};
use crate::domain::{Cell, Event, Grid, Happening};
use crate::soak::order::arranged;

fn grid() -> Grid {
    Grid::new(&[1, 2], &[1, 2, 4], true).expect("sound")
}

fn of<'a>(events: &'a [Arc<Event>], name: &'a str) -> impl Iterator<Item = &'a Arc<Event>> {
    events.iter().filter(move |event| &*event.target.name == name)
}

#[tokio::test(start_paused = true)]
async fn a_target_that_stays_does_not_notice_those_that_come_change_and_go() {
    let mut stage = Stage::new(8);
    stage.cycles = None;
    // They share the server, each in a lane of its own: others to each other.
    stage.schedule.yield_to_foreign_load = false;
    let changed = |stage: &Stage, tokens| {
        let mut plan = TargetPlan::clone(&stage.target("changes", "b", grid()).plan);
        plan.request.output_tokens = tokens;
        stage.target_of(plan)
    };
    let (rosters, roster) = mpsc::channel(1);
    let soak = stage.start_with(roster);
    let mut events = Vec::new();
    for round in 0..20 {
        let mut targets = vec![stage.target("stays", "a", grid()), changed(&stage, 4 + round)];
        if round % 2 == 0 {
            targets.push(stage.target("goes", "c", grid()));
        }
        let (done, seated) = oneshot::channel();
        let mut next = stage.roster(targets);
        next.done = Some(done);
        rosters.send(next).await.expect("the soak goes on");
        seated.await.expect("it is seated");
        let mut samples = 0;
        while samples < 7 {
            let event = stage.next().await.expect("the soak goes on");
            samples += i32::from(matches!(event.happening, Happening::SampleEnded { .. }));
            events.push(event);
        }
    }
    stage.stop.cancel();
    while let Some(event) = stage.next().await {
        events.push(event);
    }
    soak.await.expect("no panic");

    let measured: Vec<Cell> = measured_cells(&of(&events, "stays").cloned().collect::<Vec<_>>());
    let cycles = (1..).flat_map(|cycle| arranged(grid().measured(), CellOrder::Shuffled, 7, cycle));
    assert_eq!(measured, cycles.take(measured.len()).collect::<Vec<_>>(), "no cell is lost or measured twice");
    assert!(measured.len() > 4 * grid().measured().len(), "{}", measured.len());
    let drops =
        |name| of(&events, name).filter(|event| matches!(event.happening, Happening::SampleDropped { .. })).count();
    assert_eq!(drops("stays"), 1, "the stop drops its last sample, and nothing else does");
    let joins = |name| of(&events, name).filter(|event| matches!(event.happening, Happening::Joined { .. })).count();
    let leaves = |name| of(&events, name).filter(|event| matches!(event.happening, Happening::Left)).count();
    assert_eq!((joins("stays"), leaves("stays")), (1, 0));
    assert_eq!((joins("changes"), leaves("changes")), (20, 0));
    assert_eq!((joins("goes"), leaves("goes")), (10, 10));
    let last_of_a_stay = of(&events, "goes").position(|event| matches!(event.happening, Happening::Left));
    let next = of(&events, "goes").nth(last_of_a_stay.expect("it left") + 1);
    assert!(next.is_some_and(|event| matches!(event.happening, Happening::Joined { .. })), "{next:?}");
}

#[tokio::test(start_paused = true)]
async fn a_changed_schedule_is_obeyed_without_dropping_a_sample() {
    let mut stage = Stage::new(8);
    stage.cycles = None;
    stage.schedule.cycle_interval = Duration::from_secs(86_400);
    let (rosters, roster) = mpsc::channel(1);
    let soak = stage.start_with(roster);
    let mut cycles = 0;
    rosters.send(stage.roster(vec![stage.target("t", "a", grid())])).await.expect("the soak goes on");
    let began = tokio::time::Instant::now();
    while cycles < 3 {
        let event = stage.next().await.expect("the soak goes on");
        assert!(!matches!(event.happening, Happening::SampleDropped { .. }));
        if matches!(event.happening, Happening::CycleEnded { .. }) {
            cycles += 1;
            stage.schedule.cycle_interval = Duration::from_secs(60);
            rosters.send(stage.roster(vec![stage.target("t", "a", grid())])).await.expect("the soak goes on");
        }
    }
    assert_eq!(began.elapsed().as_secs() / 60, 2, "the day is not waited for");
    stage.stop.cancel();
    while stage.next().await.is_some() {}
    soak.await.expect("no panic");
}
