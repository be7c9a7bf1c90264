//! The detector of one target: fed one cycle at a time, it says what changed.
//!
//! Its memory is bounded by the grid and the window. All it knows, it knows from the last
//! few hundred cycles, so that it is restored by replaying them.

use super::environment::Known;
use super::pool::{Registry, median};
use super::search::Thresholds;
use super::track::{Row, Told, Track};
use super::verdict::Finding;
use super::view::CycleView;
use crate::domain::{ChangeEvent, Component, CycleRef, Measure};

pub use crate::domain::plan::RegressionPlan as Settings;

impl Settings {
    /// Deviations at which the default rate of false alarms is kept: measured, see
    /// docs/regression.md.
    const KNOWN: f64 = 2.7;
    const UNKNOWN: f64 = 4.0;
    const ELSEWHERE: f64 = 2.5;

    /// The tail of a normal distribution falls like exp(−z²/2): another rate moves z² by
    /// twice the logarithm of the ratio of the rates.
    fn thresholds(self) -> Thresholds {
        let default = Self::default().false_alarms_per_1000_cycles;
        let rate = self.false_alarms_per_1000_cycles.clamp(1e-6, 100.0);
        let moved = |z: f64| (z * z + 2.0 * (default / rate).ln()).max(1.0).sqrt();
        Thresholds {
            known: moved(Self::KNOWN),
            unknown: moved(Self::UNKNOWN),
            elsewhere: moved(Self::ELSEWHERE),
            minimum_effect: self.minimum_effect.max(0.0).ln_1p(),
        }
    }
}

/// The gaps between cycles that say how long a cycle takes.
const GAPS: usize = 15;
/// The longest pause, in cycles: by then nothing of the noise before is left.
const LONGEST_PAUSE: f64 = 48.0;

/// For so many cycles a change of one measure speaks for one of another.
const TOLD_CYCLES: u64 = 24;

/// How often an identity changes for the threshold at such a change to be as it is, in cycles,
/// and how many cycles are remembered for that.
const CYCLES_A_CHANGE: f64 = 80.0;
const REMEMBERED_CYCLES: f64 = 200.0;

/// Finds changes, online.
#[derive(Clone, Debug)]
pub struct Detector {
    thresholds: Thresholds,
    registry: Registry,
    known: Known,
    tracks: [Track; 3],
    cycles: u64,
    position: f64,
    last_seconds: Option<f64>,
    gaps: Vec<f64>,
    told: Vec<Told>,
    often: Often,
}

/// How often the identity changes: cycles and changes, the older the less.
#[derive(Clone, Copy, Debug, Default)]
struct Often {
    cycles: f64,
    changes: f64,
}

impl Often {
    fn learn(&mut self, is_change: bool) {
        let kept = 1.0 - REMEMBERED_CYCLES.recip();
        self.cycles = kept * self.cycles + 1.0;
        self.changes = kept * self.changes + f64::from(u8::from(is_change));
    }

    /// Each change of identity is a test of its own, so that more of them share the budget of
    /// false alarms: how many times fewer each may raise.
    fn share(self) -> f64 {
        (self.changes * CYCLES_A_CHANGE / (self.cycles + CYCLES_A_CHANGE)).max(1.0)
    }
}

/// Looks at each measure, and again where another has just changed.
fn look(
    mut waiting: Vec<&mut Track>,
    registry: &Registry,
    thresholds: Thresholds,
    told: &mut Vec<Told>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    loop {
        let known = told.len();
        waiting.retain_mut(|track| {
            let Some(finding) = track.look(registry, thresholds, told) else { return true };
            if let Finding::Changed(ChangeEvent { measure, changed, direction, cause, .. }) = finding {
                told.push(Told { measure, changed, direction, cause });
            }
            findings.push(finding);
            false
        });
        if told.len() == known {
            return findings;
        }
    }
}

impl Detector {
    pub fn new(settings: Settings) -> Self {
        Self {
            thresholds: settings.thresholds(),
            registry: Registry::default(),
            known: Known::default(),
            tracks: Measure::ALL.map(Track::new),
            cycles: 0,
            position: 0.0,
            last_seconds: None,
            gaps: Vec::with_capacity(GAPS + 1),
            told: Vec::new(),
            often: Often::default(),
        }
    }

    /// Takes in the next cycle and says what it brings to light, at most one finding a
    /// measure. Cycles are numbered from 0 in the order in which they are fed.
    pub fn observe(&mut self, view: &CycleView) -> Vec<Finding> {
        let at = CycleRef { cycle: self.cycles, at: view.at };
        self.cycles += 1;
        let seconds = view.at.as_second() as f64;
        self.advance(seconds);
        let components: Vec<Component> = self.known.learn(&view.identity);
        self.often.learn(!components.is_empty());
        let change = (!components.is_empty()).then_some((at, components));
        let grew = self.registry.learn(&view.cells);
        let mut waiting = Vec::with_capacity(self.tracks.len());
        for (track, measure) in self.tracks.iter_mut().zip(Measure::ALL) {
            let row = Row {
                at,
                position: self.position,
                seconds,
                logs: self.registry.logs(&view.cells, measure),
                change: change.clone(),
                pooled: Vec::new(),
            };
            if track.take(row, &self.registry, grew) {
                waiting.push(track);
            }
        }
        self.told.retain(|told| told.changed.cycle + TOLD_CYCLES > at.cycle);
        let thresholds = self.thresholds.shared(self.often.share());
        look(waiting, &self.registry, thresholds, &mut self.told)
    }

    /// Moves on by a cycle, or by as many as a pause was long.
    fn advance(&mut self, seconds: f64) {
        let Some(last) = self.last_seconds.replace(seconds) else { return };
        let gap = (seconds - last).max(0.0);
        let usual = median(&mut self.gaps.clone());
        let cycles = if usual > 0.0 { (gap / usual).round().clamp(1.0, LONGEST_PAUSE) } else { 1.0 };
        self.position += cycles;
        self.gaps.push(gap);
        if self.gaps.len() > GAPS {
            self.gaps.remove(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};

    use super::*;
    use crate::domain::{Cause, Direction, Facts};

    fn view(minutes: i64, driver: &str) -> CycleView {
        let at = Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minutes);
        let identity = Facts::from([("driver_version".to_owned(), driver.to_owned())]);
        CycleView { at, identity, cells: Vec::new() }
    }

    #[test]
    fn positions_are_cycles_as_long_as_usual() {
        let mut detector = Detector::new(Settings::default());
        let mut position = |minutes: i64| {
            detector.observe(&view(minutes, "1"));
            detector.position
        };
        assert_eq!([0, 90, 130, 170, 210].map(&mut position), [0.0, 1.0, 2.0, 3.0, 4.0]);
        // A pause of five cycles, a cycle that came early, and one before the last.
        assert_eq!([410, 415, 400].map(&mut position), [9.0, 10.0, 11.0]);
        assert_eq!(position(100_000), 59.0, "a long pause");
    }

    #[test]
    fn cycles_at_one_time_are_a_cycle_each() {
        let mut detector = Detector::new(Settings::default());
        let positions = [7; 4].map(|minutes| {
            detector.observe(&view(minutes, "1"));
            detector.position
        });
        assert_eq!(positions, [0.0, 1.0, 2.0, 3.0]);
    }

    #[test]
    fn the_newest_gaps_say_how_long_a_cycle_is() {
        let mut detector = Detector::new(Settings::default());
        for cycle in 0..=20 {
            detector.observe(&view(10 * cycle * cycle, "1"));
            assert_eq!(detector.gaps.len() as i64, cycle.min(15));
        }
        assert_eq!((detector.gaps[0], detector.gaps[14]), (600.0 * 11.0, 600.0 * 39.0));
    }

    #[test]
    fn what_was_told_counts_for_a_day_or_so() {
        let told = |cycle: u64| Told {
            measure: Measure::TokensPerSecond,
            changed: CycleRef { cycle, at: Timestamp::UNIX_EPOCH },
            direction: Direction::Regression,
            cause: Cause::SlowDecay,
        };
        let mut detector =
            Detector { cycles: 30, told: vec![told(5), told(6), told(7)], ..Detector::new(Settings::default()) };
        detector.observe(&view(0, "1"));
        assert_eq!(detector.told.iter().map(|told| told.changed.cycle).collect::<Vec<_>>(), [7]);
    }

    #[test]
    fn changes_of_identity_are_counted_and_the_older_count_less() {
        let mut detector = Detector::new(Settings::default());
        let drivers = ["1", "1", "2", "2"];
        drivers.iter().for_each(|driver| _ = detector.observe(&view(0, driver)));
        assert!((detector.often.changes - 0.995).abs() < 1e-12);
        assert!((detector.often.cycles - (1.0 + 0.995 + 0.995_f64.powi(2) + 0.995_f64.powi(3))).abs() < 1e-12);
        let share = |cycles: f64, changes: f64| Often { cycles, changes }.share();
        assert_eq!([share(120.0, 5.0), share(120.0, 2.0), share(0.0, 0.0)], [2.0, 1.0, 1.0]);
    }

    #[test]
    fn changes_of_identity_that_come_often_share_the_false_alarms() {
        let known = |every: u64| {
            let mut often = Often::default();
            (1..=400).for_each(|cycle: u64| often.learn(cycle.is_multiple_of(every)));
            Settings::default().thresholds().shared(often.share())
        };
        assert_eq!(known(1000), Settings::default().thresholds());
        let often = known(20);
        assert!((2.9..3.4).contains(&often.known), "{often:?}");
        assert_eq!(often.unknown, Settings::UNKNOWN);
    }
}
