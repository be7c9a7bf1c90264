//! The forms in which a history leaves and enters: JSON lines, CSV, benchstat's lines, and the
//! report of the script that this program replaces.
//!
//! Text from and to [`Entry`](crate::domain::Entry), one at a time, so that a history of any
//! size passes through. Nothing here knows the store or opens a file. What is read is somebody
//! else's: it is checked, and what is wrong is told with its line.

mod benchstat;
mod check;
mod csv;
mod jsonl;
mod legacy;
mod read;
mod rows;
mod sample_row;
#[cfg(test)]
mod tests;
mod write;

pub use check::{Content, survey};
pub use read::{Entries, Format, Reading, entries, format_of};
pub use write::{Form, Writing};

/// The version of the export's schema. Fields may be added within a version; it rises when
/// one changes its meaning or goes.
pub const SCHEMA: u32 = 1;

/// What is wrong with a file, and in which line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}: {what}")]
pub struct Malformed {
    /// From 1.
    pub line: u64,
    pub what: String,
}

impl Malformed {
    fn new(line: u64, what: impl Into<String>) -> Self {
        Self { line, what: what.into() }
    }
}
