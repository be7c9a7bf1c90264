//! Seeded noise.

use rand::RngExt;
use rand::rngs::ChaCha8Rng;

/// A standard normal number: Box and Muller's transform.
pub fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let (radius, angle): (f64, f64) = (rng.random(), rng.random());
    (-2.0 * (1.0 - radius).ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
}
