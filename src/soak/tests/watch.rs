//! A server that becomes slower while it is soaked and watched, from its requests to the alarm.

use std::sync::Arc;

use jiff::SignedDuration;

use super::stage::{MINUTE, Stage, exact};
use crate::domain::{
    BaselineOrder, ChangeEvent, Component, Event, Grid, Happening, Measure, OrderKind, TargetId, Turn,
};
use crate::sim::{SimOptions, SimServer};
use crate::soak::watch::recall;
use crate::store::{Reader, give_order};

/// A watched soak of a server with its usual noise, that goes on until it is stopped.
struct Watched {
    stage: Stage,
}

impl Watched {
    fn start() -> Self {
        let mut stage = Stage::new(4);
        stage.server = SimServer::start(SimOptions { noise: 0.01, ..exact(4) });
        // That noise has a memory of half a minute.
        stage.schedule.pause_between_samples = MINUTE / 2;
        stage.cycles = None;
        let mut watched = Self { stage };
        watched.live();
        watched
    }

    /// Begins to measure, in the first life or another.
    fn live(&mut self) {
        let grid = Grid::new(&[1, 2, 4], &[2, 4, 8], true).expect("sound");
        self.stage.watch();
        let target = self.stage.target("t", "a", grid);
        self.stage.start(vec![target]);
    }

    /// What is told until so many more cycles are complete.
    async fn cycles(&mut self, count: usize) -> Vec<Arc<Event>> {
        let (mut events, mut complete) = (Vec::new(), 0);
        while complete < count {
            let event = self.stage.next().await.expect("it goes on");
            complete += usize::from(matches!(event.happening, Happening::CycleEnded { .. }));
            events.push(event);
        }
        events
    }

    /// Another version, so many times as fast as the first.
    fn update(&self, version: &str, rate: f64) {
        self.stage.server.set_version(version);
        self.stage.server.set_slowdown(1.0 / rate);
    }

    fn target(&self) -> TargetId {
        self.history().newest_epoch("t", None).expect("readable").expect("measured").target
    }

    fn history(&self) -> Reader {
        Reader::open(self.stage.folder.path()).expect("a history")
    }
}

fn changes(events: &[Arc<Event>]) -> Vec<Arc<ChangeEvent>> {
    let change = |event: &Arc<Event>| match &event.happening {
        Happening::ChangeFound(change) => Some(change.clone()),
        _ => None,
    };
    events.iter().filter_map(change).collect()
}

/// The turns of the alarm of the token rate.
fn turns(events: &[Arc<Event>]) -> Vec<Turn> {
    let turn = |event: &Arc<Event>| match event.happening {
        Happening::AlarmTurned { measure: Measure::TokensPerSecond, turn, .. } => Some(turn),
        _ => None,
    };
    events.iter().filter_map(turn).collect()
}

#[tokio::test(start_paused = true)]
async fn an_update_that_slows_by_8_percent_is_told_within_two_cycles_until_it_is_accepted() {
    let mut watched = Watched::start();
    assert_eq!(changes(&watched.cycles(10).await), []);
    watched.update("2.0.0", 0.92);
    let events = watched.cycles(4).await;
    let found = changes(&events);
    let rate = found.iter().find(|change| change.measure == Measure::TokensPerSecond).expect("a change of the rate");
    assert_eq!(rate.detected.cycle, rate.changed.cycle + 1, "{rate:?}");
    assert!((rate.ratio.value - 0.92).abs() < 0.015, "{rate:?}");
    assert_eq!(rate.components, [Component::Server]);
    assert_eq!(turns(&events), [Turn::Raised]);
    let ratios: Vec<f64> = events
        .iter()
        .filter_map(|event| match &event.happening {
            Happening::Compared(compared) => compared.measures[0].ratio().map(|ratio| ratio.value),
            _ => None,
        })
        .collect();
    assert!(!ratios.is_empty() && ratios.iter().all(|ratio| (ratio - 0.92).abs() < 0.015), "{ratios:?}");

    watched.update("3.0.0", 0.92);
    assert_eq!(turns(&watched.cycles(6).await), [], "a harmless change changes nothing");
    let target = watched.target();
    let history = watched.history();
    let memory = recall::memory(&history, &target, &Default::default()).expect("readable").expect("measured");
    let held = memory.held.expect("a baseline").baseline;
    assert_eq!(held.epoch.identity["server_version"], "1.0.0", "the one between is inside a regression");

    let at = history.newest_epoch("t", None).expect("readable").expect("measured").epoch.last_seen;
    let order = BaselineOrder { kind: OrderKind::Accepted, at, epoch: Some(memory.epoch.id) };
    give_order(watched.stage.folder.path(), &target, &order).expect("taken");
    assert_eq!(turns(&watched.cycles(2).await), [Turn::Accepted]);
}

#[tokio::test(start_paused = true)]
async fn an_update_without_effect_is_not_told() {
    let mut watched = Watched::start();
    watched.cycles(8).await;
    watched.update("2.0.0", 1.0);
    assert_eq!(changes(&watched.cycles(12).await), []);
}

#[tokio::test(start_paused = true)]
async fn two_servers_behind_one_address_do_not_fill_the_history() {
    let mut stage = Stage::new(4);
    stage.cycles = None;
    let grid = Grid::new(&[1, 2, 4], &[1, 2, 4], true).expect("sound");
    let soak = stage.start(vec![stage.target("t", "a", grid)]);
    let (mut epochs, mut began) = (0, None);
    loop {
        let event = stage.next().await.expect("the soak goes on");
        let began = *began.get_or_insert(event.at);
        if event.at.duration_since(began) > SignedDuration::from_hours(1) {
            break;
        }
        match &event.happening {
            Happening::EpochEntered { .. } => epochs += 1,
            // The other one answers.
            Happening::SampleEnded { .. } => stage.server.set_version(["1.0.0", "2.0.0"][epochs % 2]),
            _ => {}
        }
    }
    stage.stop.cancel();
    while stage.next().await.is_some() {}
    soak.await.expect("no panic");
    assert!((60..=80).contains(&epochs), "{epochs} in an hour, where the pause is a minute at most");
}
