//! Hours, budgets, pauses, duty, and others who use the server.

use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::stage::{MINUTE, SOON, Stage, exact, measured_cells};
use crate::domain::plan::{BudgetPlan, RequestPlan, TargetPlan};
use crate::domain::{Cost, Event, Grid, Happening, InvalidReason, SchedulerState, Spent, Window, Windows};
use crate::sim::{GenerateSpec, SimOptions, SimServer};
use crate::soak::{MemoryBackend, SoakTarget, WallClock};
use crate::store::Reader;

const HOUR: Duration = Duration::from_secs(3600);

fn grid(workers: &[u32], batch: &[u32]) -> Grid {
    Grid::new(workers, batch, true).expect("sound")
}

fn times_of(events: &[Arc<Event>], is_it: impl Fn(&Happening) -> bool) -> Vec<Timestamp> {
    events.iter().filter(|event| is_it(&event.happening)).map(|event| event.at).collect()
}

fn is_request(happening: &Happening) -> bool {
    matches!(happening, Happening::RequestStarted)
}

fn enters(state: SchedulerState) -> impl Fn(&Happening) -> bool {
    move |happening| matches!(happening, Happening::StateChanged { state: entered, .. } if *entered == state)
}

/// Events until one of them is it, that one included.
async fn until(stage: &mut Stage, is_it: impl Fn(&Happening) -> bool) -> Vec<Arc<Event>> {
    let mut events = Vec::new();
    loop {
        let event = stage.next().await.expect("the soak goes on");
        events.push(event.clone());
        if is_it(&event.happening) {
            return events;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_drops_the_running_sample_and_its_cell_is_next() {
    let mut stage = Stage::new(4);
    let cells = grid(&[1, 2], &[1, 2, 4]);
    let soak = stage.start(vec![stage.target("t", "a", cells.clone())]);
    let mut events = until(&mut stage, enters(SchedulerState::Running)).await;
    stage.control.pause(None, Some(SOON + SignedDuration::from_hours(1)));
    events.extend(until(&mut stage, enters(SchedulerState::Paused)).await);
    let dropped = events.iter().find_map(|event| match event.happening {
        Happening::SampleDropped { cell, reason } => Some((cell, reason)),
        _ => None,
    });
    let after = until(&mut stage, |happening| matches!(happening, Happening::SampleEnded { .. })).await;
    let first = times_of(&after, is_request)[0];
    assert_eq!(first, SOON + SignedDuration::from_hours(1), "it goes on when the pause is over");
    assert_eq!(dropped, Some((measured_cells(&after)[0], "paused")));
    let rest = until(&mut stage, |happening| matches!(happening, Happening::CycleEnded { .. })).await;
    assert_eq!(measured_cells(&after).len() + measured_cells(&rest).len(), cells.measured().len());
    drop(stage);
    soak.await.expect("no panic");
}

#[tokio::test(start_paused = true)]
async fn a_paused_target_leaves_its_lane_to_others() {
    let mut stage = Stage::new(4);
    stage.cycles = None;
    stage.control.pause(Some("one"), None);
    let targets = vec![stage.target("one", "a", grid(&[1], &[1])), stage.target("two", "a", grid(&[1], &[1]))];
    let soak = stage.start(targets);
    let sample_of = |name: &'static str| {
        move |event: &Event| matches!(event.happening, Happening::SampleEnded { .. }) && &*event.target.name == name
    };
    let mut of_two = 0;
    while of_two < 3 {
        let event = stage.next().await.expect("the soak goes on");
        assert!(!sample_of("one")(&event));
        of_two += i32::from(sample_of("two")(&event));
    }
    stage.control.resume(Some("one"));
    while !sample_of("one")(&stage.next().await.expect("the soak goes on")) {}
    stage.stop.cancel();
    while stage.next().await.is_some() {}
    soak.await.expect("no panic");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_outside_the_windows_in_a_year() {
    let zone = TimeZone::get("Europe/Berlin").expect("a known zone");
    let night = Window::new(Window::EVERY_DAY, 22 * 60, 6 * 60).expect("sound");
    let windows = Windows::new(vec![night], zone.clone());
    // A noon in winter.
    let start: Timestamp = "2026-01-15T11:00Z".parse().expect("a time");
    let mut stage = Stage::starting_at(4, start);
    stage.cycles = None;
    stage.schedule.windows = windows.clone();
    stage.schedule.cycle_interval = HOUR;
    let soak = stage.start(vec![stage.target("t", "a", grid(&[1], &[1]))]);
    let end = start + SignedDuration::from_hours(24 * 365);
    let mut nights = std::collections::BTreeMap::new();
    loop {
        let event = stage.next().await.expect("the soak goes on");
        if event.at >= end {
            break;
        }
        if is_request(&event.happening) {
            assert!(windows.is_open(event.at), "a request at {}", event.at);
        }
        if matches!(event.happening, Happening::SampleEnded { .. }) {
            // From noon to noon by the clock on the wall.
            let noon = zone.to_datetime(event.at).checked_sub(jiff::Span::new().hours(12)).expect("in range");
            *nights.entry(noon.date()).or_insert(0) += 1;
        }
    }
    stage.stop.cancel();
    while stage.next().await.is_some() {}
    soak.await.expect("no panic");
    let (spring, autumn) = (jiff::civil::date(2026, 3, 28), jiff::civil::date(2026, 10, 24));
    assert_eq!(nights.len(), 365);
    for (night, samples) in nights {
        let hours = 8 - i32::from(night == spring) + i32::from(night == autumn);
        assert_eq!(samples, hours, "in the night of {night}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_window_that_closes_drops_the_sample_and_the_next_one_fits() {
    let mut stage = Stage::new(4);
    // Open for the first minute of each hour of the first day hours of 1970 in UTC.
    let minutes = (0..24).map(|hour| Window::new(Window::EVERY_DAY, hour * 60, hour * 60 + 1).expect("sound"));
    stage.schedule.windows = Windows::new(minutes.collect(), TimeZone::UTC);
    stage.schedule.warmup_requests = 0;
    // 40 s each: the second does not fit into the first minute.
    let request = RequestPlan { output_tokens: 1818, ..RequestPlan::default() };
    let plan = TargetPlan { request, ..(*stage.target("t", "a", grid(&[1], &[1])).plan).clone() };
    stage.cycles = Some(3);
    let events = stage.run(vec![stage.target_of(plan)]).await;
    let hour = |at: &Timestamp| at.as_second() / 3600;
    let drops = times_of(&events, |happening| matches!(happening, Happening::SampleDropped { .. }));
    let ends = times_of(&events, |happening| matches!(happening, Happening::SampleEnded { .. }));
    assert_eq!(ends.iter().map(hour).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(drops.is_empty(), "what does not fit is not begun: {drops:?}");
}

#[tokio::test(start_paused = true)]
async fn no_hour_has_more_requests_than_the_budget() {
    let mut stage = Stage::new(4);
    stage.cycles = Some(12);
    let budget = BudgetPlan { requests_per_hour: Some(13), ..BudgetPlan::default() };
    // Four requests and two warm-ups a sample.
    let plan = TargetPlan { budget, ..(*stage.target("t", "a", grid(&[2], &[4])).plan).clone() };
    let events = stage.run(vec![stage.target_of(plan)]).await;
    let requests = times_of(&events, is_request);
    assert_eq!(requests.len(), 1 + 12 * 6);
    let span = SignedDuration::from_hours(1);
    let most = requests.iter().map(|&from| requests.iter().filter(|&&at| at >= from && at < from + span).count()).max();
    assert_eq!(most, Some(13), "the budget is used, and no more than that");
    assert!(times_of(&events, enters(SchedulerState::OverBudget)).len() > 5);
    let spent = Reader::open(stage.folder.path()).expect("a history").spending("t", SOON).expect("readable");
    assert_eq!(spent.iter().map(|spent| spent.cost.requests).sum::<u64>(), 1 + 12 * 6);
    let tokens: u64 = events
        .iter()
        .filter_map(|event| match &event.happening {
            Happening::RequestEnded(end) => Some(end.tokens.output + end.tokens.prompt.unwrap_or(0)),
            _ => None,
        })
        .sum();
    assert_eq!(spent.iter().map(|spent| spent.cost.tokens).sum::<u64>(), tokens);
}

#[tokio::test(start_paused = true)]
async fn what_was_spent_before_the_start_counts() {
    let mut stage = Stage::new(4);
    let budget = BudgetPlan { requests_per_day: Some(20), ..BudgetPlan::default() };
    let plan = TargetPlan { budget, ..(*stage.target("t", "a", grid(&[1], &[4])).plan).clone() };
    let spent = Spent { at: SOON, cost: Cost { requests: 15, tokens: 0 } };
    let target = SoakTarget { spent: vec![spent], ..stage.target_of(plan) };
    let events = stage.run(vec![target]).await;
    let sample = times_of(&events, |happening| matches!(happening, Happening::SampleStarted { .. }));
    assert_eq!(sample, [SOON + SignedDuration::from_hours(24)]);
}

#[tokio::test(start_paused = true)]
async fn a_duty_limit_keeps_the_lane_idle_for_the_rest() {
    let mut stage = Stage::new(4);
    stage.schedule.max_duty = 0.2;
    stage.cycles = None;
    let soak = stage.start(["one", "two"].map(|name| stage.target(name, "a", grid(&[1, 2], &[1, 4]))).into());
    let mut events = Vec::new();
    for _ in 0..12 {
        events.extend(until(&mut stage, |happening| matches!(happening, Happening::CycleEnded { .. })).await);
    }
    stage.stop.cancel();
    while stage.next().await.is_some() {}
    soak.await.expect("no panic");
    let starts = times_of(&events, |happening| matches!(happening, Happening::SampleStarted { .. }));
    let ends = times_of(&events, |happening| matches!(happening, Happening::SampleEnded { .. }));
    assert_eq!(starts.len(), 12 * 3);
    for ((start, end), next) in starts.iter().zip(&ends).zip(starts.iter().skip(1)) {
        let (busy, all) = (end.duration_since(*start).as_secs_f64(), next.duration_since(*start).as_secs_f64());
        assert!(busy / all <= 0.201, "{busy} of {all} s");
    }
}

#[tokio::test(start_paused = true)]
async fn cycles_begin_a_span_apart() {
    let mut stage = Stage::new(4);
    stage.schedule.cycle_interval = 10 * MINUTE;
    stage.cycles = Some(4);
    let events = stage.run(vec![stage.target("t", "a", grid(&[1], &[1, 2]))]).await;
    let starts = times_of(&events, |happening| matches!(happening, Happening::CycleStarted { .. }));
    let first = starts[0];
    let minutes: Vec<i64> = starts.iter().map(|at| at.duration_since(first).as_mins()).collect();
    assert_eq!(minutes, [0, 10, 20, 30]);
    assert!(
        events.last().expect("some").at < starts[3] + SignedDuration::from_mins(1),
        "the last one is not waited for"
    );
}

/// Somebody else who asks the server again and again, for so long.
fn stranger(server: &SimServer, span: Duration) -> JoinHandle<()> {
    let server = server.clone();
    tokio::spawn(async move {
        let asking = async {
            loop {
                let mut answer = server.generate(&GenerateSpec::new("who else is there", 100)).expect("taken");
                while answer.next().await.is_some() {}
            }
        };
        let _ = tokio::time::timeout(span, asking).await;
    })
}

/// A target whose samples take long enough to be looked at.
fn long_target(stage: &Stage, name: &str) -> SoakTarget<MemoryBackend> {
    let request = RequestPlan { output_tokens: 200, ..RequestPlan::default() };
    stage.target_of(TargetPlan { request, ..(*stage.target(name, "a", grid(&[2], &[2, 4])).plan).clone() })
}

fn verdicts(events: &[Arc<Event>]) -> Vec<Vec<InvalidReason>> {
    let verdict = |event: &Arc<Event>| match &event.happening {
        Happening::SampleEnded { sample, .. } => Some(sample.invalid.clone()),
        _ => None,
    };
    events.iter().filter_map(verdict).collect()
}

#[tokio::test(start_paused = true)]
async fn no_request_is_sent_while_others_use_the_server() {
    let mut stage = Stage::new(8);
    let stranger = stranger(&stage.server, 10 * MINUTE);
    tokio::task::yield_now().await;
    sleep(Duration::from_millis(100)).await;
    let events = stage.run(vec![long_target(&stage, "t")]).await;
    stranger.await.expect("no panic");
    let first = times_of(&events, is_request)[0];
    assert!(first >= SOON + SignedDuration::from_mins(10), "{first}");
    assert!(first <= SOON + SignedDuration::from_mins(11), "{first}");
    assert!(!times_of(&events, enters(SchedulerState::Yielding)).is_empty());
    assert_eq!(verdicts(&events), [vec![], vec![]]);
}

#[tokio::test(start_paused = true)]
async fn a_sample_into_which_others_come_is_marked_and_the_next_one_waits() {
    let mut stage = Stage::new(8);
    let soak = stage.start(vec![long_target(&stage, "t")]);
    let mut events = until(&mut stage, enters(SchedulerState::Running)).await;
    let stranger = stranger(&stage.server, 2 * MINUTE);
    while let Some(event) = stage.next().await {
        events.push(event);
    }
    stranger.await.expect("no panic");
    soak.await.expect("no panic");
    assert_eq!(verdicts(&events), [vec![InvalidReason::ForeignLoad], vec![]]);
    let yielded = times_of(&events, enters(SchedulerState::Yielding));
    assert!(yielded.last() > yielded.first(), "{yielded:?}");
}

#[tokio::test(start_paused = true)]
async fn without_yielding_every_sample_beside_others_is_marked() {
    for (is_alone, expected) in [(false, vec![InvalidReason::ForeignLoad]), (true, vec![])] {
        let mut stage = Stage::new(8);
        stage.schedule.yield_to_foreign_load = false;
        stage.cycles = Some(2);
        let stranger = (!is_alone).then(|| stranger(&stage.server, HOUR));
        tokio::task::yield_now().await;
        let events = stage.run(vec![long_target(&stage, "t")]).await;
        assert_eq!(verdicts(&events), vec![expected; 4]);
        assert!(times_of(&events, enters(SchedulerState::Yielding)).is_empty());
        if let Some(stranger) = stranger {
            stranger.abort();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_wall_clock_of_these_tests_goes_with_the_paused_one() {
    let clock = WallClock::anchored(SOON);
    sleep(HOUR).await;
    assert_eq!(clock.now(), SOON + SignedDuration::from_hours(1));
}

#[tokio::test(start_paused = true)]
async fn targets_of_one_lane_on_one_server_are_no_others_to_each_other() {
    let mut stage = Stage::new(8);
    stage.cycles = None;
    let targets = vec![long_target(&stage, "one"), long_target(&stage, "two")];
    let soak = stage.start(targets);
    let mut ended = std::collections::BTreeMap::new();
    let mut strangers = Vec::new();
    while ended.values().filter(|&&cycles| cycles >= 5).count() < 2 {
        let event = stage.next().await.expect("the soak goes on");
        assert!(event.at < SOON + SignedDuration::from_hours(1), "{ended:?}: one starves the other");
        if matches!(event.happening, Happening::CycleEnded { .. }) {
            *ended.entry(event.target.name.clone()).or_insert(0) += 1;
            // A real stranger now and then must not set it off either.
            if strangers.len() < 3 {
                strangers.push(stranger(&stage.server, MINUTE / 2));
            }
        }
    }
    stage.stop.cancel();
    while stage.next().await.is_some() {}
    soak.await.expect("no panic");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_refuses_is_not_asked_beyond_the_budget() {
    let mut stage = Stage::new(4);
    stage.server = SimServer::start(SimOptions { fault_http_500: 1.0, ..exact(4) });
    stage.cycles = None;
    let budget = BudgetPlan { requests_per_hour: Some(10), ..BudgetPlan::default() };
    let plan = TargetPlan { budget, ..(*stage.target("t", "a", grid(&[1], &[1])).plan).clone() };
    let soak = stage.start(vec![stage.target_of(plan)]);
    let mut requests = Vec::new();
    loop {
        let event = stage.next().await.expect("the soak goes on");
        if event.at > SOON + SignedDuration::from_hours(5) {
            break;
        }
        requests.extend(is_request(&event.happening).then_some(event.at));
    }
    stage.stop.cancel();
    while stage.next().await.is_some() {}
    soak.await.expect("no panic");
    let span = SignedDuration::from_hours(1);
    let most = requests.iter().map(|&from| requests.iter().filter(|&&at| at >= from && at < from + span).count()).max();
    assert_eq!(most, Some(10));
    assert!((40..=51).contains(&requests.len()), "{}", requests.len());
}

#[tokio::test(start_paused = true)]
async fn a_budget_too_small_for_any_cell_holds_the_target() {
    let mut stage = Stage::new(4);
    stage.cycles = None;
    let budget = BudgetPlan { requests_per_hour: Some(1), ..BudgetPlan::default() };
    let plan = TargetPlan { budget, ..(*stage.target("t", "a", grid(&[1], &[1])).plan).clone() };
    let soak = stage.start(vec![stage.target_of(plan)]);
    let mut events = 0;
    loop {
        let event = stage.next().await.expect("the soak goes on");
        assert!(!matches!(event.happening, Happening::CycleStarted { .. }), "of nothing");
        if event.at > SOON + SignedDuration::from_hours(1) {
            break;
        }
        events += 1;
    }
    assert!(events < 1000, "{events} events in an hour of waiting");
    stage.stop.cancel();
    while stage.next().await.is_some() {}
    soak.await.expect("no panic");
}

#[tokio::test(start_paused = true)]
async fn what_a_stopped_sample_cost_is_in_the_ledger() {
    let mut stage = Stage::new(4);
    let soak = stage.start(vec![stage.target("t", "a", grid(&[2], &[8]))]);
    let mut events = until(&mut stage, enters(SchedulerState::Running)).await;
    events.extend(until(&mut stage, is_request).await);
    stage.stop.cancel();
    while let Some(event) = stage.next().await {
        events.push(event);
    }
    soak.await.expect("no panic");
    stage.history.flush().await;
    let sent = times_of(&events, is_request).len() as u64;
    let spent = Reader::open(stage.folder.path()).expect("a history").spending("t", SOON).expect("readable");
    // A worker may have been stopped between its word and its deed.
    assert!((sent - 1..=sent).contains(&spent.iter().map(|spent| spent.cost.requests).sum::<u64>()), "{spent:?}");
    // The two in flight count as answered in full.
    assert!(spent.iter().map(|spent| spent.cost.tokens).sum::<u64>() > (sent - 1) * 64);
}

#[tokio::test(start_paused = true)]
async fn a_word_to_one_target_does_not_cut_the_rest_of_another_short() {
    let mut stage = Stage::new(4);
    stage.schedule.pause_between_samples = 10 * MINUTE;
    let soak = stage.start(vec![stage.target("t", "a", grid(&[1], &[1, 2]))]);
    let first = until(&mut stage, |happening| matches!(happening, Happening::SampleEnded { .. })).await;
    for _ in 0..5 {
        sleep(MINUTE).await;
        stage.control.pause(Some("other"), None);
    }
    let second = until(&mut stage, |happening| matches!(happening, Happening::SampleStarted { .. })).await;
    let pause = second.last().expect("some").at.duration_since(first.last().expect("some").at);
    assert_eq!(pause.as_mins(), 10);
    drop(stage);
    soak.await.expect("no panic");
}

#[tokio::test(start_paused = true)]
async fn a_cell_that_is_paused_again_and_again_is_measured_in_the_end() {
    let mut stage = Stage::new(4);
    let soak = stage.start(vec![stage.target("t", "a", grid(&[1], &[4]))]);
    for _ in 0..4 {
        until(&mut stage, enters(SchedulerState::Running)).await;
        stage.control.pause(None, None);
        until(&mut stage, enters(SchedulerState::Paused)).await;
        stage.control.resume(None);
    }
    let events = until(&mut stage, |happening| matches!(happening, Happening::CycleEnded { .. })).await;
    assert_eq!(measured_cells(&events).len(), 1);
    drop(stage);
    soak.await.expect("no panic");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_slow_to_forget_a_warm_up_is_measured_all_the_same() {
    let mut stage = Stage::new(4);
    stage.schedule.warmup_requests = 1;
    let target = stage.target("t", "a", grid(&[1], &[1]));
    let soak = stage.start(vec![target]);
    let (mut yields, mut samples) = (0, 0);
    while let Some(event) = stage.next().await {
        match &event.happening {
            // Seen as busy for longer than the last answer may linger, and free again soon.
            Happening::StateChanged { state: SchedulerState::Warmup, .. } => {
                drop(stranger(&stage.server, Duration::from_secs(2)));
            }
            Happening::StateChanged { state: SchedulerState::Yielding, .. } => yields += 1,
            Happening::SampleEnded { .. } => samples += 1,
            _ => {}
        }
    }
    soak.await.expect("no panic");
    assert_eq!(samples, 1);
    assert!((1..=8).contains(&yields), "{yields}");
}

#[tokio::test(start_paused = true)]
async fn a_run_of_a_few_cycles_does_not_wait_for_what_never_comes() {
    let mut stage = Stage::new(4);
    stage.patience = Some(5);
    let plan = (*stage.target("t", "a", grid(&[1, 2], &[4, 8])).plan).clone();
    let budget = BudgetPlan { requests_per_hour: Some(3), ..BudgetPlan::default() };
    let soak = stage.start(vec![stage.target_of(TargetPlan { budget, ..plan })]);
    while stage.next().await.is_some() {}
    assert_eq!(soak.await.expect("no panic").len(), 1, "no cell is affordable");

    let mut stage = Stage::new(4);
    stage.patience = Some(5);
    let soak = stage.start(vec![stage.target("t", "a", grid(&[1, 2, 4], &[4, 8]))]);
    let mut epochs = 0;
    while let Some(event) = stage.next().await {
        match &event.happening {
            Happening::EpochEntered { .. } => epochs += 1,
            Happening::SampleEnded { .. } => stage.server.set_version(["1.0.0", "2.0.0"][epochs % 2]),
            _ => {}
        }
    }
    assert_eq!((soak.await.expect("no panic").len(), epochs), (1, 6), "no cycle is ever complete");
}
