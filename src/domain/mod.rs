//! The words of the house: plain data that every floor shares.
//!
//! Nothing here does I/O, reads a clock or draws a random number. Times inside a
//! sample are offsets from the sample's origin (its first intended send); wall time
//! appears only as UTC timestamps that were read elsewhere and passed in.

pub mod aggregate;
pub mod canary;
pub mod cell;
pub mod change;
pub mod checksum;
pub mod component;
pub mod conditions;
pub mod duration;
pub mod entry;
pub mod environment;
pub mod event;
pub mod failure;
mod named;
pub mod notify;
pub mod occupancy;
pub mod optimum;
pub mod plan;
pub mod request;
pub mod sample;
pub mod slots;
pub mod spending;
pub mod web;
pub mod window;

pub use aggregate::{CellAggregate, Moments};
pub use canary::Canary;
pub use cell::{Cell, Grid, GridError};
pub use change::{
    ActiveAlarm, Baseline, BaselineOptimum, BaselineOrder, Cause, CellChange, ChangeEvent, ChangeRecord, Compared,
    Comparison, CycleRef, Direction, Measure, OrderKind, Ratio, Scope, ToldChange, Turn, Verdict, percent_change,
};
pub use checksum::{EMPTY_CHECKSUM, checksum, checksum_with};
pub use component::{Component, ComponentChanges, EnvironmentChanges};
pub use conditions::{Conditions, GpuReading, ThrottleReason};
pub use entry::{CycleEntry, Entry, EntryKind, EpochEntry, EventEntry};
pub use environment::{Epoch, EpochId, Facts, Load, ServerIdentity, ServerKind, TargetId};
pub use event::{Event, Happening, SchedulerState};
pub use failure::{FailureKind, InvalidReason, RequestFailure};
pub use occupancy::{Look, Occupancy, TokenCounter};
pub use optimum::{EstimatePlan, NamedCells, ReferenceCell, SampleWindow, ServiceLevel};
pub use request::{Chunk, Endpoint, GenerateRequest, RequestRecord, ServerTimings, TokenCounts, TokenSource};
pub use sample::{Distribution, Latencies, LatencyMeasure, Measurement, Quantiles, Sample};
pub use slots::SlotsMode;
pub use spending::{Cost, Spent};
pub use window::{Window, Windows};
