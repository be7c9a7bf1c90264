//! Prints figures beside their bounds and remembers which were missed.

use std::process::ExitCode;

/// A figure in milliseconds may be so many times that of the hyper floor in the same run: on a
/// busy machine even the floor is late.
const BUSY: f64 = 1.2;

#[derive(Default)]
pub(crate) struct Verdict {
    missed: Vec<String>,
}

impl Verdict {
    /// A figure that must not be above `bound`.
    pub(crate) fn at_most(&mut self, what: &str, value: f64, bound: f64, unit: &str) {
        self.judge(what, value <= bound, &format!("{value:.3} {unit}, at most {bound}"));
    }

    /// A figure that must not be below `bound`.
    pub(crate) fn at_least(&mut self, what: &str, value: f64, bound: f64, unit: &str) {
        self.judge(what, value >= bound, &format!("{value:.3} {unit}, at least {bound}"));
    }

    /// A figure that must not be above `bound`, or above the floor's by much where that misses it.
    pub(crate) fn beside_floor(&mut self, what: &str, value: f64, floor: f64, bound: f64, unit: &str) {
        let holds = value <= bound || value <= BUSY * floor;
        self.judge(what, holds, &format!("{value:.3} {unit}, at most {bound} (hyper floor {floor:.3})"));
    }

    /// What a figure is worth knowing, whatever it is.
    pub(crate) fn tell(what: &str, words: &str) {
        println!("  {:7} {what:58} {words}", "");
    }

    pub(crate) fn judge(&mut self, what: &str, holds: bool, words: &str) {
        println!("  {:7} {what:58} {words}", if holds { "holds" } else { "MISSED" });
        if !holds {
            self.missed.push(format!("{what}: {words}"));
        }
    }

    pub(crate) fn conclude(self) -> ExitCode {
        if self.missed.is_empty() {
            println!("\nevery bound holds");
            return ExitCode::SUCCESS;
        }
        println!("\nmissed:");
        for missed in &self.missed {
            println!("  {missed}");
        }
        ExitCode::FAILURE
    }
}
