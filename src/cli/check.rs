//! `llmsoak check`: is the configuration sound, what will a cycle take, do the servers answer?
//! Or, what may a configuration hold?

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;

use super::args::{CheckArgs, StorageArgs};
use super::bill::{Bill, budgeted_time, cycle_time, pauses, rough, two_digits};
use super::hints::hint;
use super::probe::{Answer, Seen, is_taken, probe};
use super::run::configured;
use super::session::service_runtime;
use super::switching::Switching;
use super::{open_files, print, say};
use crate::config::{self, Config};
use crate::domain::plan::{GridPlan, MetricsPlan, Prompts, ScheduleMode, SchedulePlan, TargetPlan};
use crate::domain::{Cell, Grid, RequestFailure};
use crate::metrics::size;
use crate::soak::WallClock;
use crate::soak::choice::{Chosen, Setting};

/// Begins the mend below what is wrong.
const HINT: &str = "\n            hint: ";
/// The most numbers of an axis that are shown.
const MOST_NUMBERS: usize = 16;

pub(super) fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    if args.schema {
        print(format_args!("{:#}\n", config::json_schema()));
        return Ok(ExitCode::SUCCESS);
    }
    let config = configured(&args.source, &StorageArgs { path: None })?;
    let mut views: Vec<View<'_>> = config.targets.iter().map(|target| View::new(&config, target)).collect();
    if args.probe {
        service_runtime()?.block_on(async {
            for view in &mut views {
                // A slow server takes minutes over an answer.
                say(format_args!("asking target {} …", view.target.name));
                view.seen = Some(look(view.target, !args.no_requests).await);
            }
        });
    }
    let series = total_series(&config.metrics, views.iter().map(View::grid));
    // As planned, and as the servers make it.
    let verdict = within_bounds(&config).and_then(|()| bounded(series, &config.metrics));
    let soundness = if verdict.is_ok() { "sound" } else { "not sound" };
    let mut text = match args.source.file() {
        Some(path) => format!("{}: {soundness}\n", path.display()),
        None => format!("{soundness}\n"),
    };
    for view in &views {
        let _ = write!(text, "\n{view}");
    }
    text += &lanes(&views);
    let _ = writeln!(text, "\nseries in all: {series} of at most {} (metrics.max_series)", config.metrics.max_series);
    print(text);
    verdict?;
    let has_failed = views.iter().any(View::has_failed);
    Ok(if has_failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Refuses a configuration that makes more series than it allows itself, or needs more open
/// files than the system allows.
pub(super) fn within_bounds(config: &Config) -> anyhow::Result<()> {
    open_files::suffice(config)?;
    let grids = config.targets.iter().map(|target| target.grid.grid(None));
    bounded(total_series(&config.metrics, grids), &config.metrics)
}

fn total_series(plan: &MetricsPlan, grids: impl Iterator<Item = Grid>) -> u64 {
    size::series(plan, &grids.collect::<Vec<_>>())
}

fn bounded(series: u64, plan: &MetricsPlan) -> anyhow::Result<()> {
    let most = plan.max_series;
    if series > most {
        bail!(
            "metrics.max_series: the grids make {series} series, more than {most}\n  hint: shorten the lists, leave \
             out what metrics.cells and metrics.histogram_labels add, or allow more"
        );
    }
    Ok(())
}

/// What is seen of a target's server.
#[expect(clippy::large_enum_variant, reason = "there is one for each target")]
enum Look {
    Server(Result<Seen, RequestFailure>),
    /// Where this program would start it: whether somebody else is there.
    Place(Result<bool, RequestFailure>),
}

/// Looks at a target's server; one that has to be started first stays away.
async fn look(target: &TargetPlan, sends: bool) -> Look {
    if target.slots.runs_the_server() {
        Look::Place(is_taken(target).await)
    } else {
        Look::Server(probe(target, sends).await)
    }
}

/// A target and what was seen of its server, if that was looked at.
struct View<'a> {
    config: &'a Config,
    target: &'a TargetPlan,
    /// Where the server's slots are the workers of each row.
    switching: Option<Switching<'a>>,
    seen: Option<Look>,
}

impl<'a> View<'a> {
    fn new(config: &'a Config, target: &'a TargetPlan) -> Self {
        Self { config, target, switching: Switching::of(config, target), seen: None }
    }

    fn server(&self) -> Option<&Seen> {
        if let Look::Server(Ok(seen)) = self.seen.as_ref()? { Some(seen) } else { None }
    }

    /// The slots that the server has and keeps.
    fn slots(&self) -> Option<u32> {
        self.server().filter(|_| self.switching.is_none())?.identity.slots
    }

    fn grid(&self) -> Grid {
        self.target.grid.grid(self.slots())
    }

    /// The cells of a cycle; of an adaptive schedule those of the first.
    fn chosen(&self) -> Chosen {
        let (slots_mode, slots) = (self.target.slots.mode(), self.slots());
        let SchedulePlan { mode, estimates, .. } = self.config.schedule;
        Chosen::first(&Setting { grid: &self.grid(), mode, estimates, slots_mode, slots })
    }

    fn samples(&self) -> Vec<Cell> {
        self.chosen().samples().collect()
    }

    fn answer(&self) -> Option<&Answer> {
        self.server()?.answer.as_ref()?.as_ref().ok()
    }

    /// Whether the target cannot be measured.
    fn has_failed(&self) -> bool {
        match &self.seen {
            None => false,
            Some(Look::Server(Ok(seen))) => seen.answer.as_ref().is_some_and(Result::is_err),
            Some(Look::Place(Ok(is_taken))) => *is_taken,
            Some(Look::Server(Err(_)) | Look::Place(Err(_))) => true,
        }
    }

    fn bill(&self) -> Bill {
        let told = self.answer().and_then(|answer| answer.prompt_tokens);
        let introductions = self.switching.map_or(0, |switching| switching.of_first_cycle);
        Bill::of(&self.grid(), &self.samples(), &self.target.request, &self.config.schedule, introductions, told)
    }

    /// The least time of a cycle, if an answer says how fast the server is.
    fn time(&self) -> Option<Duration> {
        let pace = self.answer()?.pace;
        Some(cycle_time(&self.samples(), self.slots(), &self.target.request, &self.config.schedule, pace))
    }
}

impl fmt::Display for View<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "target {}: {}", self.target.name, self.target.connection.url)?;
        let (bill, grid) = (self.bill(), self.grid());
        let series = size::of_target(&self.config.metrics, &grid);
        let Bill { cells, measured, samples, .. } = bill;
        let rows = [
            ("server", self.server_row()),
            ("slots", self.switching.map(|switching| switching.slots_row())),
            ("command", self.switching.and_then(|switching| switching.command_row())),
            ("grid", Some(format!("workers {}; batch {}{}", axis(grid.workers()), axis(grid.batch()), self.fitted()))),
            ("cells", Some(format!("{cells}: {measured} measured, {} copies of those", cells - measured))),
            ("samples", Some(self.samples_row(samples))),
            ("requests", Some(self.requests_row(&bill))),
            ("tokens", Some(tokens_row(&bill))),
            ("series", Some(series.to_string())),
            ("context", self.context_row()),
            ("answer", self.answer_row()),
            ("fields", self.fields_row()),
            ("time", Some(self.time_row())),
            ("budget", self.budget_row(&bill)),
        ];
        for (label, value) in rows {
            if let Some(value) = value {
                writeln!(f, "  {label:8}  {value}")?;
            }
        }
        Ok(())
    }
}

impl View<'_> {
    fn server_row(&self) -> Option<String> {
        let identity = match self.seen.as_ref()? {
            Look::Server(Ok(seen)) => &seen.identity,
            Look::Server(Err(failure)) | Look::Place(Err(failure)) => {
                return Some(format!("cannot be asked: {}", with_hint(failure)));
            }
            Look::Place(Ok(false)) => return Some("not started for a look; nobody is at its address now".to_owned()),
            Look::Place(Ok(true)) => {
                let hint = "stop that server, or measure it with slots.mode: client";
                return Some(format!("cannot be started: another one answers at its address{HINT}{hint}"));
            }
        };
        let version = identity.version.as_deref().map(|version| format!(" {version}")).unwrap_or_default();
        let now = if self.switching.is_some() { " now" } else { "" };
        let slots = identity.slots.map_or("slots not told".to_owned(), |slots| format!("{slots} slots{now}"));
        let context = identity.context_per_slot.map(|n| format!(", a context of {n} tokens")).unwrap_or_default();
        Some(format!("{}{version}, model {}, {slots}{context}", identity.kind, identity.model))
    }

    fn requests_row(&self, bill: &Bill) -> String {
        let Bill { requests, warmups, .. } = bill;
        let switched = self.switching.map(|switching| switching.of_first_cycle);
        let first = switched.map(|n| format!(", {n} of them to load the model after a switch")).unwrap_or_default();
        format!("{requests}, and {warmups} warm-ups{first}")
    }

    fn samples_row(&self, samples: u64) -> String {
        let reference = self.chosen().reference;
        let reference = reference.map(|cell| format!(", the reference cell {cell} among them several times"));
        let adaptive = match self.config.schedule.mode {
            ScheduleMode::Full => "",
            ScheduleMode::Adaptive => " in the first cycle; later ones choose theirs and cost about as much",
        };
        format!("{samples}{}{adaptive}", reference.unwrap_or_default())
    }

    /// What an automatic grid goes by.
    fn fitted(&self) -> String {
        match (&self.target.grid, self.slots(), self.server()) {
            (GridPlan::Fixed(_), ..) => String::new(),
            _ if self.switching.is_some() => " (automatic; as for a server of 4 slots)".to_owned(),
            (_, Some(slots), _) => format!(" (fitted to {slots} slots)"),
            (_, None, Some(_)) => " (automatic; the server does not tell its slots: taken as 4)".to_owned(),
            (_, None, None) => " (automatic; follows the server's slots: taken as 4 here)".to_owned(),
        }
    }

    /// Whether prompt and answer find room.
    fn context_row(&self) -> Option<String> {
        let told = self.server().and_then(|seen| seen.identity.context_per_slot);
        let context = u64::from(told.or(self.target.slots.context_per_slot())?);
        let planned = match self.target.request.prompts {
            Prompts::BuiltIn { tokens } => Some(u64::from(tokens)),
            Prompts::Lines { .. } => None,
        };
        let prompt = self.answer().and_then(|answer| answer.prompt_tokens).or(planned)?;
        let output = u64::from(self.target.request.output_tokens);
        (prompt + output > context).then(|| {
            format!("too small: {prompt} tokens of the prompt and {output} of the answer do not fit into {context}")
        })
    }

    fn answer_row(&self) -> Option<String> {
        let Answer { pace, output_tokens, .. } = match self.server()?.answer.as_ref()? {
            Ok(answer) => answer,
            Err(failure) => return Some(format!("none: {}", with_hint(failure))),
        };
        let asked = self.target.request.output_tokens;
        let length = if *output_tokens < u64::from(asked) {
            format!("; {output_tokens} tokens of {asked}: cycles of such answers are shorter")
        } else {
            String::new()
        };
        let step = rough_latency(pace.step);
        Some(format!("first token after {}, then {step} a token{length}", rough_latency(pace.first_token)))
    }

    fn fields_row(&self) -> Option<String> {
        let dropped = self.answer()?.dropped.as_ref()?;
        Some(format!("refused, and left out from then on: {}", dropped.fields.join(", ")))
    }

    fn time_row(&self) -> String {
        let schedule = &self.config.schedule;
        let has_windows = schedule.windows.next_change(WallClock::System.now()).is_some();
        let windows = if has_windows { "; only the hours of schedule.windows count" } else { "" };
        match self.time() {
            Some(time) if time == schedule.cycle_interval => {
                format!("{} (schedule.cycle_interval){windows}", rough(time))
            }
            Some(time) => {
                let slower = "answers that are written at once slow each other down";
                let switches = self.switching.map(|switching| switching.of_cycle).filter(|&switches| switches > 0);
                let switches = switches.map(|n| format!("; {n} switches take time, too")).unwrap_or_default();
                format!("about {} or more: {slower}{switches}{windows}", rough(time))
            }
            None => {
                let pauses = match pauses(&self.samples(), schedule) {
                    Duration::ZERO => String::new(),
                    pauses => format!("; pauses alone take {}", rough(pauses)),
                };
                let mend = match &self.seen {
                    _ if self.target.slots.runs_the_server() => "no server is started for a look",
                    None => "--probe asks the server",
                    Some(_) => "no answer to go by",
                };
                format!("not known: {mend}{pauses}{windows}")
            }
        }
    }

    fn budget_row(&self, bill: &Bill) -> Option<String> {
        let cycles = bill.cycles_a_day(&self.target.budget)?;
        let least = budgeted_time(cycles);
        let is_longer = self.time().is_none_or(|time| least > time);
        let effect = if is_longer { format!(": one takes {} or more", rough(least)) } else { String::new() };
        Some(format!("allows {} cycles a day{effect}", two_digits(cycles)))
    }
}

/// The lanes whose targets take turns.
fn lanes(views: &[View<'_>]) -> String {
    let mut lanes: BTreeMap<&str, Vec<&View<'_>>> = BTreeMap::new();
    for view in views {
        lanes.entry(&view.target.lane).or_default().push(view);
    }
    let mut text = String::new();
    for (lane, views) in lanes.into_iter().filter(|(_, views)| views.len() > 1) {
        let times: Option<Vec<Duration>> = views.iter().map(|view| view.time()).collect();
        let total = times.map(|times| times.into_iter().fold(Duration::ZERO, Duration::saturating_add));
        let time = total.map(|total| format!(": a cycle of each takes about {} or more", rough(total)));
        let _ = writeln!(text, "\nlane {lane}: {} targets take turns{}", views.len(), time.unwrap_or_default());
    }
    text
}

fn tokens_row(bill: &Bill) -> String {
    let prompts = |tokens: Option<u64>| {
        tokens.map_or("prompts of unknown length".to_owned(), |n| format!("about {n} of prompts"))
    };
    format!(
        "{} and {} of answers; warm-ups {} and at most {} of answers",
        prompts(bill.prompt_tokens),
        bill.output_tokens,
        prompts(bill.warmup_prompt_tokens),
        bill.warmup_output_tokens,
    )
}

fn with_hint(failure: &RequestFailure) -> String {
    hint(failure).map_or_else(|| failure.to_string(), |hint| format!("{failure}{HINT}{hint}"))
}

/// Numbers of an axis, those in the middle left out where they are many.
fn axis(numbers: &[u32]) -> String {
    let joined = |numbers: &[u32]| numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    match (numbers.get(..MOST_NUMBERS), numbers.last()) {
        (Some(first), Some(last)) if numbers.len() > MOST_NUMBERS => format!("{} … {last}", joined(first)),
        _ => joined(numbers),
    }
}

/// A latency in the unit that gives it few digits.
fn rough_latency(latency: Duration) -> String {
    let seconds = latency.as_secs_f64();
    if seconds < 1.0 { format!("{} ms", two_digits(seconds * 1e3)) } else { format!("{} s", two_digits(seconds)) }
}

#[cfg(test)]
mod tests {
    use super::super::bill::Pace;
    use super::*;
    use crate::config::without_file;
    use crate::domain::plan::BudgetPlan;
    use crate::domain::{FailureKind, ServerIdentity, ServerKind};

    /// A target with a grid of one cell, which takes 2 requests, a warm-up and 60 s a cycle.
    fn config() -> Config {
        let mut config = without_file("http://h:1", Some("m"), None).expect("is sound");
        let target = config.targets.first_mut().expect("a target");
        target.grid = GridPlan::Fixed(Grid::new(&[1], &[2], true).expect("axes are sound"));
        target.request.output_tokens = 11;
        config.schedule.pause_between_samples = Duration::ZERO;
        config
    }

    fn seen() -> Seen {
        let identity =
            ServerIdentity { slots: Some(2), context_per_slot: Some(70), ..ServerIdentity::of(ServerKind::Vllm, "m") };
        let pace = Pace { first_token: Duration::from_secs(10), step: Duration::from_secs(1) };
        let answer = Answer { pace, output_tokens: 11, prompt_tokens: Some(100), dropped: None };
        Seen { identity, answer: Some(Ok(answer)) }
    }

    /// The row of that label, as it is shown.
    fn check_row(config: &Config, seen: Option<Result<Seen, RequestFailure>>, label: &str, expected: Option<&str>) {
        let shown = View { seen: seen.map(Look::Server), ..View::new(config, &config.targets[0]) }.to_string();
        let row = shown.lines().find_map(|line| line.trim_start().strip_prefix(label));
        assert_eq!(row.map(str::trim_start), expected, "{shown}");
    }

    #[test]
    fn a_cycle_takes_what_the_answer_lets_expect_or_what_is_configured() {
        let mut config = config();
        check_row(&config, None, "time", Some("not known: --probe asks the server"));
        let expected = "about 60 s or more: answers that are written at once slow each other down";
        check_row(&config, Some(Ok(seen())), "time", Some(expected));
        let unasked = Seen { answer: None, ..seen() };
        check_row(&config, Some(Ok(unasked)), "time", Some("not known: no answer to go by"));
        config.schedule.pause_between_samples = Duration::from_secs(3);
        check_row(&config, None, "time", Some("not known: --probe asks the server; pauses alone take 3.0 s"));
        config.schedule.cycle_interval = Duration::from_secs(7200);
        check_row(&config, Some(Ok(seen())), "time", Some("2.0 h (schedule.cycle_interval)"));
    }

    #[test]
    fn a_budget_that_makes_cycles_rarer_is_told() {
        let mut config = config();
        check_row(&config, None, "budget", None);
        config.targets[0].budget = BudgetPlan { requests_per_day: Some(6), ..BudgetPlan::default() };
        check_row(&config, None, "budget", Some("allows 2.0 cycles a day: one takes 12 h or more"));
        check_row(&config, Some(Ok(seen())), "budget", Some("allows 2.0 cycles a day: one takes 12 h or more"));
        config.targets[0].budget = BudgetPlan { requests_per_hour: Some(600), ..BudgetPlan::default() };
        check_row(&config, Some(Ok(seen())), "budget", Some("allows 4800 cycles a day"));
    }

    #[test]
    fn what_does_not_fit_or_fails_is_told() {
        let config = config();
        let expected = "too small: 100 tokens of the prompt and 11 of the answer do not fit into 70";
        check_row(&config, Some(Ok(seen())), "context", Some(expected));
        let failure = || RequestFailure::new(FailureKind::Http5xx, "503: loading");
        let failed = Seen { answer: Some(Err(failure())), ..seen() };
        check_row(&config, Some(Ok(failed)), "answer", Some("none: http_5xx: 503: loading"));
        check_row(&config, Some(Err(failure())), "server", Some("cannot be asked: http_5xx: 503: loading"));
        check_row(&config, Some(Err(failure())), "hint:", Some("the server is not ready; try again when it is"));
        let short = Answer { output_tokens: 4, ..seen().answer.expect("one").expect("an answer") };
        let short = Seen { answer: Some(Ok(short)), ..seen() };
        let expected = "first token after 10 s, then 1.0 s a token; 4 tokens of 11: cycles of such answers are shorter";
        check_row(&config, Some(Ok(short)), "answer", Some(expected));
    }

    #[test]
    fn more_series_than_allowed_are_refused() {
        let mut config = config();
        assert!(within_bounds(&config).is_ok());
        let series = size::series(&config.metrics, [&config.targets[0].grid.grid(None)]);
        config.metrics.max_series = series;
        assert!(within_bounds(&config).is_ok());
        config.metrics.max_series = series - 1;
        let refusal = within_bounds(&config).expect_err("is too much").to_string();
        assert!(refusal.starts_with(&format!("metrics.max_series: the grids make {series} series")), "{refusal}");
    }
}
