//! What changed, by how much, and how surely: an online detector over the cycles of a target.
//!
//! Pure: values in, verdicts out; no I/O, no clock, no randomness. `docs/regression.md` tells
//! the method in plain words. From the ground up: [`view`] is what the detector is fed;
//! [`environment`] names what changed of an identity; [`scope`] the nested parts of a grid;
//! `pool` makes one series of many cells, `noise` says how much it moves by itself, `fit`
//! tests a change against that, `shapes` say what is no change, `line` holds all of it; `search` looks for the best
//! explanation, `track` follows one measure, [`Detector`] all of them, `affected` names cells.
//! [`compare`](compare()) judges two epochs, [`baseline`] chooses the earlier one, [`alarm`] is
//! an alarm's life, [`alarms`] are all of a target.

pub mod alarm;
pub mod alarms;
pub mod baseline;
pub mod compare;
pub mod environment;
pub mod scope;
pub mod verdict;
pub mod view;

mod affected;
mod detector;
mod doubt;
mod fit;
mod line;
mod noise;
mod pool;
mod search;
mod shapes;
mod track;

#[cfg(test)]
mod tests;

pub use alarm::Alarm;
pub use alarms::{Alarms, Turned, is_back};
pub use compare::compare;
pub use detector::{Detector, Settings};
pub use verdict::Finding;
pub use view::{CellFigures, CycleView};

pub use crate::domain::Component;
pub use crate::domain::change::{
    Cause, CellChange, ChangeEvent, Comparison, CycleRef, Direction, Measure, Ratio, Scope, Turn, Verdict,
};
