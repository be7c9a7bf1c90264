//! Windows as people write them: `22:00-06:00`, `Mon-Fri 22:00-06:00`; and time zones.

use jiff::tz::{TimeZone, db};
use serde_json::json;

use crate::domain::Window;
use crate::domain::window::DAY_MINUTES;

use super::kind::{Kind, text};
use super::problem::{Fault, nearest};

/// From Monday on, as `Window` counts them.
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// One window, in the words of JSON Schema.
const PATTERN: &str = concat!(
    "^ *([A-Za-z]{3}(-[A-Za-z]{3})?(, *[A-Za-z]{3}(-[A-Za-z]{3})?)* +)?",
    "([01]?[0-9]|2[0-3]):[0-5][0-9] *- *(([01]?[0-9]|2[0-3]):[0-5][0-9]|24:00) *$"
);

pub(super) fn window() -> Kind<'static, Window> {
    text().with(json!({"pattern": PATTERN})).and_then(|text| parse(&text))
}

/// Days, where some are meant, and a span of the day.
fn parse(text: &str) -> Result<Window, Fault> {
    let form = || {
        Fault::new(format!("must be a span of the day, days in front of it where not all are meant, not `{text}`"))
            .hint("such as \"22:00-06:00\" or \"Mon-Fri 22:00-06:00\"")
    };
    // The span begins with the first digit: days have none.
    let (names, span) = text.split_at(text.find(|c: char| c.is_ascii_digit()).ok_or_else(form)?);
    let days = match names.trim() {
        "" => Window::EVERY_DAY,
        _ if !names.ends_with(' ') => return Err(form()),
        names => days(names)?,
    };
    let (start, end) = span.split_once('-').ok_or_else(form)?;
    let (start, end) = (minute(start).ok_or_else(form)?, minute(end).ok_or_else(form)?);
    Window::new(days, start, end)
        .ok_or_else(|| Fault::new(format!("cannot begin at 24:00, as `{text}` does")).hint("write 00:00"))
}

/// A comma-separated list of days and of ranges of them, as bits from Monday on.
fn days(names: &str) -> Result<u8, Fault> {
    names.split(',').try_fold(0, |days, part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (day(first)?, day(last)?);
        // A range may go on over Sunday.
        let length = (last + DAYS.len() - first) % DAYS.len();
        Ok((first..=first + length).fold(days, |days, day| days | 1 << (day % DAYS.len())))
    })
}

fn day(name: &str) -> Result<usize, Fault> {
    let name = name.trim();
    DAYS.iter().position(|day| name.eq_ignore_ascii_case(day)).ok_or_else(|| {
        Fault::new(format!("names `{name}`, which is no day")).hint("the days are Mon, Tue, Wed, Thu, Fri, Sat, Sun")
    })
}

/// Minutes since midnight: `22:00`, `6:30`, `24:00`.
fn minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.trim().split_once(':')?;
    let is_number = |digits: &str| digits.chars().all(|c| c.is_ascii_digit());
    if !(1..=2).contains(&hour.len()) || minute.len() != 2 || !is_number(hour) || !is_number(minute) {
        return None;
    }
    let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
    let of_day = hour * 60 + minute;
    (minute < 60 && of_day <= DAY_MINUTES).then_some(of_day)
}

/// A time zone that a key names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Zone {
    /// The machine's own.
    Local,
    Named(TimeZone),
}

/// What stands for the machine's own time zone.
pub(super) const LOCAL: &str = "local";

pub(super) fn zone() -> Kind<'static, Zone> {
    text().and_then(|name| {
        if name == LOCAL {
            return Ok(Zone::Local);
        }
        TimeZone::get(&name).map(Zone::Named).map_err(|_| {
            let fault = Fault::new(format!("must be {LOCAL} or the name of a time zone, not `{name}`"));
            match nearest_zone(&name) {
                Some(meant) => fault.hint(format!("did you mean `{meant}`?")),
                None => fault.hint("such as Europe/Berlin, or UTC"),
            }
        })
    })
}

/// The time zone that was most likely meant: one of that city, or one that is spelled alike.
fn nearest_zone(name: &str) -> Option<String> {
    let zones: Vec<String> = db().available().map(|zone| zone.as_str().to_owned()).collect();
    let known: Vec<&str> = zones.iter().map(String::as_str).chain([LOCAL]).collect();
    let city = |zone: &&&str| zone.rsplit('/').next().is_some_and(|city| city.eq_ignore_ascii_case(name));
    let meant = known.iter().find(city).copied().or_else(|| nearest(name, &known));
    meant.map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, days: u8, start: u16, end: u16) {
        assert_eq!(parse(text).ok(), Window::new(days, start, end), "{text:?}");
    }

    #[test]
    fn a_window_is_a_span_of_each_day() {
        check("22:00-06:00", Window::EVERY_DAY, 1320, 360);
        check("0:00-24:00", Window::EVERY_DAY, 0, 1440);
        check(" 6:30 - 6:30 ", Window::EVERY_DAY, 390, 390);
    }

    #[test]
    fn days_stand_in_front() {
        check("Mon-Fri 22:00-06:00", 0b001_1111, 1320, 360);
        check("sat,SUN 00:00-24:00", 0b110_0000, 0, 1440);
        check("Fri-Mon 1:00-2:00", 0b111_0001, 60, 120);
        check("Mon, Wed-Thu, Sun 1:00-2:00", 0b100_1101, 60, 120);
        check("Tue-Tue 1:00-2:00", 0b000_0010, 60, 120);
    }

    #[test]
    fn anything_else_is_no_window() {
        for text in [
            "",
            "22",
            "22:00",
            "22:00-",
            "-06:00",
            "22-06",
            "22:60-06:00",
            "24:00-06:00",
            "22:00-24:01",
            "1:0-2:00",
            "001:00-2:00",
            "22:00-06:00 Mon",
            "Mon22:00-06:00",
            "Mon 22:00-06:00-07:00",
            "Mon-Fri",
            "Monday 1:00-2:00",
            "Mon- 1:00-2:00",
            "Mon,,Tue 1:00-2:00",
            "Mo 1:00-2:00",
            "+1:00-2:00",
            "22:00–06:00",
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_slip_in_a_zone_is_seen() {
        for (name, expected) in [
            ("Berlin", Some("Europe/Berlin")),
            ("new_york", Some("America/New_York")),
            ("Europe/Berln", Some("Europe/Berlin")),
            ("Local", Some("local")),
            ("the moon", None),
        ] {
            assert_eq!(nearest_zone(name).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn every_known_zone_can_be_named() {
        for name in db().available() {
            assert!(TimeZone::get(name.as_str()).is_ok(), "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[A-Za-z0-9:, -]{0,20}|.*") {
            let _ = parse(&text);
        }
    }
}
