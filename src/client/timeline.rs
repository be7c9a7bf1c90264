//! The one clock of a sample: offsets from its origin, and the server's last sign of progress.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Progress is known to so many nanoseconds: time-outs are of seconds.
const GRAIN: u64 = 1_000_000;

/// Shared by all requests of a sample.
#[derive(Debug)]
pub struct Timeline {
    origin: Instant,
    /// Nanoseconds since the origin.
    last_progress: AtomicU64,
}

impl Timeline {
    /// A timeline that begins now.
    pub fn start() -> Self {
        Self { origin: Instant::now(), last_progress: AtomicU64::new(0) }
    }

    /// The time since the origin.
    pub fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    /// The offset of that instant.
    pub fn at(&self, instant: Instant) -> Duration {
        instant.saturating_duration_since(self.origin)
    }

    /// The instant at that offset.
    pub fn instant(&self, offset: Duration) -> Instant {
        self.origin + offset
    }

    /// Notes that the server produced something for one of the requests.
    pub fn note_progress(&self, at: Duration) {
        let nanoseconds = u64::try_from(at.as_nanos()).unwrap_or(u64::MAX);
        // Written with every token, it would wander from core to core.
        if nanoseconds >= self.last_progress.load(Ordering::Relaxed).saturating_add(GRAIN) {
            self.last_progress.fetch_max(nanoseconds, Ordering::Relaxed);
        }
    }

    /// When the server last produced something for any request of the sample.
    pub fn last_progress(&self) -> Duration {
        Duration::from_nanos(self.last_progress.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn offsets_and_instants_are_of_one_origin() {
        let before = Instant::now();
        advance(Duration::from_secs(1)).await;
        let timeline = Timeline::start();
        advance(Duration::from_secs(5)).await;
        assert_eq!(timeline.now(), Duration::from_secs(5));
        assert_eq!(timeline.instant(Duration::from_secs(5)), Instant::now());
        assert_eq!(timeline.at(Instant::now()), Duration::from_secs(5));
        assert_eq!(timeline.at(before), Duration::ZERO);
    }

    #[test]
    fn progress_is_the_latest_known_to_a_grain() {
        let timeline = Timeline::start();
        let noted = |nanoseconds| {
            timeline.note_progress(Duration::from_nanos(nanoseconds));
            u64::try_from(timeline.last_progress().as_nanos()).expect("short")
        };
        assert_eq!(noted(GRAIN - 1), 0);
        assert_eq!(noted(GRAIN), GRAIN);
        assert_eq!(noted(2 * GRAIN - 1), GRAIN);
        assert_eq!(noted(9 * GRAIN), 9 * GRAIN);
        assert_eq!(noted(3 * GRAIN), 9 * GRAIN);
    }
}
