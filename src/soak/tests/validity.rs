//! Each reason to reject a sample, provoked; and the same circumstances without it.

use std::time::Duration;

use super::stage::{Stage, exact};
use crate::domain::plan::{RequestPlan, TargetPlan};
use crate::domain::{Grid, Happening, InvalidReason};
use crate::sim::profile::AnswerLength;
use crate::sim::{SimOptions, SimServer};

/// What is known of a sample that ended.
#[derive(Clone, Debug, PartialEq)]
struct Ended {
    epoch: i64,
    seconds: f64,
    invalid: Vec<InvalidReason>,
}

/// Measures one target to the end of its cycles; `provoke` is told each sample that begins,
/// from 1 on.
async fn measured(
    stage: &mut Stage,
    grid: &Grid,
    request: RequestPlan,
    mut provoke: impl FnMut(&SimServer, u32),
) -> Vec<Ended> {
    let target = stage.target("t", "a", grid.clone());
    let target = stage.target_of(TargetPlan { request, ..(*target.plan).clone() });
    let soak = stage.start(vec![target]);
    let (mut begun, mut ended) = (0, Vec::new());
    while let Some(event) = stage.next().await {
        match &event.happening {
            Happening::SampleStarted { .. } => {
                begun += 1;
                provoke(&stage.server, begun);
            }
            Happening::SampleEnded { sample, .. } => ended.push(Ended {
                epoch: sample.epoch.0,
                seconds: sample.completed_at.duration_since(sample.started_at).as_secs_f64(),
                invalid: sample.invalid.clone(),
            }),
            _ => {}
        }
    }
    soak.await.expect("no panic");
    stage.history.flush().await;
    ended
}

fn grid(workers: &[u32], batch: &[u32]) -> Grid {
    Grid::new(workers, batch, true).expect("sound")
}

fn answers_of(output_tokens: u32) -> RequestPlan {
    RequestPlan { output_tokens, ..RequestPlan::default() }
}

/// Checks what is said of the samples that are rejected, and which they are, from 1 on.
#[track_caller]
fn check(name: &str, ended: &[Ended], expected: &[(usize, &[InvalidReason])]) {
    let rejected: Vec<_> = (1..).zip(ended).filter(|(_, sample)| !sample.invalid.is_empty()).collect();
    let rejected: Vec<_> = rejected.iter().map(|(number, sample)| (*number, &*sample.invalid)).collect();
    assert_eq!(rejected, expected, "{name}");
}

#[tokio::test(start_paused = true)]
async fn a_change_in_the_last_sample_of_a_cycle_is_that_samples() {
    type Change = fn(&SimServer);
    let cases: [(&str, Change, Option<InvalidReason>); 5] = [
        ("nothing", |_| {}, None),
        ("slots", |server| server.set_slots(8), Some(InvalidReason::SlotsChanged)),
        ("version", |server| server.set_version("b2"), Some(InvalidReason::EnvironmentChanged)),
        ("model", |server| server.set_model_digest("0123"), Some(InvalidReason::EnvironmentChanged)),
        ("the same version", |server| server.set_version("1.0.0"), None),
    ];
    for (name, change, reason) in cases {
        let mut stage = Stage::new(4);
        let cells = grid(&[1, 2], &[1, 2]);
        let change = |server: &SimServer, number| {
            if number == 3 {
                change(server);
            }
        };
        let ended = measured(&mut stage, &cells, answers_of(4), change).await;
        let reasons: Vec<InvalidReason> = reason.into_iter().collect();
        let expected: Vec<_> = reason.iter().map(|_| (3, &*reasons)).collect();
        check(name, &ended, &expected);
        // The cycle that was left is begun anew in the new epoch, and completed there.
        let epochs: Vec<i64> = ended.iter().map(|sample| sample.epoch).collect();
        assert_eq!(epochs, if reason.is_none() { vec![1; 3] } else { vec![1, 1, 1, 2, 2, 2] }, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_in_the_middle_of_a_cycle_is_found_within_half_a_minute_and_a_sample() {
    for change_at in [1, 2, 5, 9] {
        let mut stage = Stage::new(4);
        let change = |server: &SimServer, number| {
            if number == change_at {
                server.set_slots(2);
            }
        };
        let cells = grid(&[1, 2, 4], &[1, 2, 3, 4, 6, 8]);
        let ended = measured(&mut stage, &cells, answers_of(200), change).await;
        let of_first = ended.iter().filter(|sample| sample.epoch == 1).count();
        check("slots", &ended, &[(of_first, &[InvalidReason::SlotsChanged])]);
        let unseen = &ended[change_at as usize - 1..of_first - 1];
        let seconds: f64 = unseen.iter().map(|sample| sample.seconds).sum();
        assert!(seconds < 30.0, "{seconds} s of samples that are not the first epoch's");
        assert_eq!(ended.len(), of_first + cells.measured().len());
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_breaks_makes_the_program_look_at_once() {
    let (changed, failed) = (InvalidReason::EnvironmentChanged, InvalidReason::FailedRequests);
    let cases = [
        ("broken by a change", 0.5, "b2", vec![changed, failed], 2),
        ("broken by itself", 0.5, "1.0.0", vec![failed], 1),
        ("a change that breaks nothing is found out later", 0.0, "b2", vec![], 1),
        ("nothing", 0.0, "1.0.0", vec![], 1),
    ];
    for (name, fault_reset, version, first, next_epoch) in cases {
        let mut stage = Stage::new(4);
        stage.server = SimServer::start(SimOptions { fault_reset, ..exact(4) });
        let change = |server: &SimServer, number| {
            if number == 1 {
                server.set_version(version);
            }
        };
        let ended = measured(&mut stage, &grid(&[1], &[4, 5, 6]), answers_of(40), change).await;
        assert_eq!((&ended[0].invalid, ended[1].epoch), (&first, next_epoch), "{name}: {ended:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn answers_of_another_length_are_found_out_and_those_that_vary_are_not() {
    let shorter = Some(AnswerLength { mean: 50.0, standard_deviation: 0.0 });
    let a_little = Some(AnswerLength { mean: 92.0, standard_deviation: 0.0 });
    let varying = Some(AnswerLength { mean: 80.0, standard_deviation: 20.0 });
    // At most 100 tokens, one sample of eight answers a cycle.
    let cases = [
        ("shorter", None, shorter, 10, (10..=30).collect::<Vec<usize>>()),
        ("a little shorter", None, a_little, 10, vec![]),
        ("always varying", varying, varying, 10, vec![]),
        ("shorter than they varied", varying, shorter, 25, (25..=30).collect()),
    ];
    for (name, before, after, change_at, rejected) in cases {
        let mut stage = Stage::new(8);
        stage.server.set_answer_length(before);
        stage.cycles = Some(30);
        let request = RequestPlan { ignore_eos: false, ..answers_of(100) };
        let change = |server: &SimServer, number| {
            if number == change_at {
                server.set_answer_length(after);
            }
        };
        let ended = measured(&mut stage, &grid(&[8], &[8]), request, change).await;
        let expected: Vec<(usize, &[InvalidReason])> =
            rejected.iter().map(|&number| (number, &[InvalidReason::OutputLength][..])).collect();
        check(name, &ended, &expected);
    }
}

#[tokio::test(start_paused = true)]
async fn the_usual_length_outlives_the_program() {
    for (length, expected) in [(50.0, &[(1, &[InvalidReason::OutputLength][..])][..]), (98.0, &[])] {
        let mut stage = Stage::new(8);
        stage.cycles = Some(7);
        let request = RequestPlan { ignore_eos: false, ..answers_of(100) };
        let cells = grid(&[8], &[8]);
        check("before", &measured(&mut stage, &cells, request.clone(), |_, _| {}).await, &[]);
        stage.begin_again();
        stage.cycles = Some(1);
        stage.server.set_answer_length(Some(AnswerLength { mean: length, standard_deviation: 0.0 }));
        check("after", &measured(&mut stage, &cells, request, |_, _| {}).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_model_that_is_loaded_in_a_sample_is_found_out_and_the_usual_overhead_is_not() {
    let load = |milliseconds| Duration::from_millis(milliseconds)..=Duration::from_millis(milliseconds);
    let third = &[(3, &[InvalidReason::ModelLoad][..])][..];
    for (name, usual, loading, expected) in [
        ("loaded", 100, 3_000, third),
        ("twenty times the usual", 100, 1_900, &[]),
        ("as ever", 100, 100, &[]),
        ("slow from the start", 900, 900, &[]),
        ("slow from the start and loaded", 900, 20_000, third),
    ] {
        let mut stage = Stage::new(4);
        stage.server.set_load(load(usual));
        stage.cycles = Some(5);
        let provoke = |server: &SimServer, number| match number {
            3 => server.set_load(load(loading)),
            4 => server.set_load(load(usual)),
            _ => {}
        };
        let ended = measured(&mut stage, &grid(&[2], &[2]), answers_of(4), provoke).await;
        check(name, &ended, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_prefix_cache_is_found_out_where_it_is_not_avoided() {
    for (avoid_prefix_cache, expected) in [(false, &[(1, &[InvalidReason::PrefixCache][..])][..]), (true, &[])] {
        let mut stage = Stage::new(4);
        let request = RequestPlan { avoid_prefix_cache, ..answers_of(4) };
        let ended = measured(&mut stage, &grid(&[2], &[4]), request, |_, _| {}).await;
        check("prefix cache", &ended, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_sample_of_many_failures_is_rejected() {
    for (fault_http_500, expected) in [(0.3, &[(1, &[InvalidReason::FailedRequests][..])][..]), (0.0, &[])] {
        let mut stage = Stage::new(4);
        stage.server = SimServer::start(SimOptions { fault_http_500, ..exact(4) });
        let ended = measured(&mut stage, &grid(&[4], &[40]), answers_of(4), |_, _| {}).await;
        check("failures", &ended, expected);
    }
}
