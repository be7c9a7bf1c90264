//! What a simulated model is like, and how its simulation is to run: pure data.
//!
//! Draws nothing, knows no clock; times are those of the model, before any speeding up.

use std::ops::RangeInclusive;
use std::time::Duration;

/// What a simulated server tells of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelCard {
    pub name: String,
    /// Of the model's file, hexadecimal.
    pub digest: String,
    pub quantization: String,
    /// Of the server.
    pub version: String,
    /// Context length of one slot, tokens.
    pub context_per_slot: u32,
}

/// Where more streams stop paying: beyond `streams`, each costs `extra_per_stream` more a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Knee {
    pub streams: u32,
    pub extra_per_stream: Duration,
}

/// How long answers are that end by themselves, tokens; normally distributed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AnswerLength {
    pub mean: f64,
    pub standard_deviation: f64,
}

/// A model on some hardware, as a continuously batching server runs it.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    pub name: &'static str,
    /// The part of a step that does not depend on the streams.
    pub step_base: Duration,
    /// What each decoding stream adds to a step.
    pub step_per_stream: Duration,
    pub knee: Option<Knee>,
    /// What each prompt token adds to the step that processes it; all streams wait for it.
    pub prefill_per_token: Duration,
    /// Prompt tokens processed in one step at most, as llama.cpp's `n_batch`.
    pub prefill_tokens_per_step: u32,
    /// `None`: an answer never ends before the asked length.
    pub answer_length: Option<AnswerLength>,
    /// How many tokens arrive together; drawn anew for each chunk.
    pub tokens_per_chunk: RangeInclusive<u32>,
    /// What is reported as the loading time of a model that is loaded already, as Ollama does.
    pub warm_load: RangeInclusive<Duration>,
    /// How long a model that was unloaded takes to load.
    pub cold_load: Duration,
    pub card: ModelCard,
}

impl Profile {
    /// The names that [`Profile::by_name`] knows.
    pub const NAMES: &[&str] = &["reference", "tiny"];

    pub fn by_name(name: &str) -> Option<Self> {
        match name {
            "reference" => Some(Self::reference()),
            "tiny" => Some(Self::tiny()),
            _ => None,
        }
    }

    /// The model of the legacy measurements, a 4-billion-parameter model at 8 bits.
    ///
    /// A step of 19.0 ms + 2.15 ms for each stream explains their rows of 8 to 24 workers
    /// to 5 % (rms of the log of the total time). The knee stands for their rows of 30
    /// workers and more, which are all slower than the row 24. Prefill is not in those
    /// data; 5000 tokens per second is usual for such a model.
    pub fn reference() -> Self {
        Self {
            name: "reference",
            step_base: Duration::from_micros(19_000),
            step_per_stream: Duration::from_micros(2_150),
            knee: Some(Knee { streams: 32, extra_per_stream: Duration::from_millis(4) }),
            prefill_per_token: Duration::from_micros(200),
            prefill_tokens_per_step: 2_048,
            answer_length: Some(AnswerLength { mean: 204.0, standard_deviation: 20.0 }),
            tokens_per_chunk: 1..=3,
            warm_load: Duration::from_millis(5)..=Duration::from_millis(20),
            cold_load: Duration::from_millis(2_500),
            card: ModelCard {
                name: "reference:4b".to_owned(),
                digest: "a2af6cc3eb7fa8be8504abaf9b04e88f17a119ec3f04a3addf55f92841195f5a".to_owned(),
                quantization: "Q8_0".to_owned(),
                version: "1.0.0".to_owned(),
                context_per_slot: 8_192,
            },
        }
    }

    /// A model so small that a grid of it takes seconds.
    pub fn tiny() -> Self {
        Self {
            name: "tiny",
            step_base: Duration::from_millis(2),
            step_per_stream: Duration::from_micros(200),
            knee: None,
            prefill_per_token: Duration::from_micros(10),
            prefill_tokens_per_step: 2_048,
            answer_length: Some(AnswerLength { mean: 24.0, standard_deviation: 4.0 }),
            tokens_per_chunk: 1..=1,
            warm_load: Duration::from_millis(1)..=Duration::from_millis(3),
            cold_load: Duration::from_millis(50),
            card: ModelCard {
                name: "tiny:1m".to_owned(),
                digest: "8950abfda7b727630760dd35bcf5c3daa7631aff223a90f7728c0d2521dde10c".to_owned(),
                quantization: "F16".to_owned(),
                version: "1.0.0".to_owned(),
                context_per_slot: 2_048,
            },
        }
    }

    /// The same model without its unkindness: the step model alone, one token a chunk,
    /// prefill for nothing, every answer of the asked length, no knee.
    #[must_use]
    pub fn kindly(self) -> Self {
        Self { knee: None, prefill_per_token: Duration::ZERO, answer_length: None, tokens_per_chunk: 1..=1, ..self }
    }

    /// The time in which each of `streams` streams decodes one token.
    pub fn step(&self, streams: u32) -> Duration {
        let knee = self
            .knee
            .map_or(Duration::ZERO, |knee| knee.extra_per_stream.saturating_mul(streams.saturating_sub(knee.streams)));
        self.step_base + self.step_per_stream.saturating_mul(streams) + knee
    }
}

/// How a simulation runs. Ratios are probabilities from 0 to 1, for each request.
#[derive(Clone, Debug, PartialEq)]
pub struct SimOptions {
    pub profile: Profile,
    /// Requests worked on at once; at least 1.
    pub slots: u32,
    /// The most slots that it runs, whatever it is asked for; at least 1.
    pub most_slots: u32,
    /// Seconds of the model in one second of the clock.
    pub speed: f64,
    /// Coefficient of variation of the speed, which drifts as a server's does; 0 for none.
    pub noise: f64,
    /// Whether the profile is used as it is, or [`Profile::kindly`].
    pub unkind: bool,
    pub seed: u64,
    /// The share of the model that Ollama tells to be on the GPU; no time follows from it.
    pub gpu_share: f64,
    /// Requests that are answered with status 500.
    pub fault_http_500: f64,
    /// Answers that end cleanly in the middle, without their terminal marker.
    pub fault_truncate: f64,
    /// Answers whose connection breaks in the middle.
    pub fault_reset: f64,
    /// Answers that fall silent in the middle until the client gives up.
    pub fault_stall: f64,
}

impl Default for SimOptions {
    fn default() -> Self {
        Self {
            profile: Profile::reference(),
            slots: 50,
            most_slots: u32::MAX,
            speed: 1.0,
            noise: 0.01,
            unkind: true,
            seed: 1,
            gpu_share: 1.0,
            fault_http_500: 0.0,
            fault_truncate: 0.0,
            fault_reset: 0.0,
            fault_stall: 0.0,
        }
    }
}

impl SimOptions {
    /// The step model to the nanosecond: no noise, no unkindness, no faults.
    pub fn exact(profile: Profile, slots: u32) -> Self {
        Self { profile, slots, noise: 0.0, unkind: false, ..Self::default() }
    }

    /// The profile that these options ask for.
    pub fn effective_profile(&self) -> Profile {
        if self.unkind { self.profile.clone() } else { self.profile.clone().kindly() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_named_profile_is_there() {
        for name in Profile::NAMES {
            assert_eq!(Profile::by_name(name).expect("a named profile").name, *name);
        }
        assert_eq!(Profile::by_name("huge"), None);
    }

    #[test]
    fn a_step_is_the_base_and_the_streams() {
        let profile = Profile::reference();
        assert_eq!(profile.step(1), Duration::from_micros(21_150));
        assert_eq!(profile.step(24), Duration::from_micros(70_600));
    }

    #[test]
    fn beyond_the_knee_the_rate_falls() {
        let rate = |profile: &Profile, streams: u32| f64::from(streams) / profile.step(streams).as_secs_f64();
        let unkind = Profile::reference();
        assert!(rate(&unkind, 24) < rate(&unkind, 32));
        assert!(rate(&unkind, 40) < rate(&unkind, 32));
        assert!(rate(&unkind, 50) < rate(&unkind, 40));
        let kind = Profile::reference().kindly();
        assert!(rate(&kind, 50) > rate(&kind, 40));
    }
}
