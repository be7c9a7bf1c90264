//! The handle under a paused clock: exact times, and what a client may do to a server.
//!
//! tokio's timers tick in milliseconds and round up, so the totals here are whole ones.

use std::collections::VecDeque;

use super::super::model::predict_total;
use super::super::profile::Profile;
use super::*;

/// A profile whose steps are whole milliseconds: 2 ms + 1 ms for each stream.
fn whole_milliseconds() -> Profile {
    Profile { step_base: Duration::from_millis(2), step_per_stream: Duration::from_millis(1), ..Profile::tiny() }
}

fn start(slots: u32) -> SimServer {
    SimServer::start(SimOptions::exact(whole_milliseconds(), slots))
}

/// Reads an answer to its end; its last chunk, where it has a finish.
async fn finish(mut answer: Answer) -> Option<Chunk> {
    let mut last = None;
    while let Some(event) = answer.next().await {
        match event {
            SimEvent::Chunk(chunk) => last = Some(chunk),
            SimEvent::Reset => return None,
        }
    }
    last.filter(|chunk| chunk.finish.is_some())
}

/// A batch through at most `workers` requests in flight, as a client limits them.
async fn run_batch(server: &SimServer, workers: usize, lengths: &[u32]) -> Duration {
    let start = Instant::now();
    let queue = Arc::new(Mutex::new(VecDeque::from(lengths.to_vec())));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..workers {
        let (server, queue) = (server.clone(), queue.clone());
        tasks.spawn(async move {
            loop {
                let Some(tokens) = queue.lock().expect("no panic").pop_front() else { return };
                let answer = server.generate(&GenerateSpec::new("a prompt", tokens)).expect("taken");
                let last = finish(answer).await.expect("a whole answer");
                assert_eq!(last.tally.output_tokens, tokens);
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("no panic");
    }
    start.elapsed()
}

#[tokio::test(start_paused = true)]
async fn one_stream_takes_exactly_its_steps() {
    let server = SimServer::start(SimOptions::exact(Profile::reference(), 50));
    // 21.15 ms × 200: late timers on the way do not add up.
    assert_eq!(run_batch(&server, 1, &[200]).await, Duration::from_millis(4_230));
    assert_eq!(run_batch(&server, 1, &[100, 60, 40]).await, Duration::from_millis(4_230));
}

#[tokio::test(start_paused = true)]
async fn a_client_side_limit_is_a_queue_of_that_many_slots() {
    let (base, each) = (Duration::from_millis(2), Duration::from_millis(1));
    let lengths = [3, 20, 7, 7, 1, 30, 12, 5, 18, 2, 9];
    for workers in [1, 2, 3, 8, 16] {
        let measured = run_batch(&start(50), workers, &lengths).await;
        let slots = u32::try_from(workers).expect("small");
        assert_eq!(measured, predict_total(base, each, slots, &lengths), "{workers} workers");
    }
}

#[tokio::test(start_paused = true)]
async fn slots_limit_what_the_client_does_not() {
    let waves = Duration::from_millis(6) * 10 * 3;
    assert_eq!(run_batch(&start(4), 12, &[10; 12]).await, waves);
    assert_eq!(run_batch(&start(4), 4, &[10; 12]).await, waves);
}

#[tokio::test(start_paused = true)]
async fn times_of_an_uneven_step_stay_within_a_millisecond() {
    let profile = Profile::reference();
    let lengths = [200; 48];
    for workers in [8, 24] {
        let server = SimServer::start(SimOptions { speed: 20.0, ..SimOptions::exact(profile.clone(), 50) });
        let measured = run_batch(&server, workers, &lengths).await;
        let slots = u32::try_from(workers).expect("small");
        let model = predict_total(profile.step_base, profile.step_per_stream, slots, &lengths).div_f64(20.0);
        assert!(measured.abs_diff(model) <= TIMER_GRAIN, "{workers}: {measured:?}, {model:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn tallies_are_in_clock_time() {
    let server = SimServer::start(SimOptions { speed: 10.0, ..SimOptions::exact(whole_milliseconds(), 1) });
    let first = server.generate(&GenerateSpec::new("first", 11)).expect("taken");
    let second = server.generate(&GenerateSpec::new("second", 11)).expect("taken");
    let step = Duration::from_micros(300);
    let tally = finish(first).await.expect("whole").tally;
    assert_eq!((tally.queue, tally.prompt, tally.decode), (Duration::ZERO, step, step * 10));
    let tally = finish(second).await.expect("whole").tally;
    assert_eq!((tally.queue, tally.prompt, tally.decode), (step * 11, step, step * 10));
    assert!(tally.load > Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_answer_frees_its_slot() {
    let server = start(1);
    let mut given_up = server.generate(&GenerateSpec::new("long", 1_000)).expect("taken");
    let queued = server.generate(&GenerateSpec::new("never read", 1_000)).expect("taken");
    given_up.next().await;
    drop((given_up, queued));
    assert_eq!(run_batch(&server, 1, &[10]).await, Duration::from_millis(3 * 11));
    tokio::time::sleep(Duration::from_millis(10)).await;
    let status = server.status();
    assert_eq!((status.counters.requests_processing, status.counters.requests_deferred), (0, 0));
    assert_eq!(status.slots, [None]);
}

#[tokio::test(start_paused = true)]
async fn status_shows_slots_and_queue() {
    let server = start(2);
    let _answers: Vec<Answer> = (0..5).map(|_| server.generate(&GenerateSpec::new("p", 100)).expect("taken")).collect();
    tokio::time::sleep(Duration::from_millis(41)).await;
    let status = server.status();
    assert_eq!((status.counters.requests_processing, status.counters.requests_deferred), (2, 3));
    assert_eq!(status.slots, [Some(10), Some(10)]);
    assert_eq!(status.counters.decode_calls_total, 10);
    assert_eq!(status.counters.busy_slots_per_decode(), 2.0);
}

#[tokio::test(start_paused = true)]
async fn a_repeated_prompt_is_cached_unless_it_must_not_be() {
    let server = start(4);
    let prompt = "The same sixty-four bytes of prompt text for each of the requests";
    let spec = GenerateSpec::new(prompt, 2);
    let uncached = GenerateSpec { cache_prompt: false, ..spec.clone() };
    let salted = GenerateSpec { cache_salt: "salt".to_owned(), ..spec.clone() };
    for (spec, expected) in [(&spec, 0), (&spec, 16), (&uncached, 0), (&salted, 0), (&salted, 16)] {
        let last = finish(server.generate(spec).expect("taken")).await.expect("whole");
        assert_eq!((last.tally.prompt_tokens, last.tally.cached_tokens), (17, expected));
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_request_gets_the_same_answer() {
    let server = SimServer::start(SimOptions::default());
    let mut texts = Vec::new();
    for seed in [Some(1), Some(1), Some(2), None, None] {
        let spec = GenerateSpec { ignore_eos: false, seed, ..GenerateSpec::new("p", 300) };
        let mut answer = server.generate(&spec).expect("taken");
        let mut text = String::new();
        while let Some(SimEvent::Chunk(chunk)) = answer.next().await {
            text.push_str(&chunk.text);
        }
        texts.push(text);
    }
    assert_eq!(texts[0], texts[1]);
    assert_ne!(texts[1], texts[2]);
    assert_ne!(texts[3], texts[4]);
}

#[tokio::test(start_paused = true)]
async fn a_slowdown_and_an_absence_take_effect_while_it_runs() {
    let server = start(1);
    server.set_slowdown(2.0);
    assert_eq!(run_batch(&server, 1, &[10]).await, Duration::from_millis(60));
    let mut broken = server.generate(&GenerateSpec::new("p", 100)).expect("taken");
    broken.next().await;
    server.set_away(true);
    assert_eq!(broken.next().await, Some(SimEvent::Reset));
    assert_eq!(broken.next().await, None);
    assert_eq!(server.generate(&GenerateSpec::new("p", 1)).err(), Some(Refusal::Away));
    tokio::time::sleep(Duration::from_millis(10)).await;
    server.set_away(false);
    server.set_slowdown(1.0);
    assert_eq!(run_batch(&server, 1, &[10]).await, Duration::from_millis(30));
}

#[tokio::test(start_paused = true)]
async fn faults_are_injected() {
    let with = |change: fn(&mut SimOptions)| {
        let mut options = SimOptions::exact(whole_milliseconds(), 4);
        change(&mut options);
        SimServer::start(options)
    };
    let spec = GenerateSpec::new("p", 20);
    let refused = with(|options| options.fault_http_500 = 1.0).generate(&spec);
    assert_eq!(refused.err(), Some(Refusal::InjectedFault));

    let truncating = with(|options| options.fault_truncate = 1.0);
    assert_eq!(finish(truncating.generate(&spec).expect("taken")).await, None);

    let resetting = with(|options| options.fault_reset = 1.0);
    let mut answer = resetting.generate(&spec).expect("taken");
    let mut last = None;
    while let Some(event) = answer.next().await {
        last = Some(event);
    }
    assert_eq!(last, Some(SimEvent::Reset));

    let stalling = with(|options| options.fault_stall = 1.0);
    let silent = finish(stalling.generate(&spec).expect("taken"));
    assert!(tokio::time::timeout(Duration::from_secs(60), silent).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_prompt_beyond_the_context_is_refused() {
    let server = start(1);
    let refused = server.generate(&GenerateSpec::new("x".repeat(9_000), 1)).err();
    assert_eq!(refused, Some(Refusal::PromptTooLong { prompt_tokens: 2_250, context: 2_048 }));
    let open = GenerateSpec { output_tokens: None, ..GenerateSpec::new("x".repeat(8_000), 1) };
    let last = finish(server.generate(&open).expect("taken")).await.expect("whole");
    assert_eq!((last.tally.output_tokens, last.finish), (48, Some(Finish::Length)));
}

#[tokio::test(start_paused = true)]
async fn the_status_shows_requests_from_their_arrival_to_their_end() {
    let server = start(2);
    let ask = |tokens| server.generate(&GenerateSpec::new("a prompt", tokens)).expect("taken");
    let shown = || {
        let Counters { requests_processing, requests_deferred, .. } = server.status().counters;
        (requests_processing, requests_deferred)
    };
    assert_eq!((shown(), server.status().requests()), ((0, 0), 0));
    let answers = [ask(2), ask(3), ask(2)];
    assert_eq!((shown(), server.status().requests()), ((0, 3), 3));
    // The steps of two streams take 4 ms. One that comes within a step is seen at once.
    sleep_until(Instant::now() + Duration::from_millis(2)).await;
    assert_eq!(shown(), (2, 1));
    let late = ask(1);
    assert_eq!((shown(), server.status().requests()), ((2, 2), 4));

    sleep_until(Instant::now() + Duration::from_millis(4)).await;
    assert_eq!((server.status().counters.tokens_predicted_total, server.status().decoded_tokens()), (0, 2));
    assert_eq!(server.status().counters.fell_idle, None);
    for answer in answers.into_iter().chain([late]) {
        finish(answer).await.expect("a whole answer");
    }
    assert_eq!(shown(), (0, 0));
    assert_eq!((server.status().counters.tokens_predicted_total, server.status().decoded_tokens()), (8, 8));
    let fell_idle = server.status().counters.fell_idle;
    assert!(fell_idle.is_some());

    // One that is given up is a use as well.
    let answer = ask(100);
    sleep_until(Instant::now() + Duration::from_millis(50)).await;
    drop(answer);
    sleep_until(Instant::now() + Duration::from_millis(50)).await;
    assert_eq!(shown(), (0, 0));
    assert!(server.status().counters.fell_idle > fell_idle);
}

#[tokio::test(start_paused = true)]
async fn other_slots_hold_from_the_next_request_on() {
    let server = SimServer::start(SimOptions::exact(Profile::tiny(), 4));
    server.set_slots(1);
    let mut answers = [1, 2].map(|_| server.generate(&GenerateSpec::new("a", 10)).expect("taken"));
    for answer in &mut answers {
        answer.next().await.expect("a first token");
    }
    let status = server.status();
    assert_eq!((server.slots(), status.slots.len()), (1, 1));
    // The second had to wait for the first: its first token is the eleventh of all.
    assert_eq!(status.counters.decode_calls_total, 11);
}
