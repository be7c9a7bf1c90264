//! The status page: what runs now and what was found, target by target.
//!
//! The page is a function of the board and the time. It needs nothing else, no script either:
//! the one that it has only spares the reader the reload.

use axum::extract::{Query, State};
use axum::response::Response;
use jiff::Timestamp;
use rand::TryRng as _;
use rand::rngs::SysRng;
use serde::Deserialize;

use super::grid::View;
use super::health::stands_still_since;
use super::html::{counted, encoded, escaped, head, model_element, percent, rate, repeats, span, time, time_element};
use super::measure::Measure;
use super::server::{Desk, Fault, live_page};
use super::{App, changes, grid};
use crate::analysis::slots::RowSlots;
use crate::domain::SchedulerState;
use crate::soak::board::Note;
use crate::soak::{Snapshot, TargetSnapshot};

const SCRIPT: &str = include_str!("assets/live.js");
/// How often a browser without scripts asks again, seconds.
const RELOAD_SECONDS: u32 = 10;
/// Notes that are seen without asking for more.
const NEWEST_NOTES: usize = 6;

/// What a visitor may choose.
#[derive(Debug, Deserialize)]
pub(super) struct Choice {
    measure: Option<String>,
}

pub(super) async fn answer(State(app): Desk, Query(choice): Query<Choice>) -> Result<Response, Fault> {
    let nonce = nonce().map_err(Fault::new)?;
    let view = View { measure: Measure::of(choice.measure.as_deref()), now: app.clock.now() };
    live_page(page(&app, view, &nonce), &nonce)
}

/// A word that no one can foretell: the browser runs the script that bears it and no other.
fn nonce() -> Result<String, rand::rngs::SysError> {
    Ok(format!("{:016x}{:016x}", SysRng.try_next_u64()?, SysRng.try_next_u64()?))
}

fn page(app: &App, view: View, nonce: &str) -> String {
    let main = main(&app.board.snapshot(), view);
    format!(
        "{}<noscript><meta http-equiv=\"refresh\" content=\"{RELOAD_SECONDS}\"></noscript>\n</head>\n<body>\n\
         <header class=\"top\">\n<h1>llmsoak</h1>\n<nav aria-label=\"Pages\"><a href=\"report\">Report</a> \
         <a href=\"metrics\">Metrics</a> <a href=\"api/v1/status\">API</a> <a href=\"-/healthy\">Health</a></nav>\n</header>\n\
         <p id=\"silent\" class=\"warning\" role=\"status\" hidden>llmsoak does not answer. This is what it last \
         said.</p>\n<main>\n{main}</main>\n<script nonce=\"{nonce}\">\n{SCRIPT}</script>\n</body>\n</html>\n",
        head("llmsoak")
    )
}

/// All that changes while the page is open.
fn main(snapshot: &Snapshot, view: View) -> String {
    let mut main = String::new();
    for (number, target) in snapshot.targets.values().enumerate() {
        let has_link = snapshot.targets.len() > 1;
        main.push_str(&section(target, number, has_link, view));
    }
    if snapshot.targets.is_empty() {
        main.push_str("<p class=\"nothing\">There is no target.</p>\n");
    }
    main + &format!("<p class=\"colophon\">As of {}, llmsoak {}</p>\n", time(view.now), env!("CARGO_PKG_VERSION"))
}

/// One target. Its number keeps the names within the page apart.
fn section(target: &TargetSnapshot, number: usize, has_link: bool, view: View) -> String {
    let now = view.now;
    let name = escaped(&target.id.name);
    let (class, up) = match target.up {
        Some(true) => ("up", "up"),
        Some(false) => ("away", "away"),
        None => ("unknown", "not asked yet"),
    };
    // With one target, the page's own link leads to the same.
    let link = if has_link {
        let address = encoded(&target.id.name);
        format!("<a href=\"report?target={address}\" aria-label=\"Report of {name}\">Report</a>")
    } else {
        String::new()
    };
    let still = stands_still_since(target).map_or_else(String::new, |since| {
        format!("<p class=\"warning\">Stands still: a sample was due at {}.</p>\n", time_element(since, now))
    });
    format!(
        "<section aria-labelledby=\"target-{number}\">\n<div class=\"name\"><h2 id=\"target-{number}\">{name}</h2> \
         {} <span class=\"badge {class}\">{up}</span> \
         {link}</div>\n{}{still}{}\
         <div class=\"tiles\">\n{}{}{}</div>\n{}{}{}</section>\n",
        model_element(&target.id.model),
        facts(target),
        mismatches(target),
        optimum_tile(target),
        now_tile(target, now),
        cycle_tile(target, now),
        changes::section(&target.changes, now),
        target.grid.as_ref().map_or_else(String::new, |cells| grid::heat_map(target, cells, view, number)),
        notes(target, now),
    )
}

/// Who is measured, as far as it told.
fn facts(target: &TargetSnapshot) -> String {
    let identity = target.identity.as_deref();
    let server = identity.map(|server| match &server.version {
        Some(version) => format!("{} {version}", server.kind),
        None => server.kind.to_string(),
    });
    let slots = identity.and_then(|server| server.slots).map(|slots| slots.to_string());
    let slots = if target.is_in_server_mode() {
        Some(slots.map_or_else(|| "set for each row".to_owned(), |now| format!("set for each row, now {now}")))
    } else {
        slots
    };
    let quantization = identity.and_then(|server| server.quantization.clone());
    let on_gpu = identity.and_then(|server| {
        let shown = share(server.gpu_share?);
        Some(if server.is_partly_on_cpu() { format!("{shown} – warning: the rest is on the CPU") } else { shown })
    });
    let epoch = target.epoch.as_ref().map(|epoch| format!("{}, since {}", epoch.id, time(epoch.first_seen)));
    let fact = |key| target.epoch.as_ref().and_then(|epoch| epoch.identity.get(key)).cloned();
    let gpu = fact("gpu").map(|name| match fact("gpu_count").filter(|count| count != "1") {
        Some(count) => format!("{count} × {name}"),
        None => name,
    });
    let facts = [
        ("Server", server),
        ("Address", Some(target.url.clone())),
        ("Slots", slots),
        ("Quantization", quantization),
        ("GPU", gpu),
        ("Driver", fact("driver_version")),
        ("On the GPU", on_gpu),
        ("Epoch", epoch),
    ];
    let pairs = facts.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let items: String =
        pairs.map(|(name, value)| format!("<div><dt>{name}</dt><dd>{}</dd></div>\n", escaped(&value))).collect();
    format!("<dl class=\"facts\">\n{items}</dl>\n")
}

/// A share in whole percent, rounded down: less than the whole is never shown as the whole.
fn share(share: f64) -> String {
    format!("{:.0} %", (share * 100.0).floor())
}

/// A figure with its name above and its story below, both as HTML.
fn tile(class: &str, name: &str, figure: &str, story: &str) -> String {
    format!(
        "<div class=\"tile {class}\"><h3>{name}</h3><p class=\"figure\">{figure}</p><div class=\"story\">{story}</div></div>\n"
    )
}

fn optimum_tile(target: &TargetSnapshot) -> String {
    let Some(best) = target.optimum().map(|optimum| &optimum.throughput) else {
        return tile("idle", "Optimum", "–", "<p>No valid sample yet</p>");
    };
    let estimate = target.estimate(best.cell);
    let measured = estimate.map_or_else(String::new, |estimate| format!("<p>{}</p>", repeats(estimate)));
    let (lower, upper) = (rate(best.interval.lower), rate(best.interval.upper));
    let others = best.tied.len().saturating_sub(1) as u64;
    let ties = if others > 0 { format!("; {} may be as good", counted(others, "other cell")) } else { String::new() };
    let best_of_all = format!("<p>{} sure to be within 1 % of the best{ties}</p>", percent(best.probability));
    let sure = format!("<p>95 % sure: {lower} to {upper}</p>{best_of_all}{measured}");
    let figure = format!("{} <small>tokens/s</small>", rate(best.tokens_per_second));
    let warning = target
        .row(best.cell.workers)
        .filter(|row| row.verdict.is_warned())
        .map_or_else(String::new, |row| format!("<p class=\"warning\">{}</p>", escaped(&mismatch(row))));
    let story =
        format!("<p>{} × batch {}</p>{sure}{warning}", counted(best.cell.workers.into(), "worker"), best.cell.batch);
    tile("best", "Optimum", &figure, &story)
}

/// A row that did not get its slots, in words.
fn mismatch(row: &RowSlots) -> String {
    let got = row.effective.map_or_else(|| "unknown".to_owned(), |effective| grid::seen(&effective));
    let told = row.reported.map_or_else(String::new, |slots| format!(", the server tells of {slots}"));
    format!("Warning: the row asked for {}; seen: {got}{told}", counted(row.requested.into(), "slot"))
}

/// The rows that did not get their slots.
fn mismatches(target: &TargetSnapshot) -> String {
    let warned: Vec<String> = target
        .conclusions
        .rows
        .iter()
        .filter(|row| row.verdict.is_warned())
        .map(|row| row.requested.to_string())
        .collect();
    if warned.is_empty() {
        return String::new();
    }
    format!(
        "<p class=\"warning\">Rows that did not get the slots they asked for: {}. They do not measure what their \
         heading says.</p>\n",
        warned.join(", ")
    )
}

fn now_tile(target: &TargetSnapshot, now: Timestamp) -> String {
    let doing = match target.state {
        SchedulerState::Starting => "starting",
        SchedulerState::Warmup => "warming up",
        SchedulerState::Running => "measuring",
        SchedulerState::Pausing => "pausing",
        SchedulerState::WaitingForLane => "waiting for its lane",
        SchedulerState::WaitingForServer => "waiting for the server",
        SchedulerState::SwitchingSlots => "giving the server its slots",
        SchedulerState::Canary => "loading the model anew",
        SchedulerState::Yielding => "yielding to others who use the server",
        SchedulerState::OutsideWindow => "outside its hours",
        SchedulerState::OverBudget => "waiting for its budget",
        SchedulerState::Paused => "paused",
    };
    let last = target.sample_completed_at.map_or_else(
        || "<p>No sample yet</p>".to_owned(),
        |at| format!("<p>Last sample {}</p>", time_element(at, now)),
    );
    let until = target.state_until.filter(|_| target.state != SchedulerState::Pausing);
    let until = until.map_or_else(String::new, |at| format!("<p>Until {}</p>", time_element(at, now)));
    match target.current {
        Some(cell) => {
            let figure = format!("{} <small>workers</small> × {} <small>batch</small>", cell.workers, cell.batch);
            tile("busy", &format!("Now {doing}"), &figure, &last)
        }
        None => tile("idle", "Now", doing, &format!("{until}{last}")),
    }
}

fn cycle_tile(target: &TargetSnapshot, now: Timestamp) -> String {
    if target.cycle == 0 {
        return tile("idle", "Cycle", "–", "<p>None yet</p>");
    }
    let (done, cells) = (target.cycle_cells_done(), target.cycle_cells);
    let figure = format!("{done} <small>of {}</small>", counted(cells.into(), "cell"));
    let due = target.cycle_due_at.filter(|_| done < cells);
    let due = due.map_or_else(String::new, |at| format!("<p>Complete at about {}</p>", time_element(at, now)));
    let last =
        target.cycle_seconds.map_or_else(String::new, |seconds| format!("<p>The last took {}</p>", span(seconds)));
    let bar = format!("<progress max=\"{}\" value=\"{done}\" aria-label=\"Cells measured\"></progress>", cells.max(1));
    tile("busy", &format!("Cycle {}", target.cycle), &figure, &format!("{bar}{due}{last}"))
}

/// What happened, the newest first; the older half folded away.
fn notes(target: &TargetSnapshot, now: Timestamp) -> String {
    if target.notes.is_empty() {
        return String::new();
    }
    let items: Vec<String> = target.notes.iter().rev().map(|note| note_item(note, now)).collect();
    let (newest, older) = items.split_at(items.len().min(NEWEST_NOTES));
    let older = if older.is_empty() {
        String::new()
    } else {
        format!(
            "<details><summary>{} before</summary>\n<ol class=\"notes\">\n{}</ol>\n</details>\n",
            counted(older.len() as u64, "event"),
            older.concat()
        )
    };
    format!("<h3>Events</h3>\n<ol class=\"notes\">\n{}</ol>\n{older}", newest.concat())
}

fn note_item(note: &Note, now: Timestamp) -> String {
    format!("<li>{} {}</li>\n", time_element(note.at, now), escaped(&note.text))
}
