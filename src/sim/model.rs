//! The queue model of a continuously batching server: slots, a queue in order of arrival,
//! and steps that give one token to each decoding stream.
//!
//! Pure and synchronous: times are durations since an origin that the caller chose, passed
//! in and handed back, so that tests assert exact numbers. It sleeps nowhere and knows
//! neither clients nor text.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::ChaCha8Rng;

use super::answer::{Cut, CutKind, Finish, Tally};
use super::chance::{Drift, Lot};
use super::prefix::PrefixCache;
use super::profile::SimOptions;

/// A request as the engine sees it: its length and its faults are decided.
#[derive(Debug)]
pub(super) struct Job {
    pub prompt_tokens: u32,
    /// The blocks of the prompt; none where it must not use the cache.
    pub prefix: Vec<u64>,
    pub lot: Lot,
    pub cut: Option<Cut>,
}

/// What a stream has to say at the end of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// The latest `tokens` tokens of those in the tally; the last chunk says why it is.
    Chunk { tokens: u32, tally: Tally, finish: Option<Finish> },
    /// Nothing more comes.
    Cut(CutKind),
}

/// Counters since the start, with llama.cpp's meaning, and what goes on now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counters {
    /// Processed ones: what a cache answered is not in it.
    pub prompt_tokens_total: u64,
    /// Of answers that ended, given up ones included.
    pub tokens_predicted_total: u64,
    pub prompt_seconds_total: f64,
    pub tokens_predicted_seconds_total: f64,
    pub decode_calls_total: u64,
    /// Busy slots summed over the decode calls.
    pub busy_slots_total: u64,
    /// Answers that ended by the model, and by their length.
    pub finished_by_stop_total: u64,
    pub finished_by_length_total: u64,
    pub requests_processing: u32,
    pub requests_deferred: u32,
    /// When the last request left the server idle.
    pub fell_idle: Option<Duration>,
}

impl Counters {
    /// llama.cpp's `n_busy_slots_per_decode`.
    pub fn busy_slots_per_decode(&self) -> f64 {
        self.busy_slots_total as f64 / self.decode_calls_total.max(1) as f64
    }

    fn count_release(&mut self, tally: &Tally, finish: Option<Finish>) {
        self.tokens_predicted_total += u64::from(tally.output_tokens);
        self.tokens_predicted_seconds_total += tally.decode.as_secs_f64();
        match finish {
            Some(Finish::Stop) => self.finished_by_stop_total += 1,
            Some(Finish::Length) => self.finished_by_length_total += 1,
            None => {}
        }
    }
}

#[derive(Debug)]
struct Waiting<T> {
    arrived: Duration,
    job: Job,
    tag: T,
}

#[derive(Debug)]
struct Stream<T> {
    tag: T,
    slot: u32,
    admitted: Duration,
    prefill_left: u32,
    first_token: Option<Duration>,
    answer_tokens: u32,
    finish: Finish,
    cut: Option<Cut>,
    /// Tokens that were decoded and not yet handed out.
    held_back: u32,
    chunk_size: u32,
    chunks: ChaCha8Rng,
    tally: Tally,
}

impl<T> Stream<T> {
    /// One more token; what is handed out on it, where something is.
    fn decode(&mut self, now: Duration, tokens_per_chunk: &RangeInclusive<u32>) -> Option<Output> {
        if let Some(cut) = self.cut.filter(|cut| self.tally.output_tokens + 1 >= cut.after_tokens) {
            return Some(Output::Cut(cut.kind));
        }
        let first_token = *self.first_token.get_or_insert(now);
        self.tally.output_tokens += 1;
        self.tally.prompt = first_token.saturating_sub(self.admitted);
        self.tally.decode = now.saturating_sub(first_token);
        self.held_back += 1;
        let finish = (self.tally.output_tokens >= self.answer_tokens).then_some(self.finish);
        if finish.is_none() && self.held_back < self.chunk_size {
            return None;
        }
        let tokens = std::mem::take(&mut self.held_back);
        self.chunk_size = self.chunks.random_range(tokens_per_chunk.clone());
        Some(Output::Chunk { tokens, tally: self.tally, finish })
    }
}

/// The server without its sockets and its clock. `T` is how the caller knows a request.
#[derive(Debug)]
pub(super) struct Engine<T> {
    options: SimOptions,
    slowdown: f64,
    drift: Drift,
    /// The end of the last step.
    now: Duration,
    /// The end of the running step.
    step_end: Option<Duration>,
    waiting: VecDeque<Waiting<T>>,
    /// In order of admission, in which prompts are processed.
    active: Vec<Stream<T>>,
    prefixes: PrefixCache,
    counters: Counters,
}

impl<T> Engine<T> {
    pub(super) fn new(options: &SimOptions) -> Self {
        let profile = options.effective_profile();
        Self {
            drift: Drift::new(options.seed, options.noise),
            options: SimOptions { profile, slots: options.slots.max(1), ..options.clone() },
            slowdown: 1.0,
            now: Duration::ZERO,
            step_end: None,
            waiting: VecDeque::new(),
            active: Vec::new(),
            prefixes: PrefixCache::default(),
            counters: Counters::default(),
        }
    }

    /// The end of the last step, or of the running one.
    pub(super) fn now(&self) -> Duration {
        self.step_end.unwrap_or(self.now)
    }

    pub(super) fn counters(&self) -> Counters {
        Counters {
            requests_processing: u32::try_from(self.active.len()).unwrap_or(u32::MAX),
            requests_deferred: u32::try_from(self.waiting.len()).unwrap_or(u32::MAX),
            ..self.counters
        }
    }

    /// Slot numbers that are busy, with the tokens that each has decoded.
    pub(super) fn busy_slots(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.active.iter().map(|stream| (stream.slot, stream.tally.output_tokens))
    }

    pub(super) fn slots(&self) -> u32 {
        self.options.slots
    }

    /// The slots of all later steps; what has one by then keeps it.
    pub(super) fn set_slots(&mut self, slots: u32) {
        self.options.slots = slots;
    }

    /// Stretches all later steps.
    pub(super) fn set_slowdown(&mut self, factor: f64) {
        self.slowdown = factor;
    }

    /// Puts a request at the end of the queue; it has a slot from `arrived` on at the earliest.
    pub(super) fn submit(&mut self, arrived: Duration, job: Job, tag: T) {
        self.waiting.push_back(Waiting { arrived, job, tag });
    }

    /// Lets go of the requests of which `gone` is true: their slots are free for the next step.
    pub(super) fn drop_where(&mut self, mut gone: impl FnMut(&T) -> bool) {
        let before = self.active.len() + self.waiting.len();
        self.waiting.retain(|waiting| !gone(&waiting.tag));
        let counters = &mut self.counters;
        self.active.retain(|stream| {
            let goes = gone(&stream.tag);
            if goes {
                counters.count_release(&stream.tally, None);
            }
            !goes
        });
        self.note_idleness(before);
    }

    /// To be called when requests may have left those that there were.
    fn note_idleness(&mut self, requests_before: usize) {
        if requests_before > 0 && self.active.is_empty() && self.waiting.is_empty() {
            self.counters.fell_idle = Some(self.now());
        }
    }

    /// Begins a step with all requests that have arrived and have a slot; says when it ends.
    ///
    /// An idle engine waits for the first arrival; `None` where nothing has arrived.
    pub(super) fn begin_step(&mut self) -> Option<Duration> {
        if self.step_end.is_some() {
            return self.step_end;
        }
        if self.active.is_empty() {
            self.now = self.now.max(self.waiting.front()?.arrived);
        }
        self.admit();
        let prompt_tokens = self.prefill();
        let decoding = self.active.iter().filter(|stream| stream.prefill_left == 0).count();
        let profile = &self.options.profile;
        let ideal = profile.step(u32::try_from(decoding).unwrap_or(u32::MAX))
            + profile.prefill_per_token.saturating_mul(prompt_tokens);
        let factor = self.slowdown * self.drift.factor(self.now);
        // Not through floating point where it is not needed: sums of steps stay exact.
        let took = if factor == 1.0 { ideal } else { ideal.mul_f64(factor) };
        self.step_end = Some(self.now + took);
        self.step_end
    }

    /// Ends the running step: tells `deliver` what each stream has to say, and frees the
    /// slots of those that ended. Returns whether any did.
    pub(super) fn end_step(&mut self, mut deliver: impl FnMut(&T, Output)) -> bool {
        let Some(now) = self.step_end.take() else { return false };
        self.now = now;
        let busy = self.active.len();
        self.counters.decode_calls_total += 1;
        self.counters.busy_slots_total += busy as u64;
        let (counters, tokens_per_chunk) = (&mut self.counters, &self.options.profile.tokens_per_chunk);
        self.active.retain_mut(|stream| {
            if stream.prefill_left > 0 {
                return true;
            }
            let begins = stream.first_token.is_none();
            let output = stream.decode(now, tokens_per_chunk);
            if begins {
                counters.prompt_tokens_total += u64::from(stream.tally.processed_tokens());
                counters.prompt_seconds_total += stream.tally.prompt.as_secs_f64();
            }
            let Some(output) = output else { return true };
            deliver(&stream.tag, output);
            match output {
                Output::Chunk { finish: None, .. } => true,
                Output::Chunk { finish, .. } => {
                    counters.count_release(&stream.tally, finish);
                    false
                }
                Output::Cut(_) => {
                    counters.count_release(&stream.tally, None);
                    false
                }
            }
        });
        self.note_idleness(busy);
        self.active.len() < busy
    }

    /// Gives the free slots to the requests that have waited longest.
    fn admit(&mut self) {
        while self.active.len() < self.options.slots as usize
            && self.waiting.front().is_some_and(|first| first.arrived <= self.now)
        {
            let Some(Waiting { arrived, job, tag }) = self.waiting.pop_front() else { return };
            let taken = |slot: &u32| self.active.iter().any(|stream| stream.slot == *slot);
            let slot = (0..self.options.slots).find(|slot| !taken(slot)).unwrap_or_default();
            // The last prompt token is always processed: its output is the first token.
            let cached_tokens = self.prefixes.cached_tokens(&job.prefix).min(job.prompt_tokens.saturating_sub(1));
            self.prefixes.remember(&job.prefix);
            let tally = Tally {
                prompt_tokens: job.prompt_tokens,
                cached_tokens,
                queue: self.now.saturating_sub(arrived),
                load: job.lot.load,
                ..Tally::default()
            };
            let mut chunks = job.lot.chunks;
            self.active.push(Stream {
                tag,
                slot,
                admitted: self.now,
                prefill_left: tally.processed_tokens(),
                first_token: None,
                answer_tokens: job.lot.answer_tokens,
                finish: job.lot.finish,
                cut: job.cut,
                held_back: 0,
                chunk_size: chunks.random_range(self.options.profile.tokens_per_chunk.clone()),
                chunks,
                tally,
            });
        }
    }

    /// Takes prompt tokens into the step, the oldest stream's first; returns how many.
    fn prefill(&mut self) -> u32 {
        let allowed = self.options.profile.prefill_tokens_per_step.max(1);
        let mut left = allowed;
        for stream in &mut self.active {
            let taken = stream.prefill_left.min(left);
            stream.prefill_left -= taken;
            left -= taken;
        }
        allowed - left
    }
}

/// How long a batch takes: all `answers` (their lengths, in tokens) arrive at once and at
/// most `slots` are worked on; a step lasts `base` + `per_stream` × streams.
///
/// A client that holds at most W requests of a batch in flight is a queue of min(W, slots).
pub fn predict_total(base: Duration, per_stream: Duration, slots: u32, answers: &[u32]) -> Duration {
    let mut queue = answers.iter().copied().filter(|&tokens| tokens > 0);
    let mut active: Vec<u32> = queue.by_ref().take(slots.max(1) as usize).collect();
    let mut total = Duration::ZERO;
    // From one end of an answer to the next, all steps are alike.
    while let Some(steps) = active.iter().copied().min() {
        let streams = u32::try_from(active.len()).unwrap_or(u32::MAX);
        total += (base + per_stream.saturating_mul(streams)).saturating_mul(steps);
        for left in &mut active {
            *left -= steps;
        }
        let before = active.len();
        active.retain(|&left| left > 0);
        let ended = before - active.len();
        active.extend(queue.by_ref().take(ended));
    }
    total
}

#[cfg(test)]
#[path = "model_tests.rs"]
mod tests;
