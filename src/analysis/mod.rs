//! What the numbers mean: pure functions from domain data to domain data.
//!
//! No I/O, no clock, no randomness.

mod cholesky;
pub mod chooser;
pub mod conclusions;
mod curve;
pub mod drift;
pub mod estimate;
pub mod foreign;
pub mod interval;
pub mod measure;
pub mod noise;
pub mod optimum;
pub mod parallelism;
pub mod quantile;
pub mod regression;
pub mod slots;
pub mod step;
pub mod surface;
pub mod validity;

#[cfg(test)]
mod legacy_tests;
