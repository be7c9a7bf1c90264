//! Seeded chance: every random number of the simulation comes from here.
//!
//! ChaCha8 gives the same numbers in every version and on every machine. One stream for
//! each purpose: what one request draws does not depend on what others drew before.

use std::f64::consts::TAU;
use std::time::Duration;

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use super::answer::{Cut, CutKind, Finish};
use super::profile::{Profile, SimOptions};
use crate::domain::EMPTY_CHECKSUM;

/// The stream of the drift of the speed; requests use the streams from 1.
const DRIFT_STREAM: u64 = 0;
/// The memory of the drift, model seconds: longer than most samples, so that the noise
/// shows between samples and not only between steps, and far shorter than a cycle.
const DRIFT_MEMORY_SECONDS: f64 = 30.0;

/// What chance decides about one request.
#[derive(Debug)]
pub(super) struct Lot {
    pub answer_tokens: u32,
    pub finish: Finish,
    /// What is reported as the loading time of the model.
    pub load: Duration,
    /// Says what the words of the answer are.
    pub text: u64,
    /// Draws the sizes of the chunks.
    pub chunks: ChaCha8Rng,
}

/// The bounds of an answer's length, tokens.
#[derive(Clone, Copy, Debug)]
pub(super) struct LengthAsked {
    pub at_most: u32,
    /// Until then the model may not end by itself.
    pub at_least: u32,
}

impl Lot {
    /// The lot of a request that `key` names: the same request gets the same answer.
    pub(super) fn draw(seed: u64, key: u64, profile: &Profile, asked: LengthAsked) -> Self {
        let mut rng = generator(seed, key.max(1));
        let natural = profile
            .answer_length
            .map_or(u32::MAX, |length| whole(length.mean + length.standard_deviation * normal(&mut rng)).max(1));
        let wanted = natural.max(asked.at_least);
        let (shortest, longest) = (*profile.warm_load.start(), *profile.warm_load.end());
        let warm_load = shortest + longest.saturating_sub(shortest).mul_f64(rng.random());
        Self {
            answer_tokens: wanted.min(asked.at_most).max(1),
            finish: if wanted < asked.at_most { Finish::Stop } else { Finish::Length },
            load: warm_load,
            text: rng.random(),
            chunks: rng,
        }
    }
}

/// The faults of requests, drawn by their order of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Answered(Option<Cut>),
    Status500,
}

impl Fate {
    pub(super) fn draw(options: &SimOptions, arrival: u64, answer_tokens: u32) -> Self {
        let mut rng = generator(options.seed ^ EMPTY_CHECKSUM, arrival);
        if rng.random::<f64>() < options.fault_http_500 {
            return Self::Status500;
        }
        let after_tokens = rng.random_range(1..=answer_tokens.max(1));
        // One number decides among the cuts, so that their ratios add up.
        let mut dice: f64 = rng.random();
        for (ratio, kind) in [
            (options.fault_truncate, CutKind::Truncate),
            (options.fault_reset, CutKind::Reset),
            (options.fault_stall, CutKind::Stall),
        ] {
            if dice < ratio {
                return Self::Answered(Some(Cut { after_tokens, kind }));
            }
            dice -= ratio;
        }
        Self::Answered(None)
    }
}

/// The slow drift of a server's speed: the logarithm is an Ornstein-Uhlenbeck process.
#[derive(Debug)]
pub(super) struct Drift {
    variation: f64,
    logarithm: f64,
    at: Option<Duration>,
    rng: ChaCha8Rng,
}

impl Drift {
    pub(super) fn new(seed: u64, variation: f64) -> Self {
        let variation = if variation.is_finite() { variation.clamp(0.0, 1.0) } else { 0.0 };
        Self { variation, logarithm: 0.0, at: None, rng: generator(seed, DRIFT_STREAM) }
    }

    /// The factor on a step that begins at `now`; its mean is 1, and exactly so without noise.
    pub(super) fn factor(&mut self, now: Duration) -> f64 {
        if self.variation == 0.0 {
            return 1.0;
        }
        // The first value is drawn from the stationary distribution: nothing is kept.
        let kept =
            self.at.map_or(0.0, |before| (-now.saturating_sub(before).as_secs_f64() / DRIFT_MEMORY_SECONDS).exp());
        self.at = Some(now);
        let fresh = self.variation * (1.0 - kept * kept).sqrt() * normal(&mut self.rng);
        self.logarithm = self.logarithm * kept + fresh;
        (self.logarithm - self.variation * self.variation / 2.0).exp()
    }
}

fn generator(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    rng
}

/// A standard normal number, by Box and Muller.
fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    radius * (TAU * rng.random::<f64>()).cos()
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates, which is wanted")]
fn whole(number: f64) -> u32 {
    number.round() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: LengthAsked = LengthAsked { at_most: 10_000, at_least: 0 };

    fn lengths(seed: u64, asked: LengthAsked) -> Vec<u32> {
        let profile = Profile::reference();
        (1..=2_000).map(|key| Lot::draw(seed, key, &profile, asked).answer_tokens).collect()
    }

    #[test]
    fn lengths_have_the_mean_and_spread_of_the_profile() {
        let lengths = lengths(1, OPEN);
        let n = lengths.len() as f64;
        let mean = lengths.iter().map(|&l| f64::from(l)).sum::<f64>() / n;
        let variance = lengths.iter().map(|&l| (f64::from(l) - mean).powi(2)).sum::<f64>() / n;
        assert!((mean - 204.0).abs() < 1.5, "mean {mean}");
        assert!((variance.sqrt() - 20.0).abs() < 1.0, "deviation {}", variance.sqrt());
    }

    #[test]
    fn a_seed_decides_all_and_another_decides_otherwise() {
        assert_eq!(lengths(7, OPEN), lengths(7, OPEN));
        assert_ne!(lengths(7, OPEN), lengths(8, OPEN));
    }

    #[test]
    fn an_answer_keeps_to_the_asked_bounds() {
        let held = LengthAsked { at_most: 500, at_least: 500 };
        assert!(lengths(1, held).iter().all(|&n| n == 500));
        let bounded = LengthAsked { at_most: 200, at_least: 0 };
        assert!(lengths(1, bounded).iter().all(|&n| n <= 200));
        assert!(lengths(1, bounded).iter().any(|&n| n < 200));
        let profile = Profile::reference();
        for key in 1..100 {
            let lot = Lot::draw(1, key, &profile, bounded);
            assert_eq!(lot.finish == Finish::Stop, lot.answer_tokens < 200);
        }
        let kind = Lot::draw(1, 1, &profile.kindly(), LengthAsked { at_most: 333, at_least: 0 });
        assert_eq!((kind.answer_tokens, kind.finish), (333, Finish::Length));
    }

    #[test]
    fn faults_come_as_often_as_asked() {
        let options =
            SimOptions { fault_http_500: 0.1, fault_truncate: 0.2, fault_stall: 0.2, ..SimOptions::default() };
        let fates: Vec<Fate> = (0..4_000).map(|arrival| Fate::draw(&options, arrival, 50)).collect();
        let share = |wanted: fn(&Fate) -> bool| fates.iter().filter(|fate| wanted(fate)).count() as f64 / 4_000.0;
        assert!((share(|fate| *fate == Fate::Status500) - 0.1).abs() < 0.02);
        let cut = |kind| move |fate: &Fate| matches!(fate, Fate::Answered(Some(cut)) if cut.kind == kind);
        for (kind, expected) in [(CutKind::Truncate, 0.18), (CutKind::Reset, 0.0), (CutKind::Stall, 0.18)] {
            let seen = fates.iter().filter(|fate| cut(kind)(fate)).count() as f64 / 4_000.0;
            assert!((seen - expected).abs() < 0.02, "{kind:?}: {seen}");
        }
    }

    #[test]
    fn drift_has_the_asked_variation_and_memory() {
        let mut drift = Drift::new(3, 0.05);
        let factors: Vec<f64> = (0..5_000).map(|n| drift.factor(Duration::from_secs(n * 60))).collect();
        let mean = factors.iter().sum::<f64>() / 5_000.0;
        let deviation = (factors.iter().map(|f| (f - mean).powi(2)).sum::<f64>() / 5_000.0).sqrt();
        assert!((mean - 1.0).abs() < 0.005 && (deviation - 0.05).abs() < 0.005, "{mean} {deviation}");

        let before = drift.factor(Duration::from_secs(400_000));
        let after = drift.factor(Duration::from_secs(400_000) + Duration::from_millis(20));
        assert!((before - after).abs() < 0.02);
        assert_eq!(Drift::new(3, 0.0).factor(Duration::ZERO), 1.0);
    }
}
