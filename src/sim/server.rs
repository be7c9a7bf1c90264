//! The queue model in real time: a handle to ask, and one task that runs the engine.
//!
//! The task sleeps until absolute deadlines, each the start plus what the model says, so
//! that a late timer delays one event and no later one. Under tokio's paused clock the
//! handle gives exact times without sockets; it knows no wire format.

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};

use super::answer::{CutKind, Finish, Tally};
use super::chance::{Fate, LengthAsked, Lot};
use super::model::{Counters, Engine, Job, Output};
use super::prefix::{blocks, count_tokens};
use super::profile::{AnswerLength, ModelCard, Profile, SimOptions};
use super::text::words;
use crate::domain::{checksum, checksum_with};

/// The grain of tokio's timers, by which an event may come late. Who answers a late event
/// at once is taken to have answered it in time.
const TIMER_GRAIN: Duration = Duration::from_millis(1);
/// How often other tasks get their turn before a step begins: the hops from an event
/// through a client's tasks to its next request, and some to spare.
const SETTLING_TURNS: u32 = 4;

/// What is asked of the simulated model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenerateSpec {
    pub prompt: String,
    /// The longest answer wanted, tokens; `None` for the rest of the context.
    pub output_tokens: Option<u32>,
    /// The answer is exactly as long as asked.
    pub ignore_eos: bool,
    /// The model does not end its answer before that many tokens.
    pub min_tokens: u32,
    /// Whether the beginning of the prompt may come from the prefix cache.
    pub cache_prompt: bool,
    /// Prompts of different salts share no cache.
    pub cache_salt: String,
    /// The same prompt and seed give the same answer; without one no two are alike.
    pub seed: Option<u64>,
    /// How long the model took to load for this request, in seconds of the clock.
    pub cold_load: Option<Duration>,
}

impl GenerateSpec {
    /// An answer of exactly `output_tokens` tokens.
    pub fn new(prompt: impl Into<String>, output_tokens: u32) -> Self {
        Self {
            prompt: prompt.into(),
            output_tokens: Some(output_tokens),
            ignore_eos: true,
            min_tokens: 0,
            cache_prompt: true,
            cache_salt: String::new(),
            seed: None,
            cold_load: None,
        }
    }
}

/// Why a request is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the server is away")]
    Away,
    #[error("injected fault")]
    InjectedFault,
    #[error("the prompt of {prompt_tokens} tokens exceeds the context of {context} tokens")]
    PromptTooLong { prompt_tokens: u32, context: u32 },
}

/// A piece of an answer. Times are those of the clock, not of the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SimEvent {
    Chunk(Chunk),
    /// The connection breaks here.
    Reset,
}

/// Tokens that arrive together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    pub text: String,
    pub tokens: u32,
    /// Up to this chunk and with it.
    pub tally: Tally,
    /// In the last chunk of a whole answer, and only there.
    pub finish: Option<Finish>,
}

/// An answer on its way. Dropping it gives the request up and frees its slot.
#[derive(Debug)]
pub struct Answer {
    /// Counts the requests of the server from 1.
    pub number: u64,
    pub prompt_tokens: u32,
    events: mpsc::UnboundedReceiver<SimEvent>,
}

impl Answer {
    /// The next event; `None` after the last. An answer without a finish was cut short.
    pub async fn next(&mut self) -> Option<SimEvent> {
        self.events.recv().await
    }

    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<SimEvent>> {
        self.events.poll_recv(context)
    }
}

/// What the server does at the moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    pub counters: Counters,
    /// For each slot the tokens that its stream has decoded; `None` for a free one.
    pub slots: Vec<Option<u32>>,
    /// Requests that the engine has taken in so far; the rest arrived during its step.
    taken_in: u64,
}

impl Status {
    /// Requests that are worked on or that wait.
    pub fn requests(&self) -> u32 {
        self.counters.requests_processing.saturating_add(self.counters.requests_deferred)
    }

    /// Output tokens, those of the running answers included.
    pub fn decoded_tokens(&self) -> u64 {
        let running: u64 = self.slots.iter().flatten().copied().map(u64::from).sum();
        self.counters.tokens_predicted_total + running
    }
}

/// The simulated server. Clones are the same server; it ends with its last handle, after
/// the answers that are under way.
#[derive(Clone, Debug)]
pub struct SimServer {
    shared: Arc<Shared>,
    inbox: mpsc::UnboundedSender<Submission>,
}

#[derive(Debug)]
struct Shared {
    options: SimOptions,
    clock: Clock,
    arrivals: AtomicU64,
    /// Those of the arrivals that were sent to the engine.
    submitted: AtomicU64,
    /// The bits of a float.
    slowdown: AtomicU64,
    slots: AtomicU32,
    away: AtomicBool,
    /// Held while the model is being loaded.
    is_loaded: tokio::sync::Mutex<bool>,
    went_away: Notify,
    card: Mutex<ModelCard>,
    /// What requests are drawn from.
    profile: Mutex<Profile>,
    status: Mutex<Status>,
}

#[derive(Debug)]
struct Submission {
    arrived: Instant,
    job: Job,
    tag: Tag,
}

/// The engine's knowledge of who asked.
#[derive(Debug)]
struct Tag {
    events: mpsc::UnboundedSender<SimEvent>,
    text: u64,
}

impl SimServer {
    /// Starts the server on the runtime of the caller. Options beyond their bounds are
    /// moved into them.
    pub fn start(mut options: SimOptions) -> Self {
        options.speed = bounded(options.speed);
        options.slots = options.slots.min(options.most_slots).max(1);
        let (inbox, submissions) = mpsc::unbounded_channel();
        let engine = Engine::new(&options);
        let shared = Arc::new(Shared {
            clock: Clock { origin: Instant::now(), speed: options.speed },
            arrivals: AtomicU64::new(0),
            submitted: AtomicU64::new(0),
            slowdown: AtomicU64::new(1.0_f64.to_bits()),
            slots: AtomicU32::new(options.slots),
            away: AtomicBool::new(false),
            is_loaded: tokio::sync::Mutex::new(true),
            went_away: Notify::new(),
            card: Mutex::new(options.profile.card.clone()),
            profile: Mutex::new(options.effective_profile()),
            status: Mutex::new(Status { slots: vec![None; options.slots as usize], ..Status::default() }),
            options,
        });
        let driver = Driver { shared: shared.clone(), engine, taken_in: 0, stalled: Vec::new() };
        tokio::spawn(driver.run(submissions));
        Self { shared, inbox }
    }

    pub fn options(&self) -> &SimOptions {
        &self.shared.options
    }

    /// Asks for an answer. Never waits: what does not fit the slots queues in the server.
    pub fn generate(&self, spec: &GenerateSpec) -> Result<Answer, Refusal> {
        let arrived = Instant::now();
        if self.is_away() {
            return Err(Refusal::Away);
        }
        let options = &self.shared.options;
        let prompt_tokens = count_tokens(&spec.prompt);
        let context = options.profile.card.context_per_slot;
        if prompt_tokens >= context {
            return Err(Refusal::PromptTooLong { prompt_tokens, context });
        }
        let number = self.shared.arrivals.fetch_add(1, Ordering::Relaxed) + 1;
        let at_most = spec.output_tokens.unwrap_or(u32::MAX).min(context - prompt_tokens).max(1);
        let at_least = if spec.ignore_eos { at_most } else { spec.min_tokens };
        let key = spec.seed.map_or(number, |seed| checksum_with(checksum(&spec.prompt), seed.to_le_bytes()));
        let mut lot = Lot::draw(options.seed, key, &locked(&self.shared.profile), LengthAsked { at_most, at_least });
        if let Some(took) = spec.cold_load {
            lot.load = took.mul_f64(options.speed);
        }
        let Fate::Answered(cut) = Fate::draw(options, number, lot.answer_tokens) else {
            return Err(Refusal::InjectedFault);
        };
        // Unbounded in form alone: an answer is at most a context long.
        let (events, receiver) = mpsc::unbounded_channel();
        let tag = Tag { events, text: lot.text };
        let prefix = if spec.cache_prompt { blocks(&spec.cache_salt, &spec.prompt) } else { Vec::new() };
        let job = Job { prompt_tokens, prefix, lot, cut };
        // Counted first: the engine must not be seen to have taken in more than there are.
        self.shared.submitted.fetch_add(1, Ordering::Relaxed);
        self.inbox.send(Submission { arrived, job, tag }).map_err(|_| Refusal::Away)?;
        Ok(Answer { number, prompt_tokens, events: receiver })
    }

    /// What the server does now; seconds are those of the clock. A request waits from its
    /// arrival on, though the engine looks at it only when the running step ends.
    pub fn status(&self) -> Status {
        let mut status = locked(&self.shared.status).clone();
        let arrived = self.shared.submitted.load(Ordering::Relaxed).saturating_sub(status.taken_in);
        status.counters.requests_deferred += u32::try_from(arrived).unwrap_or(0);
        status.counters.prompt_seconds_total /= self.shared.options.speed;
        status.counters.tokens_predicted_seconds_total /= self.shared.options.speed;
        status
    }

    /// Takes the model out of memory; the next [`SimServer::load`] takes its time.
    pub async fn unload(&self) {
        *self.shared.is_loaded.lock().await = false;
    }

    /// Whether the model is in memory; not while it is being loaded.
    pub fn is_loaded(&self) -> bool {
        self.shared.is_loaded.try_lock().is_ok_and(|is_loaded| *is_loaded)
    }

    /// Returns when the model is in memory: how long it took to load, if it was not.
    pub async fn load(&self) -> Option<Duration> {
        let mut is_loaded = self.shared.is_loaded.lock().await;
        if *is_loaded {
            return None;
        }
        let takes = self.shared.options.profile.cold_load.div_f64(self.shared.options.speed);
        tokio::time::sleep(takes).await;
        *is_loaded = true;
        Some(takes)
    }

    /// What the server tells of itself.
    pub fn card(&self) -> ModelCard {
        locked(&self.shared.card).clone()
    }

    /// Another model file under the same name.
    pub fn set_model_digest(&self, digest: impl Into<String>) {
        locked(&self.shared.card).digest = digest.into();
    }

    /// Another version of the server.
    pub fn set_version(&self, version: impl Into<String>) {
        locked(&self.shared.card).version = version.into();
    }

    /// Requests worked on at once.
    pub fn slots(&self) -> u32 {
        self.shared.slots.load(Ordering::Relaxed)
    }

    /// Asks for another number of slots, as a restart with it would: the server takes no more
    /// than its most.
    pub fn ask_for_slots(&self, slots: u32) {
        self.set_slots(slots.min(self.shared.options.most_slots));
    }

    /// Another number of slots; at least 1. What has a slot by then keeps it to its end.
    pub fn set_slots(&self, slots: u32) {
        self.shared.slots.store(slots.max(1), Ordering::Relaxed);
    }

    /// Other lengths of answers that end by themselves.
    pub fn set_answer_length(&self, length: Option<AnswerLength>) {
        locked(&self.shared.profile).answer_length = length;
    }

    /// Another time for which the model is said to have been loaded, for each later request.
    pub fn set_load(&self, load: RangeInclusive<Duration>) {
        locked(&self.shared.profile).warm_load = load;
    }

    /// Makes all later steps `factor` times as long as the profile says.
    pub fn set_slowdown(&self, factor: f64) {
        self.shared.slowdown.store(bounded(factor).to_bits(), Ordering::Relaxed);
    }

    /// Takes the server away, as if its process had ended, or brings it back. Answers
    /// under way break.
    pub fn set_away(&self, away: bool) {
        self.shared.away.store(away, Ordering::Relaxed);
        self.shared.went_away.notify_one();
    }

    pub fn is_away(&self) -> bool {
        self.shared.away.load(Ordering::Relaxed)
    }
}

/// A factor within what durations can be multiplied with; 1 for what is no factor.
fn bounded(factor: f64) -> f64 {
    if factor > 0.0 && factor.is_finite() { factor.clamp(1e-3, 1e6) } else { 1.0 }
}

/// The value behind a lock. A panic elsewhere leaves plain data that is still sound.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The model's time and the clock's. At speed 1 the conversions are exact.
#[derive(Clone, Copy, Debug)]
struct Clock {
    origin: Instant,
    speed: f64,
}

impl Clock {
    fn model_time(self, at: Instant) -> Duration {
        let elapsed = at.saturating_duration_since(self.origin);
        if self.speed == 1.0 { elapsed } else { elapsed.mul_f64(self.speed) }
    }

    fn instant(self, model_time: Duration) -> Instant {
        self.origin + if self.speed == 1.0 { model_time } else { model_time.div_f64(self.speed) }
    }
}

/// The task that runs the engine.
struct Driver {
    shared: Arc<Shared>,
    engine: Engine<Tag>,
    taken_in: u64,
    /// Answers that fell silent, until their clients give up.
    stalled: Vec<mpsc::UnboundedSender<SimEvent>>,
}

impl Driver {
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Submission>) {
        loop {
            while let Ok(submission) = inbox.try_recv() {
                self.take_in(submission);
            }
            self.let_go();
            self.engine.set_slowdown(f64::from_bits(self.shared.slowdown.load(Ordering::Relaxed)));
            self.engine.set_slots(self.shared.slots.load(Ordering::Relaxed));
            let Some(end) = self.engine.begin_step() else {
                self.publish();
                tokio::select! {
                    submission = inbox.recv() => match submission {
                        Some(submission) => self.take_in(submission),
                        None => return,
                    },
                    () = self.shared.went_away.notified() => {}
                }
                settle().await;
                continue;
            };
            self.publish();
            let deadline = self.shared.clock.instant(end);
            if deadline > Instant::now() {
                tokio::select! {
                    () = sleep_until(deadline) => {}
                    // Its clients are let go at once; the step itself goes on to its end.
                    () = self.shared.went_away.notified() => continue,
                }
            } else {
                yield_now().await;
            }
            if self.end_step() {
                settle().await;
            }
        }
    }

    fn take_in(&mut self, submission: Submission) {
        let Submission { arrived, job, tag } = submission;
        self.taken_in += 1;
        let clock = self.shared.clock;
        let mut at = clock.model_time(arrived);
        let step_start = self.engine.now();
        if at <= step_start + clock.model_time(clock.origin + TIMER_GRAIN) {
            at = at.min(step_start);
        }
        self.engine.submit(at, job, tag);
    }

    /// Forgets the requests whose clients have gone, or all when the server goes.
    fn let_go(&mut self) {
        if self.shared.away.load(Ordering::Relaxed) {
            self.engine.drop_where(|tag| {
                // A client that has gone needs no telling.
                let _ = tag.events.send(SimEvent::Reset);
                true
            });
            self.stalled.clear();
        }
        self.engine.drop_where(|tag| tag.events.is_closed());
        self.stalled.retain(|events| !events.is_closed());
    }

    /// Hands out what the step gave; returns whether an answer ended. Who has the end of an
    /// answer and looks at the status finds its slot free.
    fn end_step(&mut self) -> bool {
        let speed = self.shared.options.speed;
        let (stalled, mut given) = (&mut self.stalled, Vec::new());
        let ended = self.engine.end_step(|tag, output| {
            let event = match output {
                Output::Chunk { tokens, tally, finish } => SimEvent::Chunk(Chunk {
                    text: words(tag.text, tally.output_tokens - tokens, tokens),
                    tokens,
                    tally: if speed == 1.0 { tally } else { tally.slowed(speed) },
                    finish,
                }),
                Output::Cut(CutKind::Reset) => SimEvent::Reset,
                // The stream's end is all that its client gets.
                Output::Cut(CutKind::Truncate) => return,
                Output::Cut(CutKind::Stall) => return stalled.push(tag.events.clone()),
            };
            given.push((tag.events.clone(), event));
        });
        self.publish();
        for (events, event) in given {
            // A client that has gone is let go before the next step.
            let _ = events.send(event);
        }
        ended
    }

    fn publish(&self) {
        let mut status = locked(&self.shared.status);
        status.taken_in = self.taken_in;
        status.counters = self.engine.counters();
        status.slots.clear();
        status.slots.resize(self.engine.slots() as usize, None);
        for (slot, decoded) in self.engine.busy_slots() {
            if let Some(state) = status.slots.get_mut(slot as usize) {
                *state = Some(decoded);
            }
        }
    }
}

/// Lets the tasks run that the last events have woken, so that a client that answers at
/// once is in time for the step that begins at the same instant.
async fn settle() {
    for _ in 0..SETTLING_TURNS {
        yield_now().await;
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
