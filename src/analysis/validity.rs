//! Whether a sample measured the server, and not something else.

use super::quantile::median;
use crate::domain::plan::ValidityPlan;
use crate::domain::{InvalidReason, Measurement, RequestRecord};

/// So many samples of a cell say how long its answers usually are, where all answers of the
/// epoch are of the asked length.
const SAMPLES_OF_FIXED_LENGTH: usize = 5;
/// So many where answers end by themselves: fewer may happen to be much alike.
const SAMPLES_OF_VARYING_LENGTH: usize = 20;
/// Where none of so many answers ended early, hardly any will.
const ANSWERS_OF_FIXED_LENGTH: u64 = 50;
/// How much further from the usual length than any sample so far is not chance.
const BEYOND_THE_WIDEST: f64 = 2.0;
/// No bound on a mean length is smaller, tokens.
const LEAST_LENGTH_BOUND: f64 = 1.0;

/// What is usual in an epoch, going by its samples so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Usual {
    /// The median load time.
    pub load_seconds: Option<f64>,
    /// The mean output tokens of the cell's valid samples.
    pub output_lengths: Vec<f64>,
    /// Successful answers of all valid samples of the epoch, whatever their cell.
    pub answers: u64,
    /// Those of them that ended before the asked length.
    pub short_answers: u64,
}

/// The reasons to reject a sample, causes before what may follow from them; none for a valid
/// one.
pub fn judge(
    records: &[RequestRecord],
    measurement: &Measurement,
    usual: &Usual,
    bounds: &ValidityPlan,
) -> Vec<InvalidReason> {
    let verdicts = [
        (InvalidReason::FailedRequests, too_many_failed(measurement, bounds) || failure_set_the_time(records)),
        (InvalidReason::ModelLoad, model_was_loaded(measurement, usual, bounds)),
        (InvalidReason::PrefixCache, records.iter().any(|record| cache_answered(record, bounds))),
        (InvalidReason::OutputLength, length_is_unusual(measurement, usual, bounds)),
        (InvalidReason::ClientLimited, client_was_the_limit(measurement, bounds)),
    ];
    verdicts.into_iter().filter_map(|(reason, holds)| holds.then_some(reason)).collect()
}

fn too_many_failed(measurement: &Measurement, bounds: &ValidityPlan) -> bool {
    f64::from(measurement.failed_requests) > bounds.failed_requests_ratio * f64::from(measurement.requests)
}

/// Whether the total is that of a failure: a single stream that hangs until its time-out
/// would make a sound batch look slow.
fn failure_set_the_time(records: &[RequestRecord]) -> bool {
    records.iter().max_by_key(|record| record.ended).is_some_and(|last| !last.succeeded())
}

fn model_was_loaded(measurement: &Measurement, usual: &Usual, bounds: &ValidityPlan) -> bool {
    let usual = usual.load_seconds.unwrap_or(0.0) * bounds.load_time_of_median;
    measurement.load_seconds.is_some_and(|load| load > bounds.load_time.as_secs_f64().max(usual))
}

/// Whether the answers' mean length has moved away from the cell's usual one: then neither
/// times nor rates are comparable.
///
/// Where answers end by themselves, the means of small batches scatter by more than any
/// share that would find a real change. So the bound grows with the scatter that was seen:
/// twice the widest distance from the usual of any valid sample. The widest one, and not a
/// median distance, for that is 0 where most answers reach the asked length and a few do
/// not. Of 20 samples, twice the widest is about four standard deviations.
fn length_is_unusual(measurement: &Measurement, usual: &Usual, bounds: &ValidityPlan) -> bool {
    let Some(length) = mean_output_tokens(measurement) else { return false };
    let is_fixed = usual.short_answers == 0 && usual.answers >= ANSWERS_OF_FIXED_LENGTH;
    let needed = if is_fixed { SAMPLES_OF_FIXED_LENGTH } else { SAMPLES_OF_VARYING_LENGTH };
    let Some(middle) = median(&usual.output_lengths).filter(|_| usual.output_lengths.len() >= needed) else {
        return false;
    };
    let widest = usual.output_lengths.iter().map(|length| (length - middle).abs()).fold(0.0, f64::max);
    let bound = (bounds.output_length_ratio * middle).max(BEYOND_THE_WIDEST * widest).max(LEAST_LENGTH_BOUND);
    (length - middle).abs() > bound
}

/// The mean length of a sample's successful answers, tokens, if it has any.
pub fn mean_output_tokens(measurement: &Measurement) -> Option<f64> {
    let answers = measurement.requests.checked_sub(measurement.failed_requests).filter(|&answers| answers > 0)?;
    Some(measurement.output_tokens as f64 / f64::from(answers))
}

fn cache_answered(record: &RequestRecord, bounds: &ValidityPlan) -> bool {
    let Some(cached) = record.tokens.cached_prompt else { return false };
    let share = record.tokens.prompt.unwrap_or(0) as f64 * bounds.cached_prompt_ratio;
    cached as f64 > share.max(bounds.cached_prompt_tokens as f64)
}

fn client_was_the_limit(measurement: &Measurement, bounds: &ValidityPlan) -> bool {
    let median_gap = measurement.inter_token_latency.map_or(0.0, |itl| itl.p50);
    let lag_bound = bounds.timer_lag.as_secs_f64().max(bounds.timer_lag_ratio * median_gap);
    measurement.client_cpu_ratio > bounds.client_cpu_ratio
        || measurement.timer_lag_p99_seconds.is_some_and(|lag| lag > lag_bound)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::measure::tests::stream;
    use crate::analysis::measure::{Circumstances, measure};
    use crate::domain::{Cell, FailureKind, RequestFailure};
    use std::time::Duration;

    /// Two sound requests, changed by `change`, and what is said of them.
    fn check(change: impl Fn(&mut [RequestRecord], &mut Circumstances), expected: &[InvalidReason]) {
        let chunks: Vec<u64> = (10..=110).step_by(10).collect();
        let mut records = [stream(0, &chunks, 110), stream(0, &chunks, 110)];
        let mut circumstances = Circumstances {
            cell: Cell::new(2, 2),
            slots: None,
            gpu_share: None,
            timer_lag_p99: None,
            client_cpu_ratio: 0.01,
        };
        change(&mut records, &mut circumstances);
        let (measurement, _) = measure(&records, circumstances).expect("has records");
        let usual = Usual { load_seconds: Some(0.05), ..Usual::default() };
        assert_eq!(judge(&records, &measurement, &usual, &ValidityPlan::default()), expected);
    }

    #[test]
    fn a_sound_sample_is_valid() {
        check(|_, _| {}, &[]);
    }

    #[test]
    fn a_late_or_busy_client_is_the_limit() {
        check(|_, c| c.timer_lag_p99 = Some(Duration::from_micros(1900)), &[]);
        check(|_, c| c.timer_lag_p99 = Some(Duration::from_micros(2000)), &[]);
        check(|_, c| c.timer_lag_p99 = Some(Duration::from_micros(2100)), &[InvalidReason::ClientLimited]);
        check(|_, c| c.client_cpu_ratio = 0.8, &[]);
        check(|_, c| c.client_cpu_ratio = 0.81, &[InvalidReason::ClientLimited]);
    }

    #[test]
    fn a_cached_prompt_is_found_out_and_a_templates_few_tokens_are_not() {
        let cached = |prompt, cached| {
            move |records: &mut [RequestRecord], _: &mut Circumstances| {
                records[1].tokens.prompt = Some(prompt);
                records[1].tokens.cached_prompt = Some(cached);
            }
        };
        check(cached(64, 8), &[]);
        check(cached(64, 9), &[InvalidReason::PrefixCache]);
        check(cached(200, 20), &[]);
        check(cached(200, 21), &[InvalidReason::PrefixCache]);
    }

    #[test]
    fn a_load_is_told_from_ollamas_usual_overhead() {
        let load = |seconds| {
            move |records: &mut [RequestRecord], _: &mut Circumstances| {
                records[0].timings.load = Some(Duration::from_secs_f64(seconds));
            }
        };
        // The epoch's median is 0.05 s, twenty times that a second.
        check(load(0.9), &[]);
        check(load(1.0), &[]);
        check(load(1.1), &[InvalidReason::ModelLoad]);
    }

    #[test]
    fn failures_reject_a_sample() {
        let fail = |records: &mut [RequestRecord], _: &mut Circumstances| {
            records[0].failure = Some(RequestFailure::new(FailureKind::Http5xx, "503"));
        };
        check(fail, &[InvalidReason::FailedRequests]);
    }

    /// The measurement of forty requests that all run at once.
    fn forty(records: &[RequestRecord]) -> Measurement {
        let circumstances = Circumstances {
            cell: Cell::new(40, 40),
            slots: None,
            gpu_share: None,
            timer_lag_p99: None,
            client_cpu_ratio: 0.0,
        };
        measure(records, circumstances).expect("has records").0
    }

    #[test]
    fn one_failure_of_many_is_borne_unless_it_ends_last() {
        for (ended, expected) in [(50, &[][..]), (500, &[InvalidReason::FailedRequests])] {
            let mut records = vec![stream(0, &[10, 20, 30, 110], 110); 40];
            records[7].failure = Some(RequestFailure::new(FailureKind::TimeoutBetweenTokens, "silent"));
            records[7].ended = Duration::from_millis(ended);
            let measurement = forty(&records);
            assert_eq!(judge(&records, &measurement, &Usual::default(), &ValidityPlan::default()), expected);
        }
    }

    #[test]
    fn so_many_failures_as_are_borne_are_borne() {
        let judged = |failures: usize, fails: fn(&mut RequestRecord)| {
            let mut records = vec![stream(0, &[10, 20, 30, 110], 110); 40];
            records[..failures].iter_mut().for_each(fails);
            let measurement = forty(&records);
            let plan = ValidityPlan { failed_requests_ratio: 0.05, ..ValidityPlan::default() };
            (mean_output_tokens(&measurement), judge(&records, &measurement, &Usual::default(), &plan))
        };
        let early = |record: &mut RequestRecord| {
            record.failure = Some(RequestFailure::new(FailureKind::Reset, "gone"));
            record.ended = Duration::from_millis(20);
        };
        assert_eq!(judged(2, early), (Some(4.0), vec![]));
        assert_eq!(judged(3, early), (Some(4.0), vec![InvalidReason::FailedRequests]));
        assert_eq!(judged(40, early).0, None, "no answer has no length");
    }

    /// A sample whose answers have this mean length, in an epoch whose samples of the cell had
    /// `lengths` and of whose other answers so many were short.
    fn check_length(name: &str, length: u64, lengths: &[f64], (answers, short_answers): (u64, u64), expected: bool) {
        let records = vec![stream(0, &vec![1; usize::try_from(length).expect("small")], 2_000); 2];
        let circumstances = Circumstances {
            cell: Cell::new(2, 2),
            slots: None,
            gpu_share: None,
            timer_lag_p99: None,
            client_cpu_ratio: 0.0,
        };
        let (measurement, _) = measure(&records, circumstances).expect("has records");
        assert_eq!(mean_output_tokens(&measurement), Some(length as f64));
        let usual = Usual { load_seconds: None, output_lengths: lengths.to_vec(), answers, short_answers };
        let reasons = judge(&records, &measurement, &usual, &ValidityPlan::default());
        assert_eq!(reasons, if expected { vec![InvalidReason::OutputLength] } else { Vec::new() }, "{name}");
    }

    #[test]
    fn a_length_that_moved_away_is_told_from_one_that_varies() {
        let fixed = (50, 0);
        check_length("a tenth less", 180, &[200.0; 5], fixed, false);
        check_length("more than that", 179, &[200.0; 5], fixed, true);
        check_length("a tenth more", 220, &[200.0; 5], fixed, false);
        check_length("longer yet", 221, &[200.0; 5], fixed, true);
        check_length("too few samples", 100, &[200.0; 4], fixed, false);
        check_length("too few answers to call it fixed", 100, &[200.0; 19], (49, 0), false);
        check_length("enough samples of whatever answers", 100, &[200.0; 20], (20, 0), true);
        check_length("answers of a few tokens", 3, &[4.0; 5], fixed, false);
        check_length("half of a few", 2, &[4.0; 5], fixed, true);
        check_length("one that was off among them", 179, &[200.0, 200.0, 230.0, 200.0, 200.0], fixed, false);

        // Lengths that vary by a fifth around 150, as single answers do.
        let varying: Vec<f64> = (0..20).map(|n| 120.0 + 3.0 * f64::from(n)).collect();
        let ends_early = (1_000, 400);
        check_length("as far as ever", 120, &varying, ends_early, false);
        check_length("a little further", 95, &varying, ends_early, false);
        check_length("much further", 90, &varying, ends_early, true);
        check_length("too few to know", 60, &varying[..19], ends_early, false);
        // Nine in ten reach the asked length: the median distance is 0.
        let capped: Vec<f64> = (0..20).map(|n| if n % 10 == 0 { 110.0 } else { 200.0 }).collect();
        check_length("a short one of a few", 100, &capped, ends_early, false);
        check_length("one of no length", 10, &capped, ends_early, true);
    }
}
