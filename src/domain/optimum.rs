//! What the user asks of estimates and of an optimum, and the cells that were named.

use std::collections::BTreeMap;
use std::time::Duration;

use super::cell::Cell;

/// The samples that estimates are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SampleWindow {
    /// The newest of each cell.
    pub samples: usize,
    /// Before the newest of all.
    pub age: Duration,
}

impl Default for SampleWindow {
    fn default() -> Self {
        Self { samples: 50, age: Duration::from_secs(7 * 86_400) }
    }
}

/// The most that a service may make wait; `None` is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceLevel {
    pub time_to_first_token_p95: Option<Duration>,
    pub inter_token_latency_p95: Option<Duration>,
}

impl Default for ServiceLevel {
    fn default() -> Self {
        Self {
            time_to_first_token_p95: Some(Duration::from_secs(2)),
            inter_token_latency_p95: Some(Duration::from_millis(100)),
        }
    }
}

/// Which cell is measured several times within a cycle, so that drift of the machine shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReferenceCell {
    /// One that does not queue and is short.
    #[default]
    Auto,
    Off,
    /// Where the grid has it; else as if it were not named.
    Of(Cell),
}

/// How conclusions are drawn from samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EstimatePlan {
    pub window: SampleWindow,
    pub service_level: ServiceLevel,
    pub reference: ReferenceCell,
}

/// The cells that an optimum named: what is published, and held on to until another is surely
/// better.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedCells {
    pub throughput: Cell,
    pub frugal: Cell,
    pub slo: Option<Cell>,
    /// The best cell of each worker count.
    pub rows: BTreeMap<u32, Cell>,
}
