//! What changed, by how much, and how surely: an online detector over the cycles of a target.
//!
//! Pure: values in, verdicts out; no I/O, no clock, no randomness. `docs/regression.md` tells
//! the method in plain words. From the ground up: [`view`] is what the detector is fed;
//! [`environment`] names what changed of an identity; [`scope`] the nested parts of a grid;
//! `pool` makes one series of many cells, `noise` says how much it moves by itself, `fit`
//! tests a change against that; `search` looks for the best explanation, `track` follows one
//! measure, [`detector`] all of them. [`compare`](compare()) judges two epochs, [`baseline`]
//! chooses the earlier one, [`alarm`] is an alarm's life.

pub mod environment;
pub mod scope;
pub mod verdict;
pub mod view;

mod detector;
mod fit;
mod noise;
mod pool;
mod search;
mod shapes;
mod track;

pub use detector::{Detector, Settings};
pub use environment::Component;
pub use scope::Scope;
pub use verdict::{Cause, ChangeEvent, Direction, Finding};
pub use view::{CellFigures, CycleView, Measure};
