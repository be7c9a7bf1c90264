//! The clock that the truth server and the clients share, and how the bench's processes are run.
//!
//! Nothing here measures llmsoak.

use std::time::Duration;

use llmsoak::analysis::quantile::median;
use rustix::process::setpriority_process;
use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::{Builder, Runtime};

/// As the product's measuring threads ask for it.
const NICENESS: i32 = -20;

fn read(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

/// Nanoseconds of the machine's monotonic clock, the same in all processes.
pub(crate) fn now() -> u64 {
    read(ClockId::Monotonic)
}

/// Processor time of this process so far, seconds.
pub(crate) fn cpu_seconds() -> f64 {
    read(ClockId::ProcessCPUTime) as f64 / 1e9
}

pub(crate) fn nanoseconds(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// The threads that serve and those that measure come before all others, so that what else the
/// machine does disturbs neither.
pub(crate) fn come_first() {
    if setpriority_process(None, NICENESS).is_err() {
        eprintln!("without the privilege to raise priorities: a busy machine shows in the figures");
    }
}

/// A runtime as the product's measuring one: a thread a core.
pub(crate) fn runtime(name: &str) -> Runtime {
    let cores = std::thread::available_parallelism().map_or(1, usize::from).min(4);
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(cores).thread_name(name).on_thread_start(come_first).enable_all();
    builder.build().expect("threads")
}

/// The median; of nothing, no number.
pub(crate) fn middle(values: &[f64]) -> f64 {
    median(values).unwrap_or(f64::NAN)
}

/// The value below which that share of the sorted values lies.
pub(crate) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let index = (share * (sorted.len().saturating_sub(1)) as f64).round() as usize;
    sorted.get(index).copied().unwrap_or(f64::NAN)
}
