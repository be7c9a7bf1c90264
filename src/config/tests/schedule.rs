//! Order, seed, hours and duty.

use jiff::tz::TimeZone;

use crate::domain::plan::ScheduleMode;
use crate::domain::{Cell, EstimatePlan, ReferenceCell, SampleWindow, ServiceLevel, Window, Windows};

use super::*;

/// The schedule of a text on a machine in Tokyo.
fn read_in_tokyo(schedule: &str) -> Result<Config, Problems> {
    let local_zone = &|| TimeZone::get("Asia/Tokyo").ok();
    from_text(&target(&format!("schedule: {schedule}")), "f", Surroundings { local_zone, ..around() })
}

/// What a schedule changes in one that has nothing but defaults.
#[track_caller]
fn check_schedule(schedule: &str, change: impl FnOnce(&mut SchedulePlan)) {
    let plan = read_in_tokyo(schedule).unwrap_or_else(|problems| panic!("{problems}\n{schedule}")).schedule;
    let mut expected = SchedulePlan::with_seed(plan.seed);
    change(&mut expected);
    assert_eq!(plan, expected, "\n{schedule}");
}

/// Every problem of a schedule, without the name of the section.
#[track_caller]
fn check_unsound(schedule: &str, expected: &str) {
    let problems = read_in_tokyo(schedule).expect_err(schedule).to_string().replace("f:4: schedule.", "");
    assert_eq!(problems, expected, "\n{schedule}");
}

#[test]
fn keys_are_read() {
    check_schedule("{order: ascending}", |s| s.order = CellOrder::Ascending);
    check_schedule("{mode: adaptive}", |s| s.mode = ScheduleMode::Adaptive);
    check_schedule("{seed: 7}", |s| s.seed = 7);
    check_schedule("{pause_between_samples: 0s}", |s| s.pause_between_samples = Duration::ZERO);
    check_schedule("{warmup_requests: 0}", |s| s.warmup_requests = 0);
    check_schedule("{cycle_interval: 365d}", |s| s.cycle_interval = Duration::from_secs(365 * 86_400));
    check_schedule("{yield_to_foreign_load: false}", |s| s.yield_to_foreign_load = false);
}

#[test]
fn the_reference_cell_is_a_cell_or_a_word() {
    let check = |text: &str, expected| {
        check_schedule(&format!("{{reference_cell: {text}}}"), |s| s.estimates.reference = expected);
    };
    check("auto", ReferenceCell::Auto);
    check("off", ReferenceCell::Off);
    check("[8, 16]", ReferenceCell::Of(Cell::new(8, 16)));
    for (text, seen) in [("[8]", "a list"), ("[0, 4]", "a list"), ("8x16", "`8x16`"), ("8", "8")] {
        let expected =
            format!("reference_cell: must be auto, off, or workers and batch, not {seen}; hint: such as [4, 4]");
        check_unsound(&format!("{{reference_cell: {text}}}"), &expected);
    }
}

#[test]
fn estimates_and_objectives_are_part_of_the_schedule() {
    let rest = "estimate: {window_samples: 10, window: 1d}\nobjectives: {slo: {time_to_first_token_p95: off}}";
    let config = from_text(&format!("{}\n{rest}", target("")), "f", around()).expect("is sound");
    let EstimatePlan { window, service_level, .. } = config.schedule.estimates;
    assert_eq!(window, SampleWindow { samples: 10, age: Duration::from_secs(86_400) });
    assert_eq!(service_level, ServiceLevel { time_to_first_token_p95: None, ..ServiceLevel::default() });
}

#[test]
fn a_duty_is_a_percentage_or_a_part_of_one() {
    for (text, expected) in [("50%", 0.5), ("1%", 0.01), ("100%", 1.0), ("12.5%", 0.125), ("0.25", 0.25), ("1", 1.0)] {
        check_schedule(&format!("{{max_duty: {text}}}"), |s| s.max_duty = expected);
    }
    for (text, seen, hint) in [
        ("0%", "`0%`", "such as 50%, or 0.5"),
        ("101%", "`101%`", "such as 50%, or 0.5"),
        ("0", "0", "such as 50%, or 0.5"),
        ("50", "50", "write `50%`"),
        ("half", "`half`", "such as 50%, or 0.5"),
        (".5%", "`.5%`", "such as 50%, or 0.5"),
        ("infinity%", "`infinity%`", "such as 50%, or 0.5"),
        (".nan", "NaN", "such as 50%, or 0.5"),
        ("[1]", "a list", "such as 50%, or 0.5"),
    ] {
        let expected = format!("max_duty: must be from 1% to 100%, not {seen}; hint: {hint}");
        check_unsound(&format!("{{max_duty: {text}}}"), &expected);
    }
}

#[test]
fn windows_are_in_the_time_zone_that_is_named() {
    let windows = |zone: &str| {
        let night = Window::new(Window::EVERY_DAY, 1320, 360).expect("is sound");
        let weekend = Window::new(0b110_0000, 0, 1440).expect("is sound");
        Windows::new(vec![night, weekend], TimeZone::get(zone).expect("is known"))
    };
    let spans = "windows: [22:00-06:00, \"Sat,Sun 00:00-24:00\"]";
    check_schedule(&format!("{{{spans}}}"), |s| s.windows = windows("Asia/Tokyo"));
    check_schedule(&format!("{{{spans}, time_zone: local}}"), |s| s.windows = windows("Asia/Tokyo"));
    check_schedule(&format!("{{{spans}, time_zone: Europe/Berlin}}"), |s| s.windows = windows("Europe/Berlin"));
    check_schedule(&format!("{{{spans}, time_zone: UTC}}"), |s| s.windows = windows("UTC"));
    check_schedule("{windows: [], time_zone: Europe/Berlin}", |_| {});
}

#[test]
fn a_machine_without_a_time_zone_needs_one_named() {
    check(
        &target("schedule:\n  windows: [22:00-06:00]\n  time_zone: local"),
        "f:6: schedule.time_zone: is local, but this machine does not tell its own, and windows need one; \
         hint: name one, such as `time_zone: Europe/Berlin`, or set TZ",
    );
    check(
        &target("schedule:\n  windows: [22:00-06:00]"),
        "f:4: schedule.time_zone: is local, but this machine does not tell its own, and windows need one; \
         hint: name one, such as `time_zone: Europe/Berlin`, or set TZ",
    );
    check(&target("schedule: {windows: [22:00-06:00], time_zone: Europe/Berlin}"), "");
    check(&target("schedule: {time_zone: local}"), "");
}

#[test]
fn each_window_has_a_line_of_its_own() {
    check(
        &target("schedule:\n  windows:\n    - 22-06\n    - Mo 22:00-06:00\n    - 24:00-06:00\n    - 7\n  time_zone: UTC"),
        "\
f:6: schedule.windows[0]: must be a span of the day, days in front of it where not all are meant, not `22-06`; hint: such as \"22:00-06:00\" or \"Mon-Fri 22:00-06:00\"
f:7: schedule.windows[1]: names `Mo`, which is no day; hint: the days are Mon, Tue, Wed, Thu, Fri, Sat, Sun
f:8: schedule.windows[2]: cannot begin at 24:00, as `24:00-06:00` does; hint: write 00:00
f:9: schedule.windows[3]: must be text, not a number; hint: put it in quotes",
    );
    check_unsound("{windows: 22:00-06:00}", "windows: must be a list, not text");
    let many = vec!["22:00-06:00"; 65].join(", ");
    check_unsound(&format!("{{windows: [{many}]}}"), "windows: must hold at most 64 items");
}

#[test]
fn a_time_zone_is_a_known_one() {
    let check_zone = |name: &str, hint: &str| {
        let expected = format!("time_zone: must be local or the name of a time zone, not `{name}`; hint: {hint}");
        check_unsound(&format!("{{time_zone: {name}}}"), &expected);
    };
    check_zone("Europe/Berln", "did you mean `Europe/Berlin`?");
    check_zone("berlin", "did you mean `Europe/Berlin`?");
    check_zone("UTC+1", "such as Europe/Berlin, or UTC");
    check(
        &target("schedule: {windows: [22:00-06:00], time_zone: Berlin}"),
        "f:4: schedule.time_zone: must be local or the name of a time zone, not `Berlin`; \
         hint: did you mean `Europe/Berlin`?",
    );
}

#[test]
fn other_values_are_refused() {
    check_unsound(
        "{cycle_interval: 366d, yield_to_foreign_load: 1, time_zone: 1}",
        "\
cycle_interval: must be from 0s to 365d, not `366d`
time_zone: must be text, not a number; hint: put it in quotes
yield_to_foreign_load: must be true or false, not 1",
    );
}

#[test]
fn a_drawn_seed_is_another_each_time() {
    let seeds: BTreeSet<u64> = (0..8).map(|_| read(&target("")).expect("is sound").schedule.seed).collect();
    assert!(seeds.len() > 1, "{seeds:?}");
}

#[test]
fn a_drawn_seed_is_told_from_a_given_one() {
    for (schedule, expected) in [("{}", true), ("{seed: random}", true), ("{seed: 7}", false)] {
        assert_eq!(read_in_tokyo(schedule).expect(schedule).seed_was_drawn, expected, "{schedule}");
    }
}

#[test]
fn a_canary_comes_now_and_then_or_never() {
    let every = |yaml: &str| read(&target(yaml)).expect("is sound").schedule.canary_every;
    assert_eq!(every(""), None);
    assert_eq!(every("canary: {every: off}"), None);
    assert_eq!(every("canary: {every: 6h}"), Some(Duration::from_secs(21_600)));
    check_target("canary: {every: 59s}", "f:4: canary.every: must be from 1m to 365d, not `59s`; hint: or off");
    check_target("canary: {every: 6}", "f:4: canary.every: needs a unit; hint: write `6s` for seconds");
    check_target(
        "canary: {every: no}",
        "f:4: canary.every: must be a duration such as 5s, 300ms or 1h30m, not `no`; hint: or off",
    );
}
