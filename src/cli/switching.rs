//! What is done to a server whose slots are the workers of each row, in words.
//!
//! Nothing is started here.

use std::fmt::Write as _;
use std::time::Duration;

use crate::config::{Config, PRESET_VARIABLES};
use crate::domain::duration;
use crate::domain::plan::TargetPlan;
use crate::domain::slots::{CommandPlan, SlotSwitch, SlotsPlan};

/// The switches of a target's cycle.
#[derive(Clone, Copy, Debug)]
pub(super) struct Switching<'a> {
    slots: &'a SlotsPlan,
    /// Of the first, before which the server has no row's slots. Each is followed by a first
    /// request.
    pub(super) of_first_cycle: u64,
    /// Of a later one, which begins with the row that is there.
    pub(super) of_cycle: u64,
    /// Of the row that is shown.
    workers: u32,
}

impl<'a> Switching<'a> {
    /// `None` for a server whose slots are its own affair.
    pub(super) fn of(config: &Config, target: &'a TargetPlan) -> Option<Self> {
        if !target.slots.is_server() {
            return None;
        }
        let grid = target.grid.grid(None);
        let of_first_cycle = grid.workers().len() as u64;
        let is_shared = config.targets.iter().filter(|other| other.lane == target.lane).count() > 1;
        // Who gives the hardware away ends the server that holds it.
        let is_given_away = is_shared || config.schedule.cycle_interval > Duration::ZERO;
        let begins_anew = is_given_away && target.slots.runs_the_server();
        let of_cycle = if begins_anew { of_first_cycle } else { of_first_cycle.saturating_sub(1) };
        let workers = grid.workers().first().copied().unwrap_or(1);
        Some(Self { slots: &target.slots, of_first_cycle, of_cycle, workers })
    }

    /// How the server gets its slots, and how often.
    pub(super) fn slots_row(&self) -> String {
        let SlotsPlan::Server { by, ready_timeout } = self.slots else { return String::new() };
        let how = match by {
            SlotSwitch::Process(_) => "llmsoak starts it anew",
            SlotSwitch::Command(_) => "a command sees to it",
        };
        let often = match (self.of_first_cycle, self.of_cycle) {
            (first, later) if first == later => format!("{} a cycle", times(later)),
            (first, 0) => times(first),
            (first, later) => format!("{} in the first cycle, {} in each other", times(first), times(later)),
        };
        format!(
            "the server's own: {how} for each worker count, {often}; ready within {}",
            duration::show(*ready_timeout)
        )
    }

    /// The command line of the row with the fewest workers, as a shell would take it.
    pub(super) fn command_row(&self) -> Option<String> {
        let SlotsPlan::Server { by: SlotSwitch::Process(plan) | SlotSwitch::Command(plan), .. } = self.slots else {
            return None;
        };
        let line = plan.for_workers(self.workers)?;
        let mut text = String::new();
        for (name, value) in &line.environment {
            let _ = write!(text, "{name}={} ", shown_value(plan, name, value));
        }
        let words: Vec<String> = [&line.program].into_iter().chain(&line.arguments).map(|word| quoted(word)).collect();
        Some(format!("{text}{} (workers {})", words.join(" "), self.workers))
    }
}

fn times(number: u64) -> String {
    if number == 1 { "once".to_owned() } else { format!("{number} times") }
}

/// The value of a variable, where it is the row's or a preset's. Any other may be a secret:
/// unlike the arguments of a program, which the system shows to everybody, its variables are
/// its own.
fn shown_value(plan: &CommandPlan, name: &str, value: &str) -> String {
    let template = plan.environment.get(name).map(String::as_str).unwrap_or_default();
    let is_of_row = [CommandPlan::WORKERS, CommandPlan::CONTEXT].iter().any(|mark| template.contains(mark));
    if is_of_row || PRESET_VARIABLES.contains(&name) { quoted(value) } else { "…".to_owned() }
}

/// A word as a shell takes it, on one line.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "_-./:=,+@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    let shown: String = word.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("'{}'", shown.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::without_file;
    use crate::domain::Grid;
    use crate::domain::plan::GridPlan;

    fn plan(command: &[&str], environment: &[(&str, &str)]) -> CommandPlan {
        CommandPlan {
            command: command.iter().map(|&word| word.to_owned()).collect(),
            environment: environment.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect(),
            context_per_slot: Some(512),
        }
    }

    /// What is said of as many targets of one lane, with so many rows.
    fn said(by: SlotSwitch, rows: u32, targets: usize) -> (String, Option<String>) {
        let mut config = without_file("http://h:1", None, None).expect("is sound");
        let workers: Vec<u32> = (2..2 + rows).collect();
        config.targets[0].grid = GridPlan::Fixed(Grid::new(&workers, &[1], false).expect("axes are sound"));
        config.targets[0].slots = SlotsPlan::Server { by, ready_timeout: Duration::from_secs(90) };
        config.targets = vec![config.targets[0].clone(); targets];
        let switching = Switching::of(&config, &config.targets[0]).expect("is the server's");
        (switching.slots_row(), switching.command_row())
    }

    #[test]
    fn a_cycle_begins_with_the_row_that_is_there() {
        let process = || SlotSwitch::Process(plan(&["s", "{workers}"], &[]));
        let hook = || SlotSwitch::Command(plan(&["s", "{workers}"], &[]));
        let check = |by, rows, targets, expected: &str| {
            let (row, _) = said(by, rows, targets);
            assert_eq!(row, format!("the server's own: {expected}; ready within 1m30s"));
        };
        let starts = "llmsoak starts it anew for each worker count";
        check(process(), 3, 1, &format!("{starts}, 3 times in the first cycle, 2 times in each other"));
        check(process(), 2, 1, &format!("{starts}, 2 times in the first cycle, once in each other"));
        check(process(), 1, 1, &format!("{starts}, once"));
        // Another target of the lane has the hardware between two cycles.
        check(process(), 3, 2, &format!("{starts}, 3 times a cycle"));
        check(process(), 1, 2, &format!("{starts}, once a cycle"));
        let sees_to_it = "a command sees to it for each worker count";
        check(hook(), 3, 2, &format!("{sees_to_it}, 3 times in the first cycle, 2 times in each other"));
    }

    #[test]
    fn a_command_line_is_shown_as_it_runs_without_the_variables_that_may_be_secret() {
        let variables =
            [("HF_TOKEN", "hf_secret"), ("N", "{workers}"), ("OLLAMA_HOST", "[::1]:80"), ("ROOM", "{context} tokens")];
        let by = SlotSwitch::Process(plan(&["serve", "-n={workers}", "a b", "it's", "", "x\n\u{1b}[y"], &variables));
        let expected = r"HF_TOKEN=… N=2 OLLAMA_HOST='[::1]:80' ROOM='1024 tokens' serve -n=2 'a b' 'it'\''s' '' 'x  [y' (workers 2)";
        assert_eq!(said(by, 3, 1).1.as_deref(), Some(expected));
    }
}
