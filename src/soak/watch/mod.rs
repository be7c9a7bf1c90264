//! Watches what is measured for changes, and says on the bus what it finds.
//!
//! It hears the bus like any listener, feeds each complete cycle to the detector, and drives the
//! alarms. It belongs on the service runtime: nothing that measures waits for it. All that it
//! knows it can read again from the history ([`recall`]), so that a restart changes nothing.

pub mod recall;
mod target;
#[cfg(test)]
mod tests;
mod watcher;

pub use watcher::{WatchPlan, Watcher};
