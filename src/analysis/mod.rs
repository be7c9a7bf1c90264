//! What the numbers mean: pure functions from domain data to domain data.
//!
//! No I/O, no clock, no randomness.

mod curve;
pub mod foreign;
pub mod interval;
pub mod measure;
pub mod optimum;
pub mod parallelism;
pub mod quantile;
pub mod regression;
pub mod slots;
pub mod step;
pub mod validity;

#[cfg(test)]
mod legacy_tests;
