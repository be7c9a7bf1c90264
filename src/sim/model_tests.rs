//! The queue model against exact answers and against the legacy measurements.

use super::super::chance::LengthAsked;
use super::super::prefix::{blocks, count_tokens};
use super::super::profile::{AnswerLength, Profile};
use super::*;

const A: Duration = Duration::from_micros(19_000);
const B: Duration = Duration::from_micros(2_150);

fn job(options: &SimOptions, key: u64, tokens: u32) -> Job {
    let asked = LengthAsked { at_most: tokens, at_least: 0 };
    Job {
        prompt_tokens: 64,
        prefix: Vec::new(),
        lot: Lot::draw(options.seed, key, &options.effective_profile(), asked),
        cut: None,
    }
}

/// When each request ended, in the order of ending.
fn ends(engine: &mut Engine<u32>) -> Vec<(u32, Duration)> {
    let mut ends = Vec::new();
    while let Some(end) = engine.begin_step() {
        engine.end_step(|&tag, output| {
            if matches!(output, Output::Chunk { finish: Some(_), .. } | Output::Cut(_)) {
                ends.push((tag, end));
            }
        });
    }
    ends
}

fn batch(options: &SimOptions, lengths: &[u32]) -> Vec<(u32, Duration)> {
    let mut engine = Engine::new(options);
    for (tag, &tokens) in (1..).zip(lengths) {
        engine.submit(Duration::ZERO, job(options, u64::from(tag), tokens), tag);
    }
    ends(&mut engine)
}

#[test]
fn one_stream_takes_a_step_for_each_token() {
    let options = SimOptions::exact(Profile::reference(), 50);
    assert_eq!(batch(&options, &[204]), [(1, (A + B) * 204)]);
}

#[test]
fn a_batch_of_k_times_the_slots_takes_k_waves() {
    let options = SimOptions::exact(Profile::reference(), 8);
    let ends = batch(&options, &[100; 24]);
    let wave = (A + B * 8) * 100;
    let expected: Vec<_> = (1..=24).map(|tag: u32| (tag, wave * tag.div_ceil(8))).collect();
    assert_eq!(ends, expected);
}

#[test]
fn the_prediction_is_the_engine() {
    let lengths = [3, 20, 7, 7, 1, 30, 12, 5, 18, 2, 9];
    for slots in [1, 2, 3, 8, 50] {
        let options = SimOptions::exact(Profile::reference(), slots);
        let last = batch(&options, &lengths).last().expect("all end").1;
        assert_eq!(predict_total(A, B, slots, &lengths), last, "{slots} slots");
    }
    assert_eq!(predict_total(A, B, 4, &[]), Duration::ZERO);
}

#[test]
fn the_queue_is_served_in_order_of_arrival() {
    let options = SimOptions::exact(Profile::reference(), 1);
    let mut engine = Engine::new(&options);
    for tag in [5, 3, 9] {
        engine.submit(Duration::from_millis(u64::from(20 - tag)), job(&options, 1, 10), tag);
    }
    let start = Duration::from_millis(15);
    let each = (A + B) * 10;
    assert_eq!(ends(&mut engine), [(5, start + each), (3, start + each * 2), (9, start + each * 3)]);
}

#[test]
fn a_request_joins_at_the_next_step() {
    let options = SimOptions::exact(Profile::reference(), 2);
    let mut engine = Engine::new(&options);
    engine.submit(Duration::ZERO, job(&options, 1, 10), 1);
    engine.submit(A, job(&options, 2, 10), 2);
    let alone = A + B;
    let both = A + B * 2;
    assert_eq!(ends(&mut engine), [(1, alone + both * 9), (2, alone + both * 9 + alone)]);
}

#[test]
fn a_dropped_request_leaves_its_slot_and_the_queue() {
    let options = SimOptions::exact(Profile::reference(), 1);
    let mut engine = Engine::new(&options);
    for tag in 1..=3 {
        engine.submit(Duration::ZERO, job(&options, 1, 10), tag);
    }
    engine.begin_step();
    engine.end_step(|_, _| {});
    assert_eq!((engine.counters().requests_processing, engine.counters().requests_deferred), (1, 2));
    engine.drop_where(|&tag| tag != 3);
    assert_eq!((engine.counters().requests_processing, engine.counters().requests_deferred), (0, 1));
    assert_eq!(ends(&mut engine), [(3, (A + B) * 11)]);
    assert_eq!(engine.counters().tokens_predicted_total, 11);
}

#[test]
fn prefill_stalls_the_streams_that_decode() {
    let mut profile = Profile::reference().kindly();
    profile.prefill_per_token = Duration::from_micros(200);
    profile.prefill_tokens_per_step = 48;
    let options = SimOptions { unkind: true, ..SimOptions::exact(profile, 2) };
    let mut engine = Engine::new(&options);
    engine.submit(Duration::ZERO, job(&options, 1, 10), 1);
    let prompt = |tokens| Duration::from_micros(200) * tokens;
    // 48 of the 64 prompt tokens, then the other 16, which also give the first token.
    let first = A + prompt(48) + A + B + prompt(16);
    engine.submit(first, job(&options, 2, 10), 2);
    let met = A + B + prompt(48) + A + B * 2 + prompt(16);
    let expected = first + met + (A + B * 2) * 7;
    assert_eq!(ends(&mut engine).first(), Some(&(1, expected)));
    assert_eq!(engine.counters().prompt_tokens_total, 128);
}

#[test]
fn a_known_prefix_needs_no_prefill() {
    let mut options = SimOptions::exact(Profile::reference(), 1);
    options.unkind = true;
    let prompt = "One and the same long prompt, for each and every request of them.";
    let mut engine = Engine::new(&options);
    for tag in 1..=2 {
        let same = Job { prompt_tokens: count_tokens(prompt), prefix: blocks("", prompt), ..job(&options, tag, 20) };
        engine.submit(Duration::ZERO, same, tag);
    }
    let mut firsts = Vec::new();
    while engine.begin_step().is_some() {
        engine.end_step(|&tag, output| {
            if let Output::Chunk { tally, finish: Some(_), .. } = output {
                firsts.push((tag, tally.cached_tokens, tally.prompt));
            }
        });
    }
    let per_token = Duration::from_micros(200);
    assert_eq!(firsts, [(1, 0, A + B + per_token * 17), (2, 16, A + B + per_token)]);
}

#[test]
fn chunks_hold_the_tokens_of_the_answer() {
    let options = SimOptions { noise: 0.0, ..SimOptions::default() };
    let mut engine = Engine::new(&options);
    engine.submit(Duration::ZERO, job(&options, 1, 200), ());
    let (mut sizes, mut counted) = (Vec::new(), 0);
    while engine.begin_step().is_some() {
        engine.end_step(|(), output| {
            if let Output::Chunk { tokens, tally, .. } = output {
                sizes.push(tokens);
                counted = tally.output_tokens;
            }
        });
    }
    assert_eq!(sizes.iter().sum::<u32>(), counted);
    assert!(sizes.iter().all(|size| (1..=3).contains(size)));
    assert!([1, 2, 3].iter().all(|size| sizes.contains(size)));
}

#[test]
fn a_seed_decides_every_time() {
    let run = |seed| batch(&SimOptions { seed, slots: 4, ..SimOptions::default() }, &[200; 12]);
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn a_cut_frees_the_slot_where_it_says() {
    let options = SimOptions::exact(Profile::reference(), 1);
    let mut engine = Engine::new(&options);
    let cut = Some(Cut { after_tokens: 4, kind: CutKind::Reset });
    engine.submit(Duration::ZERO, Job { cut, ..job(&options, 1, 10) }, 1);
    engine.submit(Duration::ZERO, job(&options, 2, 10), 2);
    assert_eq!(ends(&mut engine), [(1, (A + B) * 4), (2, (A + B) * 14)]);
}

#[test]
fn a_slowdown_stretches_all_later_steps() {
    let options = SimOptions::exact(Profile::reference(), 1);
    let mut engine = Engine::new(&options);
    engine.submit(Duration::ZERO, job(&options, 1, 10), 1);
    engine.begin_step();
    engine.end_step(|_, _| {});
    engine.set_slowdown(2.0);
    assert_eq!(ends(&mut engine), [(1, (A + B) * 19)]);
}

#[test]
fn unequal_lengths_leave_slots_empty_at_the_end() {
    let mut profile = Profile::reference().kindly();
    profile.answer_length = Some(AnswerLength { mean: 204.0, standard_deviation: 20.0 });
    let options = SimOptions { unkind: true, ..SimOptions::exact(profile, 8) };
    let total = batch(&options, &[1_000; 8]).last().expect("all end").1;
    assert!(total > predict_total(A, B, 8, &[204; 8]) && total < predict_total(A, B, 8, &[270; 8]));
}

/// The legacy measurements: workers, batch, total seconds, tokens.
const LEGACY: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/data/legacy_grid.csv"));
/// Tokens of one of their answers, on average.
const LEGACY_ANSWER: u32 = 204;

#[test]
fn the_step_model_explains_the_legacy_measurements() {
    let mut squares = Vec::new();
    for line in LEGACY.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        let [workers, batch, measured, _] = fields[..] else { panic!("four fields in {line}") };
        let slots: u32 = workers.parse().expect("workers");
        // The rows that ran with the slots of their heading, and at the speed of the others.
        if !(8..=24).contains(&slots) {
            continue;
        }
        let lengths = vec![LEGACY_ANSWER; batch.parse().expect("batch")];
        let measured: f64 = measured.parse().expect("seconds");
        let error = (predict_total(A, B, slots, &lengths).as_secs_f64() / measured).ln();
        assert!(error.abs() < 0.15, "{line}: off by {error:.3}");
        squares.push(error * error);
    }
    assert_eq!(squares.len(), 72);
    let rms = (squares.iter().sum::<f64>() / squares.len() as f64).sqrt();
    assert!(rms < 0.06, "rms of the log of the total time: {rms:.4}");
}
