//! One request and what was seen of its answer.

use std::time::Duration;

use super::failure::{FailureKind, RequestFailure};
use super::named::named;

/// Which door of the server the requests knock on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// A bare prompt, no chat template.
    Completions,
    /// One user message.
    Chat,
}

impl Endpoint {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completions => "completions",
            Self::Chat => "chat",
        }
    }
}

/// What to ask: everything about a request that is not the same for the whole target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenerateRequest {
    pub prompt: String,
    /// The length asked for, tokens; an upper bound where the server cannot be held to it.
    pub output_tokens: u32,
    pub seed: u32,
}

/// A text-bearing piece of the answer, stamped when it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Since the sample's origin.
    pub at: Duration,
    /// How many tokens it holds, where the server says so.
    pub tokens: Option<u32>,
}

named! {
    /// Where a request's count of output tokens comes from.
    TokenSource {
        /// The server's `usage`, or Ollama's counts.
        Usage = "usage",
        /// llama.cpp's `timings`, in the absence of `usage`.
        ServerTimings = "server_timings",
        /// Counted chunks: the server told nothing.
        Chunks = "chunks",
    }
}

/// Token counts of one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenCounts {
    pub output: u64,
    pub source: TokenSource,
    /// Prompt tokens, cached ones included, where the server tells.
    pub prompt: Option<u64>,
    /// Prompt tokens answered from a cache, where the server tells.
    pub cached_prompt: Option<u64>,
}

impl Default for TokenCounts {
    fn default() -> Self {
        Self { output: 0, source: TokenSource::Chunks, prompt: None, cached_prompt: None }
    }
}

/// The server's own durations of one answer, where it tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerTimings {
    /// Loading the model; Ollama's is above zero even when nothing was loaded.
    pub load: Option<Duration>,
    /// Processing the uncached part of the prompt.
    pub prompt: Option<Duration>,
    pub decode: Option<Duration>,
}

/// All that one request left behind. Offsets are since the sample's origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestRecord {
    /// When it became due: a request of a batch is due at the origin.
    pub due: Duration,
    /// Just before its first byte was written.
    pub sent: Duration,
    /// The end of the stream, or of the attempt.
    pub ended: Duration,
    /// The text-bearing chunks, in order of arrival.
    pub chunks: Vec<Chunk>,
    pub tokens: TokenCounts,
    pub timings: ServerTimings,
    /// The length that was asked for, tokens.
    pub asked_tokens: u32,
    /// `None` for a success.
    pub failure: Option<RequestFailure>,
}

impl RequestRecord {
    pub fn succeeded(&self) -> bool {
        self.failure.is_none()
    }

    /// Send → first text-bearing chunk.
    pub fn time_to_first_token(&self) -> Option<Duration> {
        Some(self.first_token_at()?.saturating_sub(self.sent))
    }

    pub fn first_token_at(&self) -> Option<Duration> {
        self.chunks.first().map(|chunk| chunk.at)
    }

    pub fn last_token_at(&self) -> Option<Duration> {
        self.chunks.last().map(|chunk| chunk.at)
    }

    /// The part of the time to first token that the server spent neither on loading the model
    /// nor on this prompt: the wait for a slot, and the way there. `None` where the server
    /// does not tell its time on the prompt.
    pub fn queue_wait(&self) -> Option<Duration> {
        let worked = self.timings.prompt?.saturating_add(self.timings.load.unwrap_or_default());
        Some(self.time_to_first_token()?.saturating_sub(worked))
    }

    /// (last token − first token) / (tokens − 1), for an answer of two tokens or more in
    /// two chunks or more.
    pub fn time_per_output_token(&self) -> Option<Duration> {
        let steps = u32::try_from(self.tokens.output.checked_sub(1)?).ok().filter(|&n| n > 0)?;
        if self.chunks.len() < 2 {
            return None;
        }
        Some(self.last_token_at()?.saturating_sub(self.first_token_at()?) / steps)
    }

    /// Send → end of stream.
    pub fn duration(&self) -> Duration {
        self.ended.saturating_sub(self.sent)
    }

    /// The most output tokens that it can have cost the server: of one that was given up, or
    /// whose tokens nobody counted, all that it asked for.
    pub fn output_tokens_at_most(&self) -> u64 {
        match &self.failure {
            Some(failure) if failure.kind == FailureKind::NotStarted || failure.kind.is_out_of_reach() => 0,
            None if self.tokens.source != TokenSource::Chunks => self.tokens.output,
            _ => self.tokens.output.max(self.asked_tokens.into()),
        }
    }

    /// Whether a successful answer ended before the asked length.
    pub fn is_short(&self) -> bool {
        self.succeeded() && self.tokens.output < u64::from(self.asked_tokens)
    }
}
