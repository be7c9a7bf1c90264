//! The arithmetic of a sample: from the records of its requests to its figures.

use std::collections::BTreeMap;
use std::time::Duration;

use super::parallelism::DecodingLevel;
use super::quantile::{median, quantiles};
use crate::domain::{Cell, Conditions, Latencies, Measurement, RequestRecord, TokenSource};

/// The share of the possible streams that must decode for the steady rate to count.
const STEADY_SHARE: f64 = 0.9;
/// A steady stretch shorter than this many median gaps between tokens says nothing.
const STEADY_GAPS: f64 = 5.0;
/// How far tokens and chunks may differ for a chunk to count as one token.
const TOKENS_PER_CHUNK_TOLERANCE: f64 = 0.02;

/// What the sample knows beside its records.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Circumstances {
    pub cell: Cell,
    /// The server's slots, where it tells.
    pub slots: Option<u32>,
    /// The share of the model in the GPU's memory, where the server tells.
    pub gpu_share: Option<f64>,
    pub timer_lag_p99: Option<Duration>,
    /// Own processor time / (wall time × own cores).
    pub client_cpu_ratio: f64,
}

/// Computes a sample's figures, or `None` of no records.
///
/// total = first send → last completion; seconds per request = total / B; tokens per
/// second = output tokens of all successful answers / total.
pub fn measure(records: &[RequestRecord], circumstances: Circumstances) -> Option<(Measurement, Latencies)> {
    let first_sent = records.iter().map(|record| record.sent).min()?;
    let last_ended = records.iter().map(|record| record.ended).max()?;
    let total = last_ended.saturating_sub(first_sent).as_secs_f64();
    let successes: Vec<&RequestRecord> = records.iter().filter(|record| record.succeeded()).collect();
    let latencies = latencies(&successes);
    let level = DecodingLevel::of(records);
    // Where tokens per chunk are unknown the mean gap of the requests must do.
    let median_gap = median(&latencies.inter_token_latency).or_else(|| median(&latencies.time_per_output_token));
    let output_tokens = successes.iter().map(|record| record.tokens.output).sum();
    let requests = u32::try_from(records.len()).ok()?;

    let mut failures = BTreeMap::new();
    for failure in records.iter().filter_map(|record| record.failure.as_ref()) {
        *failures.entry(failure.kind).or_insert(0) += 1;
    }
    let queued: Vec<f64> = successes.iter().filter_map(|record| record.queue_wait()).map(|d| d.as_secs_f64()).collect();
    let waits: Vec<f64> = records.iter().map(|record| record.sent.saturating_sub(record.due).as_secs_f64()).collect();
    let measurement = Measurement {
        total_seconds: total,
        seconds_per_request: total / f64::from(requests),
        tokens_per_second: rate(output_tokens, total),
        steady_tokens_per_second: steady_rate(&successes, &level, circumstances, median_gap),
        prompt_tokens_per_second: prompt_rate(&successes),
        requests,
        failed_requests: failures.values().sum(),
        failures,
        output_tokens,
        prompt_tokens: sum_known(&successes, |record| record.tokens.prompt),
        cached_prompt_tokens: sum_known(&successes, |record| record.tokens.cached_prompt),
        token_source: successes.iter().map(|record| record.tokens.source).max().unwrap_or(TokenSource::Chunks),
        short_outputs: u32::try_from(successes.iter().filter(|record| record.is_short()).count()).ok()?,
        observed_parallelism: level.mean(),
        observed_parallelism_peak: level.peak(Duration::from_secs_f64(median_gap.unwrap_or(0.0) / 2.0)),
        reported_slots: circumstances.slots,
        time_to_first_token: quantiles(&latencies.time_to_first_token),
        inter_token_latency: quantiles(&latencies.inter_token_latency),
        time_per_output_token: quantiles(&latencies.time_per_output_token),
        request_duration: quantiles(&latencies.request_duration),
        worker_wait: quantiles(&waits),
        queue_wait: quantiles(&queued),
        load_seconds: successes.iter().filter_map(|record| record.timings.load).max().map(|load| load.as_secs_f64()),
        gpu_share: circumstances.gpu_share,
        timer_lag_p99_seconds: circumstances.timer_lag_p99.map(|lag| lag.as_secs_f64()),
        client_cpu_ratio: circumstances.client_cpu_ratio,
        conditions: Conditions::default(),
    };
    Some((measurement, latencies))
}

fn rate(tokens: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { tokens as f64 / seconds } else { 0.0 }
}

/// The sum of a count that every answer must tell; `None` where one did not.
fn sum_known(successes: &[&RequestRecord], count: impl Fn(&RequestRecord) -> Option<u64>) -> Option<u64> {
    if successes.is_empty() {
        return None;
    }
    successes.iter().map(|record| count(record)).sum()
}

/// Uncached prompt tokens / the server's time on them.
fn prompt_rate(successes: &[&RequestRecord]) -> Option<f64> {
    let seconds: f64 = successes.iter().map(|r| Some(r.timings.prompt?.as_secs_f64())).sum::<Option<f64>>()?;
    let processed: u64 = successes
        .iter()
        .map(|record| Some(record.tokens.prompt?.saturating_sub(record.tokens.cached_prompt.unwrap_or(0))))
        .sum::<Option<u64>>()?;
    (seconds > 0.0).then(|| processed as f64 / seconds)
}

fn latencies(successes: &[&RequestRecord]) -> Latencies {
    let mut latencies = Latencies::default();
    for record in successes {
        latencies.time_to_first_token.extend(record.time_to_first_token().map(|d| d.as_secs_f64()));
        latencies.time_per_output_token.extend(record.time_per_output_token().map(|d| d.as_secs_f64()));
        latencies.request_duration.push(record.duration().as_secs_f64());
        match tokens_of_later_chunks(record) {
            Some(tokens) => {
                for ((before, after), tokens) in record.chunks.iter().zip(record.chunks.iter().skip(1)).zip(tokens) {
                    let gap = (after.at - before.at).as_secs_f64() / f64::from(tokens);
                    latencies.inter_token_latency.extend(std::iter::repeat_n(gap, tokens as usize));
                }
            }
            None => latencies.requests_without_inter_token_latency += 1,
        }
    }
    latencies
}

/// How many tokens each chunk after the first holds, or `None` where that is unknown.
///
/// As the server says; else one each, where the server's count agrees with the number of
/// chunks. A count that is itself of chunks agrees with nothing.
fn tokens_of_later_chunks(record: &RequestRecord) -> Option<Vec<u32>> {
    if let Some(told) = record.chunks.iter().skip(1).map(|chunk| chunk.tokens.filter(|&n| n > 0)).collect() {
        return Some(told);
    }
    let (chunks, tokens) = (record.chunks.len() as f64, record.tokens.output as f64);
    let agree = (tokens - chunks).abs() <= TOKENS_PER_CHUNK_TOLERANCE * tokens;
    (agree && record.tokens.source != TokenSource::Chunks).then(|| vec![1; record.chunks.len().saturating_sub(1)])
}

/// Tokens per second while at least 90 % of min(W, B, slots) streams decode.
///
/// A chunk's tokens are spread evenly over the gap that it ends; a first chunk has no gap
/// and counts where it falls inside.
fn steady_rate(
    successes: &[&RequestRecord],
    level: &DecodingLevel,
    circumstances: Circumstances,
    median_gap: Option<f64>,
) -> Option<f64> {
    let possible = circumstances.cell.concurrency().min(circumstances.slots.unwrap_or(u32::MAX)).max(1);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and a u32")]
    let enough = (STEADY_SHARE * f64::from(possible)).ceil() as u32;
    let windows = Windows::new(level.at_least(enough));
    let seconds = windows.total().as_secs_f64();
    if seconds <= 0.0 || seconds < STEADY_GAPS * median_gap? {
        return None;
    }
    let tokens: f64 = successes.iter().map(|record| tokens_within(record, &windows)).sum();
    Some(tokens / seconds)
}

fn tokens_within(record: &RequestRecord, windows: &Windows) -> f64 {
    let mean_tokens = record.tokens.output as f64 / record.chunks.len().max(1) as f64;
    let told = record.chunks.iter().all(|chunk| chunk.tokens.is_some());
    let weight = |tokens: Option<u32>| tokens.filter(|_| told).map_or(mean_tokens, f64::from);
    let first = record.chunks.first().filter(|chunk| windows.contains(chunk.at)).map_or(0.0, |c| weight(c.tokens));
    let later = record.chunks.iter().zip(record.chunks.iter().skip(1)).map(|(before, after)| {
        let gap = (after.at - before.at).as_secs_f64();
        let inside = windows.elapsed(after.at).saturating_sub(windows.elapsed(before.at)).as_secs_f64();
        // Chunks that were read together share a stamp.
        let share = if gap > 0.0 { inside / gap } else { f64::from(u8::from(windows.contains(after.at))) };
        share * weight(after.tokens)
    });
    first + later.sum::<f64>()
}

/// Stretches of time, ascending and apart, with the time elapsed inside them before each.
struct Windows {
    stretches: Vec<(Duration, Duration, Duration)>,
}

impl Windows {
    fn new(stretches: Vec<(Duration, Duration)>) -> Self {
        let mut elapsed = Duration::ZERO;
        let stretches = stretches
            .into_iter()
            .map(|(start, end)| {
                let before = elapsed;
                elapsed += end - start;
                (start, end, before)
            })
            .collect();
        Self { stretches }
    }

    fn total(&self) -> Duration {
        self.stretches.last().map_or(Duration::ZERO, |&(start, end, before)| before + (end - start))
    }

    /// The last stretch that starts at or before `at`.
    fn last_before(&self, at: Duration) -> Option<&(Duration, Duration, Duration)> {
        let index = self.stretches.partition_point(|&(start, ..)| start <= at);
        self.stretches.get(index.checked_sub(1)?)
    }

    /// How much of the time until `at` lies inside.
    fn elapsed(&self, at: Duration) -> Duration {
        self.last_before(at).map_or(Duration::ZERO, |&(start, end, before)| before + (at.min(end) - start))
    }

    fn contains(&self, at: Duration) -> bool {
        self.last_before(at).is_some_and(|&(start, end, _)| start < at && at <= end)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::domain::{Chunk, FailureKind, RequestFailure, ServerTimings, TokenCounts};

    /// A successful request sent at `sent` ms, one token a chunk at each of `chunks` ms, ended at `ended` ms.
    pub(in crate::analysis) fn stream(sent: u64, chunks: &[u64], ended: u64) -> RequestRecord {
        RequestRecord {
            due: Duration::ZERO,
            sent: Duration::from_millis(sent),
            ended: Duration::from_millis(ended),
            chunks: chunks.iter().map(|&at| Chunk { at: Duration::from_millis(at), tokens: None }).collect(),
            tokens: TokenCounts {
                output: chunks.len() as u64,
                source: TokenSource::Usage,
                prompt: Some(10),
                cached_prompt: Some(0),
            },
            timings: ServerTimings::default(),
            asked_tokens: u32::try_from(chunks.len()).expect("few"),
            failure: None,
        }
    }

    fn measured(records: &[RequestRecord], workers: u32, slots: Option<u32>) -> (Measurement, Latencies) {
        let cell = Cell::new(workers, u32::try_from(records.len()).expect("few"));
        let circumstances = Circumstances { cell, slots, gpu_share: None, timer_lag_p99: None, client_cpu_ratio: 0.0 };
        measure(records, circumstances).expect("has records")
    }

    fn every(step: u64, from: u64, count: u64) -> Vec<u64> {
        (0..count).map(|n| from + n * step).collect()
    }

    #[test]
    fn the_legacy_definitions_hold() {
        let records = [stream(0, &every(10, 100, 11), 210), stream(5, &every(10, 100, 31), 405)];
        let (measurement, latencies) = measured(&records, 2, None);
        assert_eq!(measurement.total_seconds, 0.405);
        assert_eq!(measurement.seconds_per_request, 0.2025);
        assert_eq!(measurement.output_tokens, 42);
        assert_eq!(measurement.tokens_per_second, 42.0 / 0.405);
        assert_eq!(measurement.prompt_tokens, Some(20));
        assert_eq!(latencies.time_to_first_token, [0.1, 0.095]);
        assert_eq!(latencies.inter_token_latency.len(), 40);
        assert!(latencies.inter_token_latency.iter().all(|gap| (gap - 0.01).abs() < 1e-12));
        assert_eq!(measurement.observed_parallelism, Some((100.0 * 2.0 + 200.0) / 300.0));
        assert_eq!(measurement.observed_parallelism_peak, Some(2));
    }

    #[test]
    fn failures_count_apart_and_their_tokens_do_not_count() {
        let mut failed = stream(0, &[50, 60], 500);
        failed.failure = Some(RequestFailure::new(FailureKind::Reset, "gone"));
        let (measurement, latencies) = measured(&[stream(0, &every(10, 100, 10), 190), failed], 2, None);
        assert_eq!(measurement.failed_requests, 1);
        assert_eq!(measurement.failures, BTreeMap::from([(FailureKind::Reset, 1)]));
        assert_eq!((measurement.output_tokens, measurement.total_seconds), (10, 0.5));
        assert_eq!(latencies.request_duration, [0.19]);
    }

    #[test]
    fn a_gap_is_shared_over_the_tokens_of_its_chunk() {
        let mut record = stream(0, &[100, 130, 150], 150);
        record.tokens.output = 6;
        for (chunk, tokens) in record.chunks.iter_mut().zip([1, 3, 2]) {
            chunk.tokens = Some(tokens);
        }
        let (_, latencies) = measured(&[record], 1, None);
        assert_eq!(latencies.inter_token_latency, [0.01; 5]);
        assert_eq!(latencies.time_per_output_token, [0.01]);
    }

    #[test]
    fn chunks_of_unknown_size_give_no_inter_token_latency() {
        let mut packed = stream(0, &every(10, 100, 50), 600);
        packed.tokens.output = 52;
        let mut uncounted = stream(0, &every(10, 100, 50), 600);
        uncounted.tokens.source = TokenSource::Chunks;
        let (_, latencies) = measured(&[packed.clone(), uncounted], 2, None);
        assert_eq!(latencies.requests_without_inter_token_latency, 2);
        assert!(latencies.inter_token_latency.is_empty());
        packed.tokens.output = 51;
        assert_eq!(measured(&[packed], 1, None).1.inter_token_latency.len(), 49);
    }

    #[test]
    fn the_steady_rate_leaves_out_a_half_empty_wave() {
        // Two streams of 100 tokens/s each for a second, then one alone for another.
        let records = [stream(0, &every(10, 100, 101), 1100), stream(0, &every(10, 100, 201), 2100)];
        let (measurement, _) = measured(&records, 2, None);
        let steady = measurement.steady_tokens_per_second.expect("a second of it");
        assert!((steady - 200.0).abs() < 1e-6, "{steady}");
        assert!(measurement.tokens_per_second < 150.0);
        // A server of one slot is steady with one stream.
        let one_slot = measured(&records, 2, Some(1)).0.steady_tokens_per_second.expect("all of it");
        assert!((one_slot - 150.0).abs() < 1e-6, "{one_slot}");
    }

    #[test]
    fn a_count_that_one_answer_withholds_is_unknown_for_the_sample() {
        let mut silent = stream(0, &[1, 2], 2);
        silent.tokens.prompt = None;
        assert_eq!(measured(&[stream(0, &[1, 2], 2), silent], 2, None).0.prompt_tokens, None);
    }

    #[test]
    fn a_queue_is_what_the_servers_own_times_leave_of_the_first_wait() {
        let told = |load: Option<u64>, prompt: Option<u64>| {
            let mut record = stream(0, &[100, 110], 110);
            let [load, prompt] = [load, prompt].map(|time| time.map(Duration::from_millis));
            record.timings = ServerTimings { load, prompt, decode: None };
            record
        };
        let median_wait = |record| measured(&[record], 1, None).0.queue_wait.map(|wait| wait.p50);
        assert_eq!(median_wait(told(Some(5), Some(20))), Some(0.075));
        assert_eq!(median_wait(told(None, Some(20))), Some(0.08));
        // Two clocks: the server's sum may exceed what the client saw.
        assert_eq!(median_wait(told(Some(90), Some(20))), Some(0.0));
        assert_eq!(median_wait(told(Some(5), None)), None, "without the prompt's time nothing is known");
        let some_tell = measured(&[told(None, Some(20)), told(None, None)], 2, None).0;
        assert_eq!(some_tell.queue_wait.map(|wait| (wait.p50, wait.p99)), Some((0.08, 0.08)));
    }

    #[test]
    fn prompts_are_processed_at_the_rate_of_what_was_not_cached() {
        let told = |prompt: Option<u64>, cached: Option<u64>, milliseconds: Option<u64>| {
            let mut record = stream(0, &[100, 110], 110);
            (record.tokens.prompt, record.tokens.cached_prompt) = (prompt, cached);
            record.timings.prompt = milliseconds.map(Duration::from_millis);
            record
        };
        let rate = |records: &[RequestRecord]| measured(records, 2, None).0.prompt_tokens_per_second;
        let whole = told(Some(10), None, Some(30));
        assert_eq!(rate(&[told(Some(10), Some(4), Some(20)), whole.clone()]), Some(320.0));
        assert_eq!(rate(&[told(Some(4), Some(10), Some(20)), whole.clone()]), Some(200.0));
        assert_eq!(rate(&[told(Some(10), None, None), whole.clone()]), None);
        assert_eq!(rate(&[told(None, None, Some(20)), whole]), None);
        assert_eq!(rate(&[told(Some(10), None, Some(0))]), None, "in no time there is no rate");
    }

    #[test]
    fn tokens_in_no_time_have_no_rate() {
        assert_eq!(measured(&[stream(5, &[5, 5], 5)], 1, None).0.tokens_per_second, 0.0);
    }

    #[test]
    fn a_peak_is_held_for_half_a_median_gap() {
        // Gaps of 10 ms; the two overlap for so many milliseconds.
        for (overlap, peak) in [(4, 1), (5, 2)] {
            let records = [stream(0, &every(10, 100, 11), 200), stream(0, &every(10, 200 - overlap, 11), 300)];
            assert_eq!(measured(&records, 2, None).0.observed_parallelism_peak, Some(peak), "{overlap}");
        }
    }

    #[test]
    fn a_chunk_of_no_tokens_leaves_the_others_uncounted() {
        let mut record = stream(0, &[100, 130, 150], 150);
        for (chunk, tokens) in record.chunks.iter_mut().zip([1, 0, 2]) {
            chunk.tokens = Some(tokens);
        }
        // As many tokens as chunks all the same: one each.
        assert_eq!(measured(&[record.clone()], 1, None).1.inter_token_latency.len(), 2);
        record.tokens.output = 6;
        assert_eq!(measured(&[record], 1, None).1.requests_without_inter_token_latency, 1);
    }

    #[test]
    fn a_steady_stretch_is_at_least_five_gaps_long() {
        // Two streams overlap for so many gaps of 10 ms.
        for (gaps, is_steady) in [(4, false), (5, true)] {
            let records =
                [stream(0, &every(10, 100, 11), 200), stream(0, &every(10, 200 - 10 * gaps, 11), 300 - 10 * gaps)];
            let steady = measured(&records, 2, None).0.steady_tokens_per_second;
            assert_eq!(steady.is_some(), is_steady, "{gaps}: {steady:?}");
        }
        // One whose streams never overlap has none.
        let apart = [stream(0, &every(10, 100, 11), 200), stream(0, &every(10, 300, 11), 400)];
        assert_eq!(measured(&apart, 2, None).0.steady_tokens_per_second, None);
    }

    #[test]
    fn windows_are_open_at_their_start() {
        let ms = Duration::from_millis;
        let windows = Windows::new(vec![(ms(10), ms(20)), (ms(30), ms(50))]);
        assert_eq!(windows.total(), ms(30));
        let seen = [5, 10, 11, 20, 25, 30, 40, 50, 60].map(|at| (windows.contains(ms(at)), windows.elapsed(ms(at))));
        let expected = [
            (false, 0),
            (false, 0),
            (true, 1),
            (true, 10),
            (false, 10),
            (false, 10),
            (true, 20),
            (true, 30),
            (false, 30),
        ];
        assert_eq!(seen, expected.map(|(inside, elapsed)| (inside, ms(elapsed))));
    }

    #[test]
    fn a_chunk_counts_for_the_part_of_its_gap_that_lies_inside() {
        let ms = Duration::from_millis;
        let within = |chunks: &[u64], tokens: Option<&[u32]>| {
            let mut record = stream(0, chunks, 100);
            for (chunk, tokens) in record.chunks.iter_mut().zip(tokens.unwrap_or_default()) {
                chunk.tokens = Some(*tokens);
            }
            tokens_within(&record, &Windows::new(vec![(ms(10), ms(20))]))
        };
        assert_eq!(within(&[5, 15, 25], None), 1.0, "half of two gaps");
        assert_eq!(within(&[5, 15, 25], Some(&[9, 4, 8])), 6.0);
        assert_eq!(within(&[12, 14], Some(&[3, 4])), 7.0, "the first one too");
        // Chunks that were read together.
        assert_eq!(within(&[12, 12, 12], Some(&[1, 3, 4])), 8.0);
        assert_eq!(within(&[25, 25], None), 0.0);
        // One that does not tell makes all of them alike.
        assert_eq!(within(&[12, 14, 16], Some(&[9])), 3.0);
    }

    #[test]
    fn all_failed_is_a_measurement_without_latencies() {
        let mut failed = stream(0, &[], 20);
        failed.failure = Some(RequestFailure::new(FailureKind::Connect, "refused"));
        let (measurement, latencies) = measured(&[failed], 1, None);
        assert_eq!((measurement.tokens_per_second, measurement.failed_requests), (0.0, 1));
        assert_eq!(latencies, Latencies::default());
    }
}
