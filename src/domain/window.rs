//! The hours in which work is allowed, by the clock on a wall.
//!
//! A window is open exactly while a clock in its time zone shows a time within it. So a
//! day on which clocks are put forward or back has an hour less or more of it, and nothing
//! ever runs at a time of day that the user did not name.

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan as _};

/// Minutes of a day.
pub const DAY_MINUTES: u16 = 24 * 60;

/// A stretch of a day, in minutes since midnight by the clock on the wall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The days on which it begins: bit 0 is Monday.
    days: u8,
    start: u16,
    /// Not after `start`: it ends on the next day.
    end: u16,
}

impl Window {
    /// Every day of the week.
    pub const EVERY_DAY: u8 = 0b111_1111;

    /// A window that begins on `days` (bit 0 is Monday) at minute `start` of the day and ends
    /// before minute `end`, on the next day where that is not later. `None` where it has no
    /// day, or its minutes are not those of a day.
    pub fn new(days: u8, start: u16, end: u16) -> Option<Self> {
        let is_sound = days & Self::EVERY_DAY != 0 && start < DAY_MINUTES && end <= DAY_MINUTES;
        is_sound.then_some(Self { days: days & Self::EVERY_DAY, start, end })
    }

    fn is_open(self, day: Weekday, minute: u16) -> bool {
        let begins = |day: Weekday| self.days >> day.to_monday_zero_offset() & 1 == 1;
        if self.start < self.end {
            return begins(day) && (self.start..self.end).contains(&minute);
        }
        begins(day) && minute >= self.start || begins(day.previous()) && minute < self.end
    }
}

/// All windows of a schedule. Without any it is always open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Windows {
    windows: Vec<Window>,
    zone: TimeZone,
}

impl Default for Windows {
    fn default() -> Self {
        Self::new(Vec::new(), TimeZone::UTC)
    }
}

impl Windows {
    pub fn new(windows: Vec<Window>, zone: TimeZone) -> Self {
        Self { windows, zone }
    }

    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    pub fn is_open(&self, at: Timestamp) -> bool {
        if self.windows.is_empty() {
            return true;
        }
        let clock = self.zone.to_datetime(at);
        let minute = u16::from(clock.hour().unsigned_abs()) * 60 + u16::from(clock.minute().unsigned_abs());
        self.windows.iter().any(|window| window.is_open(clock.weekday(), minute))
    }

    /// When it opens or closes next; `None`: never.
    pub fn next_change(&self, at: Timestamp) -> Option<Timestamp> {
        /// The windows repeat every week; a day more for the part of today that is over.
        const DAYS: i64 = 8;
        let is_open = self.is_open(at);
        let is_change = |change: &Timestamp| *change > at && self.is_open(*change) != is_open;
        let today = self.zone.to_datetime(at).date();
        let mut days = (0..=DAYS).filter_map(|n| today.checked_add(n.days()).ok());
        let edge = days.find_map(|day| self.edges_of(day).into_iter().find(is_change));
        // A clock that is put may pass over an edge.
        let horizon = edge.or_else(|| at.checked_add(SignedDuration::from_hours(24 * DAYS)).ok())?;
        let puts = self.zone.following(at).map(|put| put.timestamp()).take_while(|&put| put <= horizon);
        puts.filter(is_change).chain(edge).min()
    }

    /// When the clock shows the edges of the windows on a day, in their order.
    fn edges_of(&self, day: Date) -> Vec<Timestamp> {
        let minutes = self.windows.iter().flat_map(|window| [window.start, window.end]);
        let midnight = day.to_datetime(Time::midnight());
        let shown =
            minutes.filter_map(|minute| midnight.checked_add(i64::from(minute).minutes()).ok()).flat_map(|clock| {
                // A clock that is put back shows this time twice; one put forward, never.
                let shown = self.zone.to_ambiguous_timestamp(clock);
                [shown.earlier(), shown.later()]
            });
        let mut edges: Vec<Timestamp> = shown.flatten().collect();
        edges.sort_unstable();
        edges
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(name: &str) -> TimeZone {
        TimeZone::get(name).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn windows(zone_name: &str, spans: &[(u8, u16, u16)]) -> Windows {
        let spans = spans.iter().map(|&(days, start, end)| Window::new(days, start, end).expect("sound"));
        Windows::new(spans.collect(), zone(zone_name))
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    /// Open minutes of the year 2026 by walking from change to change, each of which is
    /// checked against every minute between.
    fn minutes_of_a_year(windows: &Windows) -> i64 {
        let clock = |year| windows.zone.to_timestamp(jiff::civil::datetime(year, 1, 1, 0, 0, 0, 0)).expect("in range");
        let (mut now, end) = (clock(2026), clock(2027));
        let (mut open, mut told) = (0, windows.next_change(now));
        let mut is_open = windows.is_open(now);
        while now < end {
            if told == Some(now) {
                is_open = !is_open;
                told = windows.next_change(now);
            }
            assert_eq!(windows.is_open(now), is_open, "{now}");
            assert!(told.is_none_or(|told| told > now), "{now}");
            open += i64::from(is_open);
            now += SignedDuration::from_mins(1);
        }
        open
    }

    #[test]
    fn a_year_has_each_window_of_the_clock_with_both_changes_of_daylight_saving() {
        let night = [(Window::EVERY_DAY, 22 * 60, 6 * 60)];
        // Spring takes an hour of the night, autumn gives it back.
        assert_eq!(minutes_of_a_year(&windows("Europe/Berlin", &night)), 365 * 8 * 60);
        assert_eq!(minutes_of_a_year(&windows("America/New_York", &night)), 365 * 8 * 60);
        // The hour that spring leaves out, and that autumn has twice.
        let hour = [(Window::EVERY_DAY, 2 * 60, 3 * 60)];
        assert_eq!(minutes_of_a_year(&windows("Europe/Berlin", &hour)), (365 - 1 + 1) * 60);
        // Half an hour across the put clock.
        let half = [(Window::EVERY_DAY, 2 * 60 + 30, 3 * 60 + 30)];
        assert_eq!(minutes_of_a_year(&windows("Europe/Berlin", &half)), 365 * 60 - 30 + 30);
        // Weekends of 2026: 52 Saturdays and 52 Sundays, one hour less and one more.
        let weekend = [(0b110_0000, 0, DAY_MINUTES)];
        assert_eq!(minutes_of_a_year(&windows("Europe/Berlin", &weekend)), 104 * 24 * 60);
        assert_eq!(minutes_of_a_year(&windows("Asia/Kolkata", &night)), 365 * 8 * 60);
    }

    #[test]
    fn a_window_follows_the_put_clock() {
        let windows = windows("Europe/Berlin", &[(Window::EVERY_DAY, 22 * 60, 6 * 60)]);
        // 6 o'clock is at 5 UTC in winter and at 4 UTC in summer.
        assert_eq!(windows.next_change(at("2026-03-28T01:00Z")), Some(at("2026-03-28T05:00Z")));
        assert_eq!(windows.next_change(at("2026-03-29T00:00Z")), Some(at("2026-03-29T04:00Z")));
        assert_eq!(windows.next_change(at("2026-10-25T00:00Z")), Some(at("2026-10-25T05:00Z")));
    }

    #[test]
    fn a_night_belongs_to_the_day_on_which_it_begins() {
        let friday = windows("UTC", &[(0b001_0000, 22 * 60, 6 * 60)]);
        assert!(!friday.is_open(at("2026-11-20T03:00Z")), "the night before");
        assert!(friday.is_open(at("2026-11-20T22:00Z")));
        assert!(friday.is_open(at("2026-11-21T05:59:59Z")));
        assert!(!friday.is_open(at("2026-11-21T06:00Z")));
        assert_eq!(friday.next_change(at("2026-11-21T06:00Z")), Some(at("2026-11-27T22:00Z")));
    }

    #[test]
    fn what_is_always_open_never_changes() {
        assert!(Windows::default().is_open(Timestamp::UNIX_EPOCH));
        assert_eq!(Windows::default().next_change(Timestamp::UNIX_EPOCH), None);
        let all_day = windows("Europe/Berlin", &[(Window::EVERY_DAY, 0, DAY_MINUTES)]);
        assert_eq!(all_day.next_change(at("2026-03-28T12:00Z")), None);
        let round_the_clock = windows("Europe/Berlin", &[(Window::EVERY_DAY, 360, 360)]);
        assert_eq!(round_the_clock.next_change(at("2026-03-28T12:00Z")), None);
    }
}
