//! A month in under a minute: two hours a cycle on a paused clock, with all that happens in a month.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::stage::{Stage, exact};
use crate::domain::plan::{RequestPlan, TargetPlan};
use crate::domain::{ChangeEvent, Event, Grid, Happening, Measure, TargetId, Turn};
use crate::sim::{SimOptions, SimServer};
use crate::soak::{MemoryBackend, Roster, SoakTarget};
use crate::store::Reader;

const HOUR: Duration = Duration::from_secs(3600);
const CYCLE_HOURS: u32 = 2;
const CYCLES: u64 = 30 * 24 / CYCLE_HOURS as u64;
/// So many complete cycles before each of these happens.
const OUTAGES: [u64; 2] = [70, 250];
const OUTAGE_HOURS: u32 = 5;
const SLOWER: u64 = 120;
const FASTER_AGAIN: u64 = 180;
const HARMLESS: u64 = 220;
/// The ratio of requests that the server fails at.
const FAULTS: f64 = 0.002;
const RELOAD_EVERY: u64 = 50;

/// What happened in the month.
#[derive(Default)]
struct Seen {
    /// Numbers of the cycles that are complete.
    complete: Vec<u64>,
    samples: u64,
    rejected: u64,
    requests: u64,
    failures: u64,
    away: u64,
    reloads: u64,
    epochs: u64,
    /// With the cycles that were complete by then.
    turns: Vec<(u64, Turn)>,
    changes: Vec<(u64, Arc<ChangeEvent>)>,
}

/// A grid of three by three, eight tokens an answer.
fn target(stage: &Stage) -> SoakTarget<MemoryBackend> {
    let target = stage.target("t", "a", Grid::new(&[1, 2, 4], &[1, 2, 4], true).expect("sound"));
    let request = RequestPlan { output_tokens: 8, ..RequestPlan::default() };
    stage.target_of(TargetPlan { request, ..(*target.plan).clone() })
}

/// A soak whose configuration is read again now and then.
struct Month {
    stage: Stage,
    rosters: mpsc::Sender<Roster<MemoryBackend>>,
    soak: JoinHandle<Vec<TargetId>>,
    seen: Seen,
}

impl Month {
    fn start() -> Self {
        let mut stage = Stage::new(4);
        stage.server = SimServer::start(SimOptions { noise: 0.005, fault_http_500: FAULTS, ..exact(4) });
        stage.schedule.cycle_interval = CYCLE_HOURS * HOUR;
        stage.cycles = None;
        stage.watch();
        let (rosters, roster) = mpsc::channel(1);
        rosters.try_send(stage.roster(vec![target(&stage)])).expect("there is room");
        let soak = stage.start_with(roster);
        Self { stage, rosters, soak, seen: Seen::default() }
    }

    async fn next(&mut self) -> Arc<Event> {
        timeout(2 * CYCLE_HOURS * HOUR, self.stage.events.recv())
            .await
            .expect("the soak goes on")
            .expect("it does not end")
    }

    /// Lets the month pass.
    async fn pass(&mut self) {
        let mut now = None;
        while self.seen.complete.len() < usize::try_from(CYCLES).expect("few") {
            let event = self.next().await;
            assert!(now <= Some(event.at), "time goes on: {now:?}, then {event:?}");
            now = Some(event.at);
            if self.note(&event) {
                self.live_through(self.seen.complete.len() as u64).await;
            }
        }
    }

    /// Notes an event, and says whether a cycle is complete.
    fn note(&mut self, event: &Event) -> bool {
        let complete = self.seen.complete.len() as u64;
        let seen = &mut self.seen;
        match &event.happening {
            Happening::CycleEnded { cycle, seconds } => {
                assert!(*seconds >= 0.0, "{event:?}");
                seen.complete.push(*cycle);
                return true;
            }
            Happening::SampleEnded { sample, .. } => {
                assert!(sample.completed_at >= sample.started_at, "{sample:?}");
                seen.samples += 1;
                seen.rejected += u64::from(!sample.is_valid());
            }
            Happening::RequestEnded(end) => {
                seen.requests += 1;
                seen.failures += u64::from(end.failure.is_some());
            }
            Happening::Away { is_first: true, .. } => seen.away += 1,
            Happening::EpochEntered { before: Some(_), .. } => seen.epochs += 1,
            Happening::AlarmTurned { measure: Measure::TokensPerSecond, turn, .. } => {
                seen.turns.push((complete, *turn));
            }
            Happening::ChangeFound(change) => seen.changes.push((complete, change.clone())),
            _ => {}
        }
        false
    }

    /// What happens after so many cycles.
    async fn live_through(&mut self, complete: u64) {
        let server = &self.stage.server;
        match complete {
            SLOWER => {
                server.set_version("2.0.0");
                server.set_slowdown(1.0 / 0.9);
            }
            FASTER_AGAIN => {
                server.set_version("3.0.0");
                server.set_slowdown(1.0);
            }
            HARMLESS => server.set_version("4.0.0"),
            _ if OUTAGES.contains(&complete) => {
                server.set_away(true);
                let server = server.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(OUTAGE_HOURS * HOUR + HOUR / 3).await;
                    server.set_away(false);
                });
            }
            _ => {}
        }
        if complete.is_multiple_of(RELOAD_EVERY) {
            let (done, is_done) = oneshot::channel();
            let roster = Roster { done: Some(done), ..self.stage.roster(vec![target(&self.stage)]) };
            self.rosters.send(roster).await.expect("the soak goes on");
            is_done.await.expect("it is put in force");
            self.seen.reloads += 1;
        }
    }
}

/// The first that came after so many cycles, and how many cycles later.
fn after(events: &[(u64, Turn)], cycles: u64) -> Option<(u64, Turn)> {
    let &(at, what) = events.iter().find(|(at, _)| *at >= cycles)?;
    Some((at - cycles, what))
}

#[tokio::test(start_paused = true)]
async fn a_month_passes_without_a_leak_a_gap_or_a_false_alarm() {
    let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let began = tokio::time::Instant::now();
    let mut month = Month::start();
    // Once everything has begun.
    while month.seen.complete.is_empty() {
        let event = month.next().await;
        month.note(&event);
    }
    let tasks_at_first = alive();
    month.pass().await;
    let tasks_at_last = alive();
    let days = began.elapsed().as_secs_f64() / 86_400.0;
    let Month { stage, rosters, soak, seen, .. } = month;
    stage.stop.cancel();
    drop(rosters);
    soak.await.expect("no panic");
    stage.history.flush().await;

    let numbers: Vec<u64> = (1..=CYCLES).collect();
    assert_eq!(seen.complete, numbers, "no cycle is missed, none comes twice");
    assert!((30.0..31.5).contains(&days), "{days}: each cycle begins two hours after the last, but for the outages");
    assert_eq!(seen.away, OUTAGES.len() as u64);
    assert_eq!(seen.epochs, 3, "three updates");
    assert_eq!(seen.reloads, CYCLES / RELOAD_EVERY);
    assert!(seen.failures > 0 && seen.failures < seen.requests / 50, "{} of {}", seen.failures, seen.requests);
    assert!(tasks_at_last <= tasks_at_first + 2, "{tasks_at_first} tasks at first, {tasks_at_last} at last");

    let (late, turn) = after(&seen.turns, SLOWER).expect("an alarm");
    assert!(late <= 2 && turn == Turn::Raised, "{:?}", seen.turns);
    let (late, turn) = after(&seen.turns, FASTER_AGAIN).expect("its end");
    assert!(late <= 3 && turn == Turn::Recovered, "{:?}", seen.turns);
    assert_eq!(seen.turns.len(), 2, "no false alarm: {:?}", seen.turns);

    let history = Reader::open(stage.folder.path()).expect("a history");
    let epoch = history.newest_epoch("t", None).expect("readable").expect("measured");
    assert_eq!(epoch.last_cycle, CYCLES);
    println!(
        "{days:.1} days: {CYCLES} cycles, {} samples ({} rejected), {} requests ({} failed), {} outages, {} reloads",
        seen.samples, seen.rejected, seen.requests, seen.failures, seen.away, seen.reloads
    );
}
