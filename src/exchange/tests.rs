//! What is written in a form is read from it as it was.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::{Form, Format, Reading, Writing, entries, format_of, survey};
use crate::domain::environment::SOURCE;
use crate::domain::{
    Cell, CellAggregate, Conditions, CycleEntry, Entry, EntryKind, Epoch, EpochEntry, EpochId, EventEntry, Facts,
    FailureKind, Grid, InvalidReason, Measurement, Quantiles, Sample, TargetId, ThrottleReason, TokenSource,
};

fn at(second: i64) -> Timestamp {
    let origin: Timestamp = "2026-11-24T17:01:02.345Z".parse().expect("is a time");
    origin + SignedDuration::from_secs(second)
}

/// One in which nothing is unknown, and no two numbers are the same.
fn full(unit: f64) -> Sample {
    let mut number = unit;
    let mut next = || {
        number *= 1.0 + 1.0 / 3.0;
        number
    };
    let mut quantiles = || Some(Quantiles { p50: next(), p95: next(), p99: next() });
    let measurement = Measurement {
        time_to_first_token: quantiles(),
        inter_token_latency: quantiles(),
        time_per_output_token: quantiles(),
        request_duration: quantiles(),
        worker_wait: quantiles(),
        queue_wait: quantiles(),
        total_seconds: next(),
        seconds_per_request: next(),
        tokens_per_second: next(),
        steady_tokens_per_second: Some(next()),
        prompt_tokens_per_second: Some(next()),
        requests: 8,
        failed_requests: 3,
        failures: BTreeMap::from([(FailureKind::Reset, 1), (FailureKind::Http5xx, 2)]),
        output_tokens: 1604,
        prompt_tokens: Some(512),
        cached_prompt_tokens: Some(7),
        token_source: TokenSource::ServerTimings,
        short_outputs: 4,
        observed_parallelism: Some(next()),
        observed_parallelism_peak: Some(5),
        reported_slots: Some(4),
        gpu_share: Some(next()),
        load_seconds: Some(next()),
        timer_lag_p99_seconds: Some(next()),
        client_cpu_ratio: next(),
        conditions: Conditions {
            gpu_temperature_celsius: Some(next()),
            sm_clock_megahertz: Some(next()),
            memory_clock_megahertz: Some(next()),
            gpu_utilization: Some(next()),
            power_watts: Some(next()),
            gpu_memory_used_bytes: Some(70_123_456_789),
            throttle_reasons: [ThrottleReason::PowerCap, ThrottleReason::ClockSetting].into(),
            energy_joules: Some(next()),
        },
    };
    Sample {
        target: TargetId::new("a, \"b\"", "gemma3:4b"),
        epoch: EpochId(3),
        cycle: 17,
        cell: Cell::new(4, 8),
        started_at: at(0),
        completed_at: at(9),
        measurement,
        invalid: vec![InvalidReason::FailedRequests, InvalidReason::ForeignLoad],
    }
}

/// One entry of each kind.
fn all(unit: f64) -> Vec<Entry> {
    let sample = full(unit);
    let (target, epoch) = (sample.target.clone(), sample.epoch);
    let fact = |key: &str, value: &str| -> Facts { [(key.to_owned(), value.to_owned())].into() };
    let head = Epoch {
        id: epoch,
        identity: fact("server", "ollama\n\"x\""),
        load: fact(SOURCE, "elsewhere"),
        first_seen: at(-5),
        last_seen: at(99),
    };
    let grid = Grid::new(&[4, 8], &[1, 8], false).expect("sound axes");
    let valid = Sample { invalid: Vec::new(), ..sample.clone() };
    vec![
        Entry::Epoch(EpochEntry { target: target.clone(), url: "http://h".to_owned(), epoch: head }),
        Entry::Cycle(CycleEntry {
            epoch,
            number: 17,
            grid,
            seed: u64::MAX,
            started_at: at(-1),
            completed_at: Some(at(98)),
        }),
        Entry::Sample(Box::new(sample)),
        Entry::Cell(epoch, CellAggregate::of(&valid)),
        Entry::Sample(Box::new(valid)),
        Entry::Event(EventEntry { target, at: at(3), kind: "away".to_owned(), detail: "no; answer,\n2".to_owned() }),
    ]
}

fn written(form: Form, entries: &[Entry]) -> String {
    let mut writing = Writing::begin(form, Vec::new()).expect("memory takes all");
    for entry in entries {
        writing.write(entry).expect("memory takes all");
    }
    String::from_utf8(writing.finish().expect("memory takes all")).expect("is UTF-8")
}

fn read(text: &str) -> (Format, Vec<Entry>) {
    let format = format_of(text).expect("is known");
    let reading = Reading { target: "any", measured_until: at(0) };
    let entries = entries(format, &reading, || Ok(text.as_bytes())).expect("memory can be read");
    (format, entries.map(|entry| entry.expect("is sound").1).collect())
}

proptest! {
    #[test]
    fn json_lines_are_exact(unit in 1e-9..1e9_f64) {
        let all = all(unit);
        prop_assert_eq!(read(&written(Form::Jsonl, &all)), (Format::Jsonl, all));
    }

    #[test]
    fn a_table_of_samples_is_exact(unit in 1e-9..1e9_f64) {
        let all = all(unit);
        let (format, read) = read(&written(Form::Csv(EntryKind::Samples), &all));
        prop_assert_eq!(format, Format::Csv);
        let samples = |entries: &[Entry]| -> Vec<Entry> {
            entries.iter().filter(|entry| matches!(entry, Entry::Sample(_))).cloned().collect()
        };
        prop_assert_eq!(samples(&read), samples(&all));
    }
}

/// What a survey says of the entries with one of them changed.
fn surveyed(spoil: impl Fn(&mut Measurement, &mut CellAggregate)) -> Result<u64, String> {
    let mut all = all(1.0);
    for entry in &mut all {
        let (mut no_measurement, mut no_cell) = (full(1.0).measurement, CellAggregate::of(&full(1.0)));
        match entry {
            Entry::Sample(sample) => spoil(&mut sample.measurement, &mut no_cell),
            Entry::Cell(_, cell) => spoil(&mut no_measurement, cell),
            _ => {}
        }
    }
    let numbered = (1..).zip(all).map(Ok);
    survey(numbered).map(|content| content.samples).map_err(|malformed| malformed.to_string())
}

#[test]
fn what_would_command_a_terminal_is_refused_wherever_it_stands() {
    let check = |names: &str, spoil: fn(&mut Entry)| {
        let mut all = all(1.0);
        all.iter_mut().for_each(spoil);
        let refused = survey((1..).zip(all).map(Ok)).map(|_| ()).map_err(|malformed| malformed.to_string());
        let refused = refused.expect_err(names);
        assert!(refused.ends_with(&format!(": {names}: must have no control characters")), "{refused}");
    };
    const TITLE: &str = "\u{1b}]0;gone\u{7}";
    check("identity, load", |entry| {
        let Entry::Epoch(entry) = entry else { return };
        entry.epoch.identity.insert("driver_version".to_owned(), TITLE.to_owned());
    });
    check("url", |entry| {
        let Entry::Epoch(entry) = entry else { return };
        TITLE.clone_into(&mut entry.url);
    });
    check("kind, detail", |entry| {
        let Entry::Event(event) = entry else { return };
        TITLE.clone_into(&mut event.detail);
    });
}

#[test]
fn what_is_no_number_or_no_count_is_refused_wherever_it_stands() {
    const HUGE: u64 = 1 << 53;
    assert_eq!(surveyed(|_, _| {}), Ok(2));
    assert_eq!(surveyed(|m, _| m.conditions.gpu_temperature_celsius = Some(-3.5)), Ok(2));
    let check = |line: u64, told: &str, spoil: fn(&mut Measurement, &mut CellAggregate)| {
        assert_eq!(surveyed(spoil), Err(format!("{line}: {told}")));
    };
    let (no_number, negative) =
        ("NaN: must be a finite number and not negative", "-1: must be a finite number and not negative");
    check(3, no_number, |m, _| m.tokens_per_second = f64::NAN);
    check(3, no_number, |m, _| m.conditions.gpu_temperature_celsius = Some(f64::NAN));
    check(3, no_number, |m, _| m.conditions.power_watts = Some(f64::NAN));
    check(3, negative, |m, _| m.conditions.gpu_utilization = Some(-1.0));
    check(3, negative, |m, _| m.conditions.energy_joules = Some(-1.0));
    check(3, negative, |m, _| m.conditions.sm_clock_megahertz = Some(-1.0));
    check(3, negative, |m, _| m.conditions.memory_clock_megahertz = Some(-1.0));
    check(4, negative, |_, cell| cell.log_inter_token_latency.m2 = -1.0);
    let too_many = "9007199254740992: must be at most 9007199254740991";
    check(3, too_many, |m, _| m.conditions.gpu_memory_used_bytes = Some(HUGE));
    check(3, too_many, |m, _| m.cached_prompt_tokens = Some(HUGE));
    check(4, too_many, |_, cell| cell.log_time_to_first_token.count = HUGE);
    check(4, too_many, |_, cell| cell.log_inter_token_latency.count = HUGE);
}

#[test]
fn benchstat_gets_valid_samples_alone() {
    let text = written(Form::Benchstat, &all(1.0));
    let (head, lines) = text.split_once("\n\n").expect("has a head");
    assert_eq!(head, "Unit tokens/s better=higher");
    assert!(
        lines.starts_with("target: a, \"b\"\nmodel: gemma3:4b\nepoch: 3\nBenchmarkBatch/workers=4/batch=8 8 "),
        "{lines}"
    );
    assert_eq!(lines.lines().count(), 4, "{lines}");
}

#[test]
fn every_field_is_documented() {
    let manual = include_str!("../../docs/export.md");
    let tables = EntryKind::ALL.iter().map(|&kind| written(Form::Csv(kind), &all(1.0)));
    let names: Vec<String> = tables
        .flat_map(|table| table.lines().next().unwrap_or_default().split(',').map(str::to_owned).collect::<Vec<_>>())
        .collect();
    // Quantiles are told once for all, and the columns of a cell are those of its table.
    let is_told_elsewhere = |name: &str| {
        ["_p50", "_p95", "_p99"].iter().any(|end| name.ends_with(end))
            || include_str!("../store/migrations/0002_retention.sql").contains(name)
    };
    let missing: Vec<&String> =
        names.iter().filter(|name| !is_told_elsewhere(name) && !manual.contains(&format!("`{name}`"))).collect();
    assert!(names.len() > 60 && missing.is_empty(), "not in docs/export.md: {missing:?}");
}
