//! The engine: batches, cycles, lanes, the daemon's loop.
//!
//! It decides what is measured when, and says what happened as events on the [`bus`].
//! It never asks those who listen, and no listener can delay a timestamp: measuring has a
//! runtime of its own.

pub mod backend;
pub mod batch;
pub mod board;
pub mod bus;
pub mod clock;
pub mod daemon;
pub mod lag;
pub mod memory;
pub mod order;
pub mod prompts;
pub mod target;
#[cfg(test)]
mod tests;

pub use backend::{Backend, HttpBackend};
pub use board::{Board, Snapshot, TargetSnapshot};
pub use bus::Bus;
pub use clock::WallClock;
pub use daemon::{Limits, Soak, SoakTarget};
pub use lag::LagMeter;
pub use memory::MemoryBackend;
