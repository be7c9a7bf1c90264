//! `llmsoak backtest`: recorded cycles through the detector, one at a time, as if live.
//!
//! A line is a cycle, and is read only when the one before has been judged: an event knows
//! nothing of what came after it, and is written once.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read as _, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::args::BacktestArgs;
use super::say;
use crate::analysis::regression::{CellFigures, ChangeEvent, CycleView, Detector, Finding, Settings};
use crate::domain::{Cell, Facts};

/// The longest line that is read: some 60,000 cells.
const LONGEST_LINE_BYTES: u64 = 16 << 20;
/// The name of stdin and stdout.
const STANDARD: &str = "-";

pub(super) fn run(args: &BacktestArgs) -> anyhow::Result<ExitCode> {
    let settings = Settings { minimum_effect: args.minimum_effect, false_alarms_per_1000_cycles: args.false_alarms };
    let name = args.input.display().to_string();
    let input: Box<dyn BufRead> = if is_standard(&args.input) {
        Box::new(io::stdin().lock())
    } else {
        Box::new(BufReader::new(File::open(&args.input).with_context(|| name.clone())?))
    };
    let output: Box<dyn Write> = match &args.output {
        Some(path) if !is_standard(path) => {
            if is_same_file(&args.input, path) {
                bail!("--output: {name} is the input\n  hint: name another file");
            }
            Box::new(BufWriter::new(File::create(path).with_context(|| path.display().to_string())?))
        }
        _ => Box::new(io::stdout().lock()),
    };
    let totals = replay(&name, input, output, settings)?;
    say(format_args!("cycles: {}, changes: {}", totals.cycles, totals.changes));
    Ok(ExitCode::SUCCESS)
}

fn is_standard(path: &Path) -> bool {
    path == Path::new(STANDARD)
}

fn is_same_file(input: &Path, output: &Path) -> bool {
    let whole = |path: &Path| path.canonicalize().ok();
    !is_standard(input) && whole(input).is_some_and(|input| whole(output) == Some(input))
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Totals {
    cycles: u64,
    changes: u64,
}

/// Feeds the detector line by line and writes what it finds, each event before the next line
/// is read.
fn replay(name: &str, mut input: impl BufRead, mut output: impl Write, settings: Settings) -> anyhow::Result<Totals> {
    let mut detector = Detector::new(settings);
    let (mut totals, mut line, mut latest) = (Totals::default(), Vec::new(), None);
    for number in 1_u64.. {
        let at = || format!("{name}:{number}");
        line.clear();
        let read = (&mut input).take(LONGEST_LINE_BYTES).read_until(b'\n', &mut line).with_context(at)?;
        if read == 0 {
            break;
        }
        if read as u64 == LONGEST_LINE_BYTES {
            bail!("{}: longer than {LONGEST_LINE_BYTES} bytes\n  hint: a line holds one cycle", at());
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let cycle = decode(&line).with_context(at)?;
        if latest.is_some_and(|latest| cycle.at < latest) {
            bail!("{}: time: {} is before the line before it\n  hint: sort the cycles by time", at(), cycle.at);
        }
        latest = Some(cycle.at);
        totals.cycles += 1;
        for finding in detector.observe(&cycle) {
            let Finding::Changed(event) = finding else { continue };
            totals.changes += 1;
            if let Err(error) = write(&mut output, &event) {
                // Whoever closed the pipe has seen enough.
                if error.kind() == io::ErrorKind::BrokenPipe {
                    return Ok(totals);
                }
                return Err(error).context("--output");
            }
        }
    }
    if totals.cycles == 0 {
        bail!("{name}: no cycle\n  hint: each line is a JSON object with time, environment and cells");
    }
    Ok(totals)
}

/// A cycle as it is recorded.
#[derive(Deserialize)]
struct RecordedCycle {
    time: String,
    #[serde(default)]
    environment: BTreeMap<String, Value>,
    cells: Vec<RecordedCell>,
}

#[derive(Deserialize)]
struct RecordedCell {
    workers: u32,
    batch: u32,
    tokens_per_second: Option<f64>,
    time_to_first_token_p50_seconds: Option<f64>,
    inter_token_latency_p50_seconds: Option<f64>,
}

fn decode(line: &[u8]) -> anyhow::Result<CycleView> {
    let cycle: RecordedCycle = serde_json::from_slice(line).map_err(|error| {
        // The line is known: its number in the file, not in the text that was decoded.
        let (said, column) = (error.to_string(), error.column());
        let said = said.split(" at line ").next().unwrap_or_default().to_owned();
        anyhow::anyhow!(
            "column {column}: {said}\n  hint: a line is one cycle, such as {{\"time\": \"2026-11-01T00:00:00Z\", \
             \"environment\": {{\"driver_version\": \"580.1\"}}, \"cells\": [{{\"workers\": 4, \"batch\": 8, \
             \"tokens_per_second\": 211.0}}]}}"
        )
    })?;
    let cell = |cell: RecordedCell| CellFigures {
        cell: Cell::new(cell.workers, cell.batch),
        figures: [cell.tokens_per_second, cell.time_to_first_token_p50_seconds, cell.inter_token_latency_p50_seconds],
    };
    Ok(CycleView {
        at: cycle
            .time
            .parse()
            .map_err(|error| anyhow::anyhow!("time: {error}\n  hint: such as 2026-11-01T00:00:00Z"))?,
        identity: identity(cycle.environment),
        cells: cycle.cells.into_iter().map(cell).collect(),
    })
}

/// The labels that are known: one that is null or empty is not.
fn identity(labels: BTreeMap<String, Value>) -> Facts {
    let text = |value: Value| match value {
        Value::Null => None,
        Value::String(text) => Some(text).filter(|text| !text.is_empty()),
        other => Some(other.to_string()),
    };
    labels.into_iter().filter_map(|(key, value)| Some((key, text(value)?))).collect()
}

/// An event as it is written.
#[derive(Serialize)]
struct WrittenEvent {
    detected_at: String,
    detected_cycle: u64,
    changed_at: String,
    changed_cycle: u64,
    measure: &'static str,
    direction: &'static str,
    ratio: f64,
    lower: f64,
    upper: f64,
    cause: &'static str,
    component: Option<&'static str>,
    scope: String,
}

fn write(output: &mut impl Write, event: &ChangeEvent) -> io::Result<()> {
    // A tenth of what can be told apart is precise enough to read.
    let rounded = |ratio: f64| (ratio * 1e5).round() / 1e5;
    let event = WrittenEvent {
        detected_at: event.detected.at.to_string(),
        detected_cycle: event.detected.cycle,
        changed_at: event.changed.at.to_string(),
        changed_cycle: event.changed.cycle,
        measure: event.measure.as_str(),
        direction: event.direction.as_str(),
        ratio: rounded(event.ratio.value),
        lower: rounded(event.ratio.lower),
        upper: rounded(event.ratio.upper),
        cause: event.cause.as_str(),
        component: event.components.first().map(|component| component.as_str()),
        scope: event.scope.to_string(),
    };
    serde_json::to_writer(&mut *output, &event)?;
    output.write_all(b"\n")?;
    output.flush()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    const START: &str = "2026-11-01T00:00:00Z";

    /// Thirty calm cycles of four cells; from `changed` on 10 % slower, with another driver.
    fn cycles(changed: usize) -> String {
        let start: Timestamp = START.parse().expect("a time");
        let line = |cycle: usize| {
            let is_changed = cycle >= changed;
            // A wobble of half a percent, which is no noise but will do.
            let rate = |cell: usize| {
                let wobble = 1.0 + 0.005 * f64::sin((7 * cycle + 3 * cell) as f64);
                let factor = if is_changed { 0.9 } else { 1.0 };
                100.0 * (cell + 1) as f64 * wobble * factor
            };
            let cells: Vec<String> = (0..4)
                .map(|cell| {
                    let (workers, batch) = (1 + cell % 2, 4 + cell / 2);
                    format!(r#"{{"workers":{workers},"batch":{batch},"tokens_per_second":{}}}"#, rate(cell))
                })
                .collect();
            let at = start + jiff::SignedDuration::from_mins(40 * cycle as i64);
            let driver = if is_changed { "2" } else { "1" };
            format!(
                r#"{{"time":"{at}","environment":{{"driver_version":"{driver}","slots":4,"gpu":null}},"cells":[{}]}}"#,
                cells.join(",")
            )
        };
        (0..30).map(line).collect::<Vec<_>>().join("\n")
    }

    fn replayed(text: &str) -> anyhow::Result<(Totals, String)> {
        let mut output = Vec::new();
        let totals = replay("cycles.jsonl", text.as_bytes(), &mut output, Settings::default())?;
        Ok((totals, String::from_utf8(output).expect("UTF-8")))
    }

    #[test]
    fn a_slower_driver_is_named_two_cycles_later() {
        let (totals, events) = replayed(&cycles(20)).expect("sound");
        assert_eq!(totals, Totals { cycles: 30, changes: 1 });
        let event: Value = serde_json::from_str(&events).expect("one event");
        for (key, expected) in [
            ("detected_cycle", Value::from(21)),
            ("changed_cycle", Value::from(20)),
            ("changed_at", Value::from("2026-11-01T13:20:00Z")),
            ("measure", Value::from("tokens_per_second")),
            ("direction", Value::from("regression")),
            ("cause", Value::from("environment_change")),
            ("component", Value::from("driver")),
            ("scope", Value::from("all")),
        ] {
            assert_eq!(event[key], expected, "{key}");
        }
        let ratio = |key: &str| event[key].as_f64().expect("a number");
        assert!((ratio("ratio") - 0.9).abs() < 0.01, "{event}");
        assert!(ratio("lower") < ratio("ratio") && ratio("ratio") < ratio("upper"), "{event}");
    }

    #[test]
    fn an_event_knows_nothing_of_what_comes_after() {
        let whole = cycles(20);
        let (_, of_whole) = replayed(&whole).expect("sound");
        let part: Vec<&str> = whole.lines().take(22).collect();
        let (_, of_part) = replayed(&part.join("\n")).expect("sound");
        assert_eq!(of_part, of_whole);
    }

    #[test]
    fn nothing_changed_is_nothing_told() {
        let (totals, events) = replayed(&format!("{}\n\n", cycles(30))).expect("sound");
        assert_eq!((totals, events.as_str()), (Totals { cycles: 30, changes: 0 }, ""));
    }

    fn check_refused(text: &str, expected: &str) {
        let error = replayed(text).expect_err(text);
        let said = format!("{error:#}");
        assert!(said.starts_with(expected), "{said}");
        assert!(said.contains("\n  hint: "), "{said}");
    }

    #[test]
    fn a_line_that_is_no_cycle_is_named() {
        let sound = cycles(30);
        check_refused("", "cycles.jsonl: no cycle");
        check_refused(&format!("{sound}\n{{\"cells\": []}}"), "cycles.jsonl:31: column 13: missing field `time`");
        check_refused("{\"time\": \"now\", \"cells\": []}", "cycles.jsonl:1: time: ");
        check_refused(&format!("\n{{\"time\": \"{START}\", \"cells\": 3}}"), "cycles.jsonl:2: column ");
        check_refused(
            &format!("{sound}\n{{\"time\": \"{START}\", \"cells\": []}}"),
            "cycles.jsonl:31: time: 2026-11-01T00:00:00Z is before the line before it",
        );
    }
}
