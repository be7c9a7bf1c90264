//! Whether a sample measured the server, and not something else.

use crate::domain::{InvalidReason, Measurement, RequestRecord};

/// The bounds beyond which a sample enters no estimate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// Timer lag p99, seconds: the larger of this and a share of the median ITL.
    pub timer_lag_seconds: f64,
    pub timer_lag_of_inter_token_latency: f64,
    /// Own processor time / (wall time × own cores).
    pub client_cpu_ratio: f64,
    /// Cached prompt tokens of a request: the larger of this and a share of its prompt.
    /// Chat templates share a few.
    pub cached_prompt_tokens: u64,
    pub cached_prompt_ratio: f64,
    /// A model load, seconds: the larger of this and a multiple of the epoch's median.
    /// Ollama's load time is never 0.
    pub load_seconds: f64,
    pub load_of_median: f64,
    /// Failed requests / requests.
    pub failed_requests_ratio: f64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            timer_lag_seconds: 0.002,
            timer_lag_of_inter_token_latency: 0.1,
            client_cpu_ratio: 0.8,
            cached_prompt_tokens: 8,
            cached_prompt_ratio: 0.1,
            load_seconds: 0.5,
            load_of_median: 20.0,
            failed_requests_ratio: 0.05,
        }
    }
}

/// The reasons to reject a sample; none for a valid one.
///
/// `median_load_seconds` is of the epoch's samples so far.
pub fn judge(
    records: &[RequestRecord],
    measurement: &Measurement,
    median_load_seconds: Option<f64>,
    bounds: &Bounds,
) -> Vec<InvalidReason> {
    let verdicts = [
        (InvalidReason::FailedRequests, too_many_failed(measurement, bounds) || failure_set_the_time(records)),
        (InvalidReason::ModelLoad, model_was_loaded(measurement, median_load_seconds, bounds)),
        (InvalidReason::PrefixCache, records.iter().any(|record| cache_answered(record, bounds))),
        (InvalidReason::ClientLimited, client_was_the_limit(measurement, bounds)),
    ];
    verdicts.into_iter().filter_map(|(reason, holds)| holds.then_some(reason)).collect()
}

fn too_many_failed(measurement: &Measurement, bounds: &Bounds) -> bool {
    f64::from(measurement.failed_requests) > bounds.failed_requests_ratio * f64::from(measurement.requests)
}

/// Whether the total is that of a failure: a single stream that hangs until its time-out
/// would make a sound batch look slow.
fn failure_set_the_time(records: &[RequestRecord]) -> bool {
    records.iter().max_by_key(|record| record.ended).is_some_and(|last| !last.succeeded())
}

fn model_was_loaded(measurement: &Measurement, median_load_seconds: Option<f64>, bounds: &Bounds) -> bool {
    let usual = median_load_seconds.unwrap_or(0.0) * bounds.load_of_median;
    measurement.load_seconds.is_some_and(|load| load > bounds.load_seconds.max(usual))
}

fn cache_answered(record: &RequestRecord, bounds: &Bounds) -> bool {
    let Some(cached) = record.tokens.cached_prompt else { return false };
    let share = record.tokens.prompt.unwrap_or(0) as f64 * bounds.cached_prompt_ratio;
    cached as f64 > share.max(bounds.cached_prompt_tokens as f64)
}

fn client_was_the_limit(measurement: &Measurement, bounds: &Bounds) -> bool {
    let median_gap = measurement.inter_token_latency.map_or(0.0, |itl| itl.p50);
    let lag_bound = bounds.timer_lag_seconds.max(bounds.timer_lag_of_inter_token_latency * median_gap);
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
        let mut circumstances =
            Circumstances { cell: Cell::new(2, 2), slots: None, timer_lag_p99: None, client_cpu_ratio: 0.01 };
        change(&mut records, &mut circumstances);
        let (measurement, _) = measure(&records, circumstances).expect("has records");
        assert_eq!(judge(&records, &measurement, Some(0.05), &Bounds::default()), expected);
    }

    #[test]
    fn a_sound_sample_is_valid() {
        check(|_, _| {}, &[]);
    }

    #[test]
    fn a_late_or_busy_client_is_the_limit() {
        check(|_, c| c.timer_lag_p99 = Some(Duration::from_micros(1900)), &[]);
        check(|_, c| c.timer_lag_p99 = Some(Duration::from_micros(2100)), &[InvalidReason::ClientLimited]);
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
        check(load(1.1), &[InvalidReason::ModelLoad]);
    }

    #[test]
    fn failures_reject_a_sample() {
        let fail = |records: &mut [RequestRecord], _: &mut Circumstances| {
            records[0].failure = Some(RequestFailure::new(FailureKind::Http5xx, "503"));
        };
        check(fail, &[InvalidReason::FailedRequests]);
    }

    #[test]
    fn one_failure_of_many_is_borne_unless_it_ends_last() {
        for (ended, expected) in [(50, &[][..]), (500, &[InvalidReason::FailedRequests])] {
            let mut records = vec![stream(0, &[10, 20, 30, 110], 110); 40];
            records[7].failure = Some(RequestFailure::new(FailureKind::TimeoutBetweenTokens, "silent"));
            records[7].ended = Duration::from_millis(ended);
            let circumstances =
                Circumstances { cell: Cell::new(40, 40), slots: None, timer_lag_p99: None, client_cpu_ratio: 0.0 };
            let (measurement, _) = measure(&records, circumstances).expect("has records");
            assert_eq!(judge(&records, &measurement, None, &Bounds::default()), expected);
        }
    }
}
