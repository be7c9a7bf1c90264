//! `llmsoak backtest`: recorded cycles in, events out.

use std::fmt::Write as _;

use assert_cmd::Command;
use serde_json::Value;

fn llmsoak() -> Command {
    Command::new(env!("CARGO_BIN_EXE_llmsoak"))
}

/// Forty cycles of four cells; the driver changes at the thirtieth, and all is 10 % slower.
fn cycles() -> String {
    let mut lines = String::new();
    for cycle in 0..40_u32 {
        let (driver, factor) = if cycle < 30 { ("1", 1.0) } else { ("2", 0.9) };
        let cell = |batch: u32| {
            let wobble = 1.0 + 0.01 * f64::from((cycle * 7 + batch * 3) % 11).sin();
            let rate = 10.0 * f64::from(batch) * factor * wobble;
            format!(r#"{{"workers":2,"batch":{batch},"tokens_per_second":{rate}}}"#)
        };
        let cells = [4, 8, 16, 32].map(cell).join(",");
        let (day, hour) = (1 + cycle / 24, cycle % 24);
        let time = format!("2026-11-{day:02}T{hour:02}:00:00Z");
        let environment = format!(r#"{{"driver_version":"{driver}"}}"#);
        writeln!(lines, r#"{{"time":"{time}","environment":{environment},"cells":[{cells}]}}"#)
            .expect("a string grows");
    }
    lines
}

#[test]
fn a_file_and_stdin_give_the_same_event() {
    let folder = tempfile::tempdir().expect("a folder");
    let (input, output) = (folder.path().join("cycles.jsonl"), folder.path().join("events.jsonl"));
    std::fs::write(&input, cycles()).expect("writable");
    let mut from_file = llmsoak();
    from_file.arg("backtest").arg("--input").arg(&input).arg("--output").arg(&output);
    let assert = from_file.assert().success().stdout("");
    assert_eq!(String::from_utf8_lossy(&assert.get_output().stderr), "cycles: 40, changes: 1\n");
    let events = std::fs::read_to_string(&output).expect("events");
    let event: Value = serde_json::from_str(&events).expect("one event");
    assert_eq!((event["changed_cycle"].as_u64(), event["component"].as_str()), (Some(30), Some("driver")));

    let mut from_stdin = llmsoak();
    from_stdin.args(["backtest", "--input", "-", "--output", "-"]).write_stdin(cycles());
    from_stdin.assert().success().stdout(events);
}

#[test]
fn what_the_user_can_mend_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let input = folder.path().join("cycles.jsonl");
    std::fs::write(&input, cycles() + "{\"time\": \"2026-11-09T00:00:00Z\"}\n").expect("writable");
    let fails = |arguments: &[&str]| {
        let mut command = llmsoak();
        command.arg("backtest").arg("--input").arg(&input).args(arguments);
        String::from_utf8_lossy(&command.assert().code(1).get_output().stderr).into_owned()
    };
    let said = fails(&["--output", "-"]);
    assert!(said.contains("cycles.jsonl:41: column 32: missing field `cells`\n  hint: "), "{said}");
    let said = fails(&["--output", input.to_str().expect("UTF-8")]);
    assert!(said.contains("--output: ") && said.contains("is the input"), "{said}");
    let still_there = std::fs::read_to_string(&input).expect("is not overwritten");
    assert_eq!(still_there.lines().count(), 41);
}
