//! What the numbers mean: pure functions from domain data to domain data.
//!
//! No I/O, no clock, no randomness.

pub mod foreign;
pub mod measure;
pub mod optimum;
pub mod parallelism;
pub mod quantile;
pub mod regression;
pub mod validity;
