//! What the system tells of this process, under the names that all exporters use.

use procfs::page_size;
use procfs::process::{LimitValue, Process, Stat};

use super::family::{Family, Labelled, Reading, families};

/// What was read of a process; what the system does not tell is absent.
struct Seen {
    process: Process,
    stat: Stat,
}

const READINGS: &[Reading<Seen>] = &[
    Reading {
        name: "process_cpu_seconds_total",
        help: "Total user and system CPU time spent in seconds.",
        value: |seen| Some((seen.stat.utime + seen.stat.stime) as f64 / procfs::ticks_per_second() as f64),
    },
    Reading {
        name: "process_open_fds",
        help: "Number of open file descriptors.",
        value: |seen| Some(seen.process.fd_count().ok()? as f64),
    },
    Reading {
        name: "process_max_fds",
        help: "Maximum number of open file descriptors.",
        value: |seen| match seen.process.limits().ok()?.max_open_files.soft_limit {
            LimitValue::Value(most) => Some(most as f64),
            LimitValue::Unlimited => None,
        },
    },
    Reading {
        name: "process_virtual_memory_bytes",
        help: "Virtual memory size in bytes.",
        value: |seen| Some(seen.stat.vsize as f64),
    },
    Reading {
        name: "process_resident_memory_bytes",
        help: "Resident memory size in bytes.",
        value: |seen| Some((seen.stat.rss * page_size()) as f64),
    },
    Reading {
        name: "process_start_time_seconds",
        help: "Start time of the process since unix epoch in seconds.",
        value: |seen| {
            let since_boot = seen.stat.starttime as f64 / procfs::ticks_per_second() as f64;
            Some(procfs::boot_time_secs().ok()? as f64 + since_boot)
        },
    },
    Reading {
        name: "process_threads",
        help: "Number of OS threads in the process.",
        value: |seen| Some(seen.stat.num_threads as f64),
    },
];

/// How many series there are.
pub(super) fn series() -> usize {
    READINGS.len()
}

/// The families of this process; none where the system tells nothing.
pub(super) fn collect() -> Vec<Family> {
    let seen = Process::myself().and_then(|process| Ok(Seen { stat: process.stat()?, process }));
    let seen: Vec<_> = seen.into_iter().map(|seen| Labelled::new(&[], seen)).collect();
    families(READINGS, &seen)
}
