//! What there is to say of a simulated answer: counts, times, and how it ended. Plain data.

use std::time::Duration;

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// The model ended it.
    Stop,
    /// The asked length, or the end of the context.
    Length,
}

impl Finish {
    /// The word for it in OpenAI's API and in Ollama's.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
        }
    }
}

/// The counts and times of an answer, up to the event that carries them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Cached ones included.
    pub prompt_tokens: u32,
    pub cached_tokens: u32,
    pub output_tokens: u32,
    /// Arrival → slot.
    pub queue: Duration,
    /// What the server reports as the loading time of the model; in none of the other times.
    pub load: Duration,
    /// Slot → first token.
    pub prompt: Duration,
    /// First token → the latest.
    pub decode: Duration,
}

impl Tally {
    /// Prompt tokens that were really processed.
    pub fn processed_tokens(&self) -> u32 {
        self.prompt_tokens.saturating_sub(self.cached_tokens)
    }

    /// The same answer on a clock that runs `speed` times slower than the model's.
    #[must_use]
    pub fn slowed(self, speed: f64) -> Self {
        Self {
            queue: self.queue.div_f64(speed),
            load: self.load.div_f64(speed),
            prompt: self.prompt.div_f64(speed),
            decode: self.decode.div_f64(speed),
            ..self
        }
    }
}

/// A fault in the middle of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The token in whose place it happens, counted from 1.
    pub after_tokens: u32,
    pub kind: CutKind,
}

/// How an answer is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CutKind {
    /// A clean end without a terminal marker.
    Truncate,
    /// The connection breaks.
    Reset,
    /// Silence, for as long as the client bears it.
    Stall,
}
