//! The text of a configuration of one target: every key, its value, and what it is for.
//!
//! README shows the one that says nothing but defaults; `llmsoak init` writes one that
//! fits a server. Defaults, bounds and choices are written from the values that the reader
//! uses. A test reads the text back and compares; another finds every known key in it.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::domain::notify::NOTIFY_TIMEOUT;
use crate::domain::plan::{MetricsPlan, RegressionPlan, ReportPlan, RequestPlan, SchedulePlan, StoragePlan};
use crate::domain::{Endpoint, LatencyMeasure, SampleWindow, ServiceLevel};

use super::keys::{
    CELL_DETAILS, FALSE_ALARMS, HISTOGRAM_LABELS, LANGUAGES, MAX_DUTY, ORDERS, REPORTS_KEPT, SCHEDULE_MODES,
    WARMUP_REQUESTS, WINDOW_SAMPLES,
};
use super::kind::{Choices, percent, words};
use super::value::{AUTO, OFF, lists};
use super::window::LOCAL;
use crate::domain::duration::show;

mod target;

use target::target;

/// What a configuration says of its one target; all else in it is default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    pub name: String,
    pub url: String,
    /// Left out, the key is commented out.
    pub model: Option<String>,
    /// Left out, the key is commented out.
    pub api_key_file: Option<String>,
    /// Workers and batch; left out, the grid is the default preset.
    pub axes: Option<(Vec<u32>, Vec<u32>)>,
    pub endpoint: Endpoint,
    pub output_tokens: u32,
    /// Comments on lines of their own, each above the key that it goes with. They may quote
    /// a server.
    pub remarks: Vec<(&'static str, String)>,
}

impl Default for Draft {
    fn default() -> Self {
        let request = RequestPlan::default();
        Self {
            name: "workstation".to_owned(),
            url: "http://127.0.0.1:11434".to_owned(),
            model: None,
            api_key_file: None,
            axes: None,
            endpoint: request.endpoint,
            output_tokens: request.output_tokens,
            remarks: Vec::new(),
        }
    }
}

/// A configuration file of one target in which every key has its default value.
///
/// A key that is commented out has no value by default; what stands there is an example.
pub fn default_yaml() -> String {
    draft_yaml(&Draft::default())
}

/// The configuration file of a draft, every key in it.
pub fn draft_yaml(draft: &Draft) -> String {
    let decided = [storage(), target(draft), schedule(), estimate(), objectives(), canary()].concat();
    let yaml = [decided, report(), regression(), notify(), metrics()].concat();
    remarked(&aligned(&yaml), &draft.remarks)
}

/// Puts the comments under each other.
fn aligned(yaml: &str) -> String {
    /// Wide enough for every key and its value.
    const COLUMN: usize = 40;
    // The last: a value may hold such a mark, the comments here do not.
    let line = |line: &str| match line.rsplit_once(" # ") {
        Some((key, comment)) => format!("{key:COLUMN$} # {comment}\n"),
        None => format!("{line}\n"),
    };
    yaml.lines().map(line).collect()
}

/// Puts each remark above the first line that has its key.
fn remarked(yaml: &str, remarks: &[(&str, String)]) -> String {
    let mut remarks: Vec<_> = remarks.iter().collect();
    let mut text = String::new();
    for line in yaml.lines() {
        let indent = line.len() - line.trim_start().len();
        let key = line.trim_start_matches([' ', '#', '-']).split_once(':').map(|(key, _)| key);
        for (_, remark) in remarks.extract_if(.., |(above, _)| key == Some(*above)) {
            text += &comment(indent, remark);
        }
        text += line;
        text.push('\n');
    }
    text
}

/// A comment in lines of bounded width, without what no line of YAML may hold.
fn comment(indent: usize, remark: &str) -> String {
    const WIDTH: usize = 100;
    let shown: String = remark.chars().map(|c| if is_plain(c) { c } else { '?' }).collect();
    let mut lines: Vec<String> = Vec::new();
    for word in shown.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + word.len() < WIDTH => *line += &format!(" {word}"),
            _ => lines.push(format!("{:indent$}# {word}", "")),
        }
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// Whether a character stands for itself wherever it is: no control, no invisible mark, no
/// other alphabet's line break.
fn is_plain(c: char) -> bool {
    c == ' ' || c.is_ascii_graphic() || c.is_alphanumeric() || "×≥–…".contains(c)
}

/// Text as a value of a key: in quotes where it could be taken for anything else.
fn scalar(text: &str) -> String {
    const WORDS: [&str; 11] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf"];
    let is_safe = |c: char| c.is_ascii_alphanumeric() || "._/@+-:".contains(c);
    let is_word = WORDS.iter().any(|word| text.eq_ignore_ascii_case(word));
    if text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text.chars().all(is_safe)
        && !text.ends_with(':')
        && !is_word
    {
        return text.to_owned();
    }
    let escaped = |c: char| match c {
        '"' | '\\' => format!("\\{c}"),
        c if is_plain(c) => c.to_string(),
        c => format!("\\U{:08x}", u32::from(c)),
    };
    format!("\"{}\"", text.chars().map(escaped).collect::<String>())
}

/// A key with its value, or commented out with an example.
fn optional(key: &str, value: Option<&str>, example: &str) -> String {
    value.map_or_else(|| format!("# {key}: {example}"), |value| format!("{key}: {}", scalar(value)))
}

fn storage() -> String {
    let default = StoragePlan::default();
    format!(
        "storage:
  path: {path} # folder of the history and the reports, relative to the working directory
  retention: {retention} # samples that are older are deleted
",
        path = default.path.display(),
        retention = show(default.retention),
    )
}

fn schedule() -> String {
    let default = SchedulePlan::with_seed(0);
    format!(
        "schedule:
  mode: {mode} # {modes}; adaptive: only the cells that can still change an answer, each within ten cycles
  order: {order} # {orders}; shuffled: the cells of each cycle anew
  seed: random # or a number; the one in use is in the history and the report
  pause_between_samples: {pause} # rest for the server; 0s: none
  cycle_interval: {interval} # from the start of a cycle to the start of the next; 0s: at once
  warmup_requests: {warmups} # of each worker before each sample, {warmup_bounds}
  windows: [] # hours in which to send, as [\"22:00-06:00\", \"Sat,Sun 00:00-24:00\"]; []: always
  time_zone: {LOCAL} # of the windows: the machine's, or one such as Europe/Berlin
  max_duty: {duty} # the most of its time that a lane is kept busy, {duty_bounds}
  yield_to_foreign_load: {yields} # true: no sample begins while others use the server
  reference_cell: {AUTO} # measured three times a cycle, to see drift; or workers and batch as [4, 4], or off
",
        mode = word(SCHEDULE_MODES, default.mode),
        modes = words(SCHEDULE_MODES, " | "),
        order = word(ORDERS, default.order),
        orders = words(ORDERS, " | "),
        pause = show(default.pause_between_samples),
        interval = show(default.cycle_interval),
        duty = percent(default.max_duty),
        duty_bounds = format_args!("{} to {}", percent(*MAX_DUTY.start()), percent(*MAX_DUTY.end())),
        yields = default.yield_to_foreign_load,
        warmups = default.warmup_requests,
        warmup_bounds = bounds(&WARMUP_REQUESTS),
    )
}

fn estimate() -> String {
    let default = SampleWindow::default();
    format!(
        "estimate: # the samples of the running epoch that estimates are of
  window_samples: {samples} # the newest of each cell, {bounds}
  window: {age} # and none that are older
",
        samples = default.samples,
        bounds = bounds(&WINDOW_SAMPLES),
        age = show(default.age),
    )
}

fn objectives() -> String {
    let default = ServiceLevel::default();
    let limit = |limit: Option<Duration>| limit.map_or_else(|| OFF.to_owned(), show);
    format!(
        "objectives:
  slo: # the best rate whose latencies keep these limits; off: no limit
    time_to_first_token_p95: {ttft} # of the cell's usual sample
    inter_token_latency_p95: {itl} # likewise
",
        ttft = limit(default.time_to_first_token_p95),
        itl = limit(default.inter_token_latency_p95),
    )
}

fn notify() -> String {
    let timeout = show(NOTIFY_TIMEOUT);
    format!(
        "notify: # who is told of changes, alarms and their ends
  webhook: # JSON by POST; its key text is what chat programs show
    # url: https://chat.example/hooks/x1 # nobody is told without it
    # url_file: /run/secrets/hook # or the file that holds it
    headers: {{}} # sent along, as `name: value`
    timeout: {timeout} # of one attempt; there are six, in a quarter of an hour
  grafana: # annotations, with the tag llmsoak
    # url: http://127.0.0.1:3000 # nothing is sent without it
    # token_file: /run/secrets/grafana # of a service account; relative files lie beside this one
    # token_env: GRAFANA_TOKEN # or the environment variable that holds it
    timeout: {timeout} # likewise
"
    )
}

fn canary() -> String {
    let every = SchedulePlan::with_seed(0).canary_every.map_or_else(|| OFF.to_owned(), show);
    format!(
        "canary: # now and then the model is unloaded, to see how long it takes to load
  every: {every} # off, or such as 6h; works with Ollama, and with servers that llmsoak starts
"
    )
}

fn report() -> String {
    let default = ReportPlan::default();
    format!(
        "report:
  every: {every} # from one report to the next
  keep: {keep} # reports of each target, {kept_bounds}; older ones are deleted
  language: {language} # {languages}
",
        every = show(default.every),
        keep = default.keep,
        kept_bounds = bounds(&REPORTS_KEPT),
        language = default.language.code(),
        languages = words(LANGUAGES, " | "),
    )
}

fn regression() -> String {
    let default = RegressionPlan::default();
    format!(
        "regression: # what is told of changes: they become metrics, log lines and a part of the report
  minimum_effect: {effect} # the least change that is told
  false_alarms_per_1000_cycles: {rate} # how many are put up with, {rates}; fewer: changes have to be clearer
",
        effect = percent(default.minimum_effect),
        rate = default.false_alarms_per_1000_cycles,
        rates = bounds(&FALSE_ALARMS),
    )
}

fn metrics() -> String {
    let default = MetricsPlan::default();
    let labels = HISTOGRAM_LABELS.iter().find(|(_, meaning)| *meaning == default.histogram_labels);
    let buckets = LatencyMeasure::ALL.iter().map(|&measure| {
        let (bounds, of) = match measure {
            LatencyMeasure::TimeToFirstToken => ("[0.1, 1, 10]", "from the send to the first text"),
            LatencyMeasure::TimePerOutputToken => ("[0.01, 0.1]", "a mean of each request"),
            LatencyMeasure::InterTokenLatency => ("[0.01, 0.1]", "from one token to the next"),
            LatencyMeasure::RequestDuration => ("[1, 10, 60]", "from the send to the end"),
        };
        format!("    # {measure}: {bounds} # {of}\n")
    });
    format!(
        "metrics:
  cells: {cells} # {details}; core: what an optimum and a heat map need
  histogram_labels: [{labels}] # {label_lists}
  buckets: # upper bounds in seconds, ascending, in the place of the default ones
{buckets}  max_series: {max_series} # a configuration that would make more is refused
",
        cells = word(CELL_DETAILS, default.cells),
        details = words(CELL_DETAILS, " | "),
        labels = labels.map_or_else(String::new, |(list, _)| list.join(", ")),
        label_lists = lists(HISTOGRAM_LABELS),
        buckets = buckets.collect::<String>(),
        max_series = default.max_series,
    )
}

/// The word that means `value`.
fn word<T: Copy + PartialEq>(choices: Choices<T>, value: T) -> &'static str {
    choices.iter().find(|(_, meaning)| *meaning == value).map_or("", |(word, _)| word)
}

fn bounds(range: &RangeInclusive<impl Display>) -> String {
    format!("{} to {}", range.start(), range.end())
}

#[cfg(test)]
mod tests;
