//! Seeded noise of unit size: white, with a memory, and with outliers to one side.

use llmsoak::analysis::quantile::quantile;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

/// A standard normal number: Box and Muller's transform.
pub(super) fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let (radius, angle): (f64, f64) = (rng.random(), rng.random());
    (-2.0 * (1.0 - radius).ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
}

/// What the samples of a cell scatter like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Noise {
    White,
    /// AR(1): each sample remembers half of the one before.
    Memory,
    /// One in twenty is slow by a normal number ten times as large.
    Outliers,
}

impl Noise {
    pub(super) const ALL: [(Self, &str); 3] =
        [(Self::White, "white"), (Self::Memory, "AR(1), 0.5"), (Self::Outliers, "outliers")];
    const MEMORY: f64 = 0.5;
    const OUTLIERS: f64 = 0.05;

    /// Successive samples.
    pub(super) fn draw(self, samples: usize, rng: &mut ChaCha8Rng) -> Vec<f64> {
        let mut state = normal(rng);
        let mut next = || match self {
            Self::White => normal(rng),
            Self::Memory => {
                state = Self::MEMORY * state + (1.0 - Self::MEMORY.powi(2)).sqrt() * normal(rng);
                state
            }
            Self::Outliers => {
                let usual = normal(rng);
                if rng.random::<f64>() < Self::OUTLIERS { usual - 10.0 * normal(rng).abs() } else { usual }
            }
        };
        (0..samples).map(|_| next()).collect()
    }

    /// The median of what is drawn: 0 but where outliers are to one side.
    pub(super) fn median(self) -> f64 {
        if self != Self::Outliers {
            return 0.0;
        }
        let mut many = self.draw(1_000_000, &mut ChaCha8Rng::seed_from_u64(0));
        many.sort_unstable_by(f64::total_cmp);
        quantile(&many, 0.5).expect("a million")
    }

    /// Half the 95 % interval of one who knows the noise: the mean of the samples, those that
    /// are outliers left out.
    pub(super) fn oracle_half_width(self, samples: usize) -> f64 {
        let n = samples as f64;
        let variance = match self {
            Self::White => 1.0 / n,
            Self::Outliers => 1.0 / (n * (1.0 - Self::OUTLIERS)),
            Self::Memory => {
                let lags = (1..samples).map(|lag| lag as f64).map(|lag| (1.0 - lag / n) * Self::MEMORY.powf(lag));
                (1.0 + 2.0 * lags.sum::<f64>()) / n
            }
        };
        1.96 * variance.sqrt()
    }
}
