//! The line that shows how far `once` has come, where somebody looks at a terminal.
//!
//! What it says follows from the events alone; only [`Drawing`] knows the terminal.

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal as _;
use std::sync::Arc;

use indicatif::{ProgressBar, ProgressStyle};
use jiff::{SignedDuration, Timestamp};

use super::log::Screen;
use crate::domain::{Cell, Event, Happening, SchedulerState};

/// How far a run of some cycles has come.
#[derive(Debug)]
pub(super) struct Progress {
    /// Of each target.
    cycles: u64,
    /// How many targets there are to hear of.
    targets: usize,
    /// Those whose first cycle has begun.
    begun: BTreeMap<Arc<str>, Begun>,
    /// The target and the cell of which was heard last.
    newest: Option<(Arc<str>, Option<Cell>, SchedulerState)>,
    began_at: Option<Timestamp>,
    last_sample_at: Option<Timestamp>,
    tokens_per_second: Option<f64>,
    valid: u64,
    rejected: u64,
}

#[derive(Debug, Default)]
struct Begun {
    complete_cycles: u64,
    cells: u64,
    /// Cells of the running cycle: one whose server vanished is measured twice.
    done: BTreeSet<Cell>,
}

impl Progress {
    pub(super) fn new(cycles: u64, targets: usize) -> Self {
        Self {
            cycles,
            targets,
            begun: BTreeMap::new(),
            newest: None,
            began_at: None,
            last_sample_at: None,
            tokens_per_second: None,
            valid: 0,
            rejected: 0,
        }
    }

    /// Takes an event in. Returns whether there is anything new to show.
    pub(super) fn hear(&mut self, event: &Event) -> bool {
        let name = &event.target.name;
        match &event.happening {
            Happening::CycleStarted { cells, .. } => {
                let begun = self.begun.entry(name.clone()).or_default();
                begun.cells = u64::from(*cells);
                begun.done.clear();
            }
            Happening::CycleEnded { .. } => {
                let begun = self.begun.entry(name.clone()).or_default();
                begun.complete_cycles += 1;
                begun.done.clear();
            }
            Happening::SampleStarted { cell, .. } => {
                self.began_at = self.began_at.or(Some(event.at));
                self.newest = Some((name.clone(), Some(*cell), SchedulerState::Starting));
            }
            Happening::SampleEnded { sample, .. } => {
                self.begun.entry(name.clone()).or_default().done.insert(sample.cell);
                self.last_sample_at = Some(event.at);
                self.tokens_per_second = Some(sample.measurement.tokens_per_second);
                *if sample.is_valid() { &mut self.valid } else { &mut self.rejected } += 1;
            }
            Happening::StateChanged { state, .. } => {
                let is_measuring = matches!(state, SchedulerState::Warmup | SchedulerState::Running);
                let cell = self.newest.take().filter(|(newest, ..)| is_measuring && newest == name);
                self.newest = Some((name.clone(), cell.and_then(|(_, cell, _)| cell), *state));
            }
            _ => return false,
        }
        true
    }

    /// Cells that were attempted, of all cycles.
    pub(super) fn done(&self) -> u64 {
        self.begun.values().map(|target| target.complete_cycles * target.cells + target.done.len() as u64).sum()
    }

    /// All cells of all cycles. Not known before each target has begun: some grids follow
    /// what the server tells.
    pub(super) fn cells(&self) -> Option<u64> {
        let cells = self.begun.values().map(|target| target.cells * self.cycles).sum();
        (self.begun.len() >= self.targets).then_some(cells)
    }

    /// What the rest will take if its samples take as long as those before.
    pub(super) fn time_left(&self, now: Timestamp) -> Option<SignedDuration> {
        let (began, last) = (self.began_at?, self.last_sample_at?);
        let rest = self.cells()?.saturating_sub(self.done());
        let of_each = last.duration_since(began).as_secs_f64() / (self.valid + self.rejected).max(1) as f64;
        let left = of_each * rest as f64 - now.duration_since(last).as_secs_f64();
        Some(SignedDuration::from_secs_f64(left.max(0.0)))
    }

    /// The line as it is at that time.
    pub(super) fn line(&self, now: Timestamp) -> String {
        let all = self.cells().map_or_else(|| "?".to_owned(), |cells| cells.to_string());
        let mut parts = vec![format!("{}/{all} cells", self.done())];
        // A narrow terminal cuts off the end.
        if let Some(left) = self.time_left(now) {
            parts.push(format!("{} left", in_words(left)));
        }
        if let Some((name, cell, state)) = &self.newest {
            let name = if self.targets > 1 { format!("{name} ") } else { String::new() };
            let cell = cell.map_or_else(String::new, |cell| format!("{cell} "));
            let state = state.as_str().replace('_', " ");
            parts.push(format!("{name}{cell}{state}"));
        }
        if let Some(rate) = self.tokens_per_second {
            parts.push(format!("{rate:.1} tokens/s"));
            parts.push(format!("{} valid, {} rejected", self.valid, self.rejected));
        }
        parts.join(", ")
    }
}

/// A time as people say it: its two largest units, or one where that is exact enough.
fn in_words(duration: SignedDuration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        ..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", (seconds + 30) / 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// Progress on a terminal, until it is dropped. No colours.
#[derive(Debug)]
pub(super) struct Drawing {
    bar: ProgressBar,
    screen: Screen,
}

impl Drawing {
    /// `None`: stderr is no terminal, or one that cannot take a line back.
    pub(super) fn start(screen: &Screen) -> Option<Self> {
        if !std::io::stderr().is_terminal() || std::env::var_os("TERM").is_none_or(|term| term == "dumb") {
            return None;
        }
        let style = ProgressStyle::with_template("[{bar:10}] {wide_msg}").ok()?.progress_chars("=> ");
        let bar = ProgressBar::new(0).with_style(style);
        screen.share_with(Some(bar.clone()));
        Some(Self { bar, screen: screen.clone() })
    }

    pub(super) fn show(&self, progress: &Progress, now: Timestamp) {
        self.bar.update(|state| {
            state.set_len(progress.cells().unwrap_or(u64::MAX));
            state.set_pos(progress.done());
        });
        self.bar.set_message(progress.line(now));
    }
}

impl Drop for Drawing {
    fn drop(&mut self) {
        self.screen.share_with(None);
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::analysis::measure::{Circumstances, measure};
    use crate::domain::{EpochId, InvalidReason, RequestRecord, Sample, ServerTimings, TargetId, TokenCounts};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).expect("is a time")
    }

    fn sample(cell: Cell, invalid: &[InvalidReason]) -> Happening {
        let record = RequestRecord {
            due: Duration::ZERO,
            sent: Duration::ZERO,
            ended: Duration::from_millis(100),
            chunks: Vec::new(),
            tokens: TokenCounts { output: 20, ..TokenCounts::default() },
            timings: ServerTimings::default(),
            asked_tokens: 20,
            failure: None,
        };
        let seen = Circumstances { cell, slots: None, gpu_share: None, timer_lag_p99: None, client_cpu_ratio: 0.0 };
        let (measurement, latencies) = measure(&[record], seen).expect("has a record");
        let sample = Sample {
            target: TargetId::new("a", "tiny"),
            epoch: EpochId(1),
            cycle: 1,
            cell,
            started_at: at(0),
            completed_at: at(0),
            measurement,
            invalid: invalid.to_vec(),
        };
        Happening::SampleEnded { sample: Arc::new(sample), latencies: Arc::new(latencies) }
    }

    fn cycle(cycle: u64, cells: u32) -> Happening {
        Happening::CycleStarted { cycle, cells, due_at: None }
    }

    fn begin(cell: Cell) -> Happening {
        Happening::SampleStarted { cell, due_at: at(0) }
    }

    fn state(state: SchedulerState) -> Happening {
        Happening::StateChanged { state, until: None, due_at: None }
    }

    /// The line of two cycles after those events of targets, at the time of the last one.
    fn check(targets: &[&str], events: Vec<(&str, i64, Happening)>, expected: &str) {
        let mut progress = Progress::new(2, targets.len());
        let now = events.last().map_or(0, |(_, second, _)| *second);
        for (target, second, happening) in events {
            progress.hear(&Event { target: TargetId::new(target, "tiny"), at: at(second), happening });
        }
        assert_eq!(progress.line(at(now)), expected);
    }

    const SMALL: Cell = Cell::new(1, 2);
    const LARGE: Cell = Cell::new(8, 16);

    #[test]
    fn before_anything_is_known_it_says_so() {
        check(&["a"], vec![], "0/? cells");
        check(&["a"], vec![("a", 0, state(SchedulerState::WaitingForServer))], "0/? cells, waiting for server");
    }

    #[test]
    fn the_cell_is_named_while_it_is_measured() {
        let mut events = vec![("a", 0, cycle(1, 4)), ("a", 0, begin(LARGE)), ("a", 1, state(SchedulerState::Warmup))];
        check(&["a"], events.clone(), "0/8 cells, 8×16 warmup");
        events.extend([("a", 3, state(SchedulerState::Running)), ("a", 10, sample(LARGE, &[]))]);
        events.push(("a", 10, state(SchedulerState::Pausing)));
        check(&["a"], events, "1/8 cells, 1 min left, pausing, 200.0 tokens/s, 1 valid, 0 rejected");
    }

    #[test]
    fn a_cell_counts_once_a_cycle_however_often_it_is_tried() {
        let rejected = &[InvalidReason::FailedRequests][..];
        let events = vec![
            ("a", 0, cycle(1, 2)),
            ("a", 0, begin(SMALL)),
            ("a", 10, sample(SMALL, rejected)),
            ("a", 20, sample(SMALL, rejected)),
            ("a", 30, sample(LARGE, &[])),
            ("a", 31, Happening::CycleEnded { cycle: 1, seconds: 31.0 }),
            ("a", 31, cycle(2, 2)),
            ("a", 31, begin(SMALL)),
            ("a", 35, sample(SMALL, &[])),
            ("a", 37, begin(LARGE)),
            ("a", 37, state(SchedulerState::Running)),
        ];
        // 35 s for four samples, one of which is yet to come and has run for 2 s.
        check(&["a"], events, "3/4 cells, 6 s left, 8×16 running, 200.0 tokens/s, 2 valid, 2 rejected");
    }

    #[test]
    fn another_epoch_begins_its_cycle_anew() {
        let events =
            vec![("a", 0, cycle(1, 4)), ("a", 0, begin(SMALL)), ("a", 10, sample(SMALL, &[])), ("a", 20, cycle(2, 6))];
        check(&["a"], events, "0/12 cells, 2 min left, 1×2 starting, 200.0 tokens/s, 1 valid, 0 rejected");
    }

    #[test]
    fn of_several_targets_the_newest_is_named_and_none_is_forgotten() {
        let mut events = vec![("a", 0, cycle(1, 4)), ("a", 0, begin(SMALL)), ("a", 10, sample(SMALL, &[]))];
        events.push(("b", 10, state(SchedulerState::WaitingForLane)));
        let known = "1/? cells, b waiting for lane, 200.0 tokens/s, 1 valid, 0 rejected";
        check(&["a", "b"], events.clone(), known);
        events.extend([("b", 20, cycle(1, 1)), ("b", 20, begin(LARGE)), ("b", 20, state(SchedulerState::Running))]);
        let all = "1/10 cells, 1 min left, b 8×16 running, 200.0 tokens/s, 1 valid, 0 rejected";
        check(&["a", "b"], events, all);
    }

    #[test]
    fn times_are_said_as_people_say_them() {
        let cases = [(0, "0 s"), (59, "59 s"), (89, "1 min"), (90, "2 min"), (3599, "60 min"), (7380, "2 h 3 min")];
        for (seconds, expected) in cases {
            assert_eq!(in_words(SignedDuration::from_secs(seconds)), expected);
        }
    }
}
