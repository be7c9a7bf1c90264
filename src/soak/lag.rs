//! How late the measuring runtime's own timers fire: what the client adds to what it measures.
//!
//! The timers are the kernel's (`timerfd`) and wake the runtime as a socket does that has
//! something to read: their lateness is that of every stamp. Tokio's own timers are only
//! good to a millisecond or two, which is no fault of the machine.
//!
//! A histogram that only grows. A sample looks at it before and after and takes the
//! difference, so that any number of samples may run beside each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;
use tokio::time::Instant;

/// A timer is set this often.
const EVERY: Duration = Duration::from_millis(2);
/// More missed timers than this at once, ten seconds of them, are no stall but a sleep.
const MOST_MISSED: u32 = 5000;
/// Fewer timers than this have no 99th percentile.
const ENOUGH: u64 = 100;
/// Upper bounds within a decade.
const STEPS: [u64; 10] = [10, 12, 15, 20, 25, 30, 40, 50, 60, 80];
/// From 10 µs to 800 ms; what is later counts in a bucket beyond.
const DECADES: usize = 5;
const BUCKETS: usize = STEPS.len() * DECADES + 1;

/// Counts timers by how late they fired. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LagMeter {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    counts: [AtomicU64; BUCKETS],
    sum_microseconds: AtomicU64,
}

/// The counts at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LagCounts {
    counts: [u64; BUCKETS],
    pub sum: Duration,
}

impl Default for LagMeter {
    fn default() -> Self {
        let counts = std::array::from_fn(|_| AtomicU64::new(0));
        Self { shared: Arc::new(Shared { counts, sum_microseconds: AtomicU64::new(0) }) }
    }
}

/// The upper bounds of all buckets but the last, which has none.
fn bounds() -> impl Iterator<Item = Duration> {
    let powers = std::iter::successors(Some(1_u64), |power| Some(power * 10)).take(DECADES);
    powers.flat_map(|power| STEPS.map(|step| Duration::from_micros(step * power)))
}

impl LagMeter {
    /// Sets timers and looks at them, until that fails. Belongs on the measuring runtime.
    pub async fn watch(self) -> std::io::Result<()> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        #[expect(deprecated, reason = "unsound for types that close or swap their descriptor; an OwnedFd keeps it")]
        let timer = AsyncFd::new(timerfd_create(TimerfdClockId::Monotonic, flags)?)?;
        let mut due = Instant::now() + EVERY;
        loop {
            let wait = due.saturating_duration_since(Instant::now()).max(Duration::from_nanos(1));
            let it_value = Timespec::try_from(wait).unwrap_or_default();
            let once = Itimerspec { it_interval: Timespec::default(), it_value };
            timerfd_settime(timer.get_ref(), TimerfdTimerFlags::empty(), &once)?;
            // Setting it again below makes it unreadable: it need not be read.
            timer.readable().await?.clear_ready();
            due = self.note_all(due, Instant::now());
        }
    }

    /// Counts every timer that was due by `now`, from `due` on, and returns the next.
    ///
    /// A client that stands still for a while is late for all that was due meanwhile: one
    /// late timer for each stall would hide it among the punctual ones.
    fn note_all(&self, mut due: Instant, now: Instant) -> Instant {
        for _ in 0..MOST_MISSED {
            if due > now {
                return due;
            }
            self.note(now - due);
            due += EVERY;
        }
        // The machine slept: nothing was measured meanwhile.
        now + EVERY
    }

    /// Counts one timer.
    pub fn note(&self, lag: Duration) {
        let bucket = bounds().position(|bound| lag <= bound).unwrap_or(BUCKETS - 1);
        if let Some(count) = self.shared.counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let microseconds = u64::try_from(lag.as_micros()).unwrap_or(u64::MAX);
        self.shared.sum_microseconds.fetch_add(microseconds, Ordering::Relaxed);
    }

    pub fn counts(&self) -> LagCounts {
        let counts = std::array::from_fn(|n| self.shared.counts.get(n).map_or(0, |c| c.load(Ordering::Relaxed)));
        LagCounts { counts, sum: Duration::from_micros(self.shared.sum_microseconds.load(Ordering::Relaxed)) }
    }
}

impl LagCounts {
    /// How many timers fired.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// How many were late by at most `bound`, which should be one of the buckets' own.
    pub fn at_most(&self, bound: Duration) -> u64 {
        bounds().zip(&self.counts).filter(|&(upper, _)| upper <= bound).map(|(_, count)| count).sum()
    }

    /// The bound of the bucket of the 99th percentile since `before`, where enough timers fired.
    pub fn p99_since(&self, before: &Self) -> Option<Duration> {
        let fired: Vec<u64> = self.counts.iter().zip(&before.counts).map(|(now, then)| now - then).collect();
        let total: u64 = fired.iter().sum();
        if total < ENOUGH {
            return None;
        }
        let mut seen = 0;
        let last = Duration::from_secs(1);
        fired.iter().zip(bounds().chain([last])).find_map(|(count, bound)| {
            seen += count;
            (seen * 100 >= total * 99).then_some(bound)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_percentile_is_of_what_came_since() {
        let meter = LagMeter::default();
        (0..500).for_each(|_| meter.note(Duration::from_millis(300)));
        let before = meter.counts();
        (0..99).for_each(|_| meter.note(Duration::from_micros(900)));
        assert_eq!(meter.counts().p99_since(&before), None, "too few to say");
        meter.note(Duration::from_millis(70));
        assert_eq!(meter.counts().p99_since(&before), Some(Duration::from_millis(1)));
        (0..2).for_each(|_| meter.note(Duration::from_millis(70)));
        assert_eq!(meter.counts().p99_since(&before), Some(Duration::from_millis(80)));
    }

    #[test]
    fn a_stall_is_as_many_late_timers_as_it_lasted() {
        let meter = LagMeter::default();
        let due = Instant::now();
        let next = meter.note_all(due, due + Duration::from_millis(9));
        assert_eq!(next, due + Duration::from_millis(10));
        let counts = meter.counts();
        assert_eq!(counts.total(), 5);
        assert_eq!(counts.sum, Duration::from_millis(9 + 7 + 5 + 3 + 1));
    }

    #[test]
    fn the_buckets_serve_the_published_bounds() {
        let meter = LagMeter::default();
        for microseconds in [100, 101, 5000, 2_000_000] {
            meter.note(Duration::from_micros(microseconds));
        }
        let counts = meter.counts();
        assert_eq!(counts.at_most(Duration::from_micros(100)), 1);
        assert_eq!(counts.at_most(Duration::from_millis(5)), 3);
        assert_eq!(counts.at_most(Duration::from_millis(100)), 3);
        assert_eq!(counts.total(), 4);
    }
}
