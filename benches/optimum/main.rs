//! Whether the optimum can be trusted, and is found with less work: simulated cells of known
//! truth through the analysis that the program runs.
//!
//! `cargo bench --bench optimum` takes about a minute, prints the three tables of
//! `docs/optimum.md`, and fails when the analysis misses a bound or when an answer that knows
//! nothing passes them all. Seeded: the same tables every time.

#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a bench may end at the first surprise")]

mod adaptive;
mod chance;
mod coverage;
mod naming;
mod truth;

use std::process::ExitCode;

fn main() -> ExitCode {
    let parts = [coverage::run(), naming::run(), adaptive::run()];
    if parts.into_iter().all(|holds| holds) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A word for a row of a table.
fn verdict(holds: bool) -> &'static str {
    if holds { "holds" } else { "misses" }
}

/// The mean of some numbers.
fn mean(values: impl IntoIterator<Item = f64>) -> f64 {
    let (sum, count) = values.into_iter().fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    sum / count
}
