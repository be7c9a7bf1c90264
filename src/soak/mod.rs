//! The engine: batches, cycles, lanes, the daemon's loop.
//!
//! It decides what is measured when, and says what happened as events on the [`bus`].
//! It never asks those who listen, and no listener can delay a timestamp: measuring has a
//! runtime of its own.

pub mod backend;
pub mod batch;
pub mod board;
pub mod budget;
pub mod bus;
mod canary;
pub mod choice;
pub mod clock;
pub mod control;
pub mod daemon;
mod hold;
pub mod lag;
mod lane;
pub mod memory;
pub mod meter;
mod neighbour;
pub mod order;
mod progress;
pub mod prompts;
mod recheck;
mod sample;
mod slots;
pub mod surroundings;
mod switch;
mod target;
#[cfg(test)]
mod tests;
mod trouble;
mod usual;
pub mod watch;

pub use backend::{Backend, HttpBackend};
pub use board::{Board, Snapshot, TargetSnapshot};
pub use bus::Bus;
pub use clock::WallClock;
pub use control::Control;
pub use daemon::{Limits, Roster, Soak, SoakTarget};
pub use lag::LagMeter;
pub use memory::MemoryBackend;
pub use surroundings::Surroundings;
pub use switch::Switch;
pub use watch::{WatchPlan, Watcher};
