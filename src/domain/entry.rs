//! What a history holds, an item at a time: how it leaves one and how it enters another.

use jiff::Timestamp;

use super::aggregate::CellAggregate;
use super::cell::Grid;
use super::environment::{Epoch, EpochId, TargetId};
use super::named::named;
use super::sample::Sample;

named! {
    /// The kinds of entries.
    EntryKind {
        Epochs = "epochs",
        Cycles = "cycles",
        Samples = "samples",
        Cells = "cells",
        Events = "events",
    }
}

/// One item. Those of an epoch follow it and name it by its number, which means something
/// within one history, or one file, alone.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    Epoch(EpochEntry),
    Cycle(CycleEntry),
    Sample(Box<Sample>),
    /// What is known of a cell, samples that are deleted included.
    Cell(EpochId, CellAggregate),
    Event(EventEntry),
}

/// An epoch and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochEntry {
    pub target: TargetId,
    pub url: String,
    pub epoch: Epoch,
}

/// One pass over the cells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CycleEntry {
    pub epoch: EpochId,
    pub number: u64,
    pub grid: Grid,
    pub seed: u64,
    pub started_at: Timestamp,
    /// `None`: it was not completed.
    pub completed_at: Option<Timestamp>,
}

/// Something that happened to a target, in the words of the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventEntry {
    pub target: TargetId,
    pub at: Timestamp,
    pub kind: String,
    pub detail: String,
}
