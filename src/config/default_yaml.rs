//! The configuration that README shows: every key, its default, and what it is for.
//!
//! Defaults, bounds and choices are written from the values that the reader uses. A test
//! reads the text back and compares; another finds every known key in it.

use std::fmt::Display;
use std::ops::RangeInclusive;

use crate::domain::LatencyMeasure;
use crate::domain::plan::{Connection, MetricsPlan, Prompts, ReportPlan, RequestPlan, SchedulePlan, StoragePlan};

use super::duration::show;
use super::keys::{
    APIS, CELL_DETAILS, CONNECT_TIMEOUT, ENDPOINTS, HISTOGRAM_LABELS, MAX_DUTY, ORDERS, OUTPUT_TOKENS, PREFIX_CACHE,
    PRESETS, PROMPT_TOKENS, REPORTS_KEPT, TEMPERATURE, WARMUP_REQUESTS, default_grid,
};
use super::kind::{Choices, percent, words};
use super::value::lists;
use super::window::LOCAL;

/// A configuration file of one target in which every key has its default value.
///
/// A key that is commented out has no value by default; what stands there is an example.
pub fn default_yaml() -> String {
    aligned(&[storage(), target(), grid(), request(), budget(), schedule(), report(), metrics()].concat())
}

/// Puts the comments under each other.
fn aligned(yaml: &str) -> String {
    /// Wide enough for every key and its value.
    const COLUMN: usize = 40;
    let line = |line: &str| match line.rsplit_once(" # ") {
        Some((key, comment)) => format!("{key:COLUMN$} # {comment}\n"),
        None => format!("{line}\n"),
    };
    yaml.lines().map(line).collect()
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

fn target() -> String {
    let default = Connection::default();
    format!(
        "targets: # at least one; each is one model on one server
  - name: workstation # labels series and names a folder of reports: 1 to 64 of A-Z a-z 0-9 . _ -
    url: http://127.0.0.1:11434 # http or https, perhaps with a path; no credentials
    # model: gemma3:4b # left out: the server's first
    api: {api} # {apis}; auto: found out by asking
    # lane: gpu0 # targets of one lane never run at the same time; left out: the URL's host
    # api_key_file: /run/secrets/key # sent as a bearer token; relative files lie beside this one
    # api_key_env: LLM_API_KEY # or the environment variable that holds it
    headers: {{}} # sent with every request, as `name: value`
    tls:
      # ca_file: ca.pem # PEM certificates to trust beside the system's
      insecure_skip_verify: {insecure} # true: the server's certificate is not looked at
",
        api = word(APIS, default.api),
        apis = words(APIS, " | "),
        insecure = default.tls_insecure_skip_verify,
    )
}

fn grid() -> String {
    let (preset, share) = default_grid();
    format!(
        "    grid: # a preset, or both of the lists
      preset: {preset} # {presets}; auto: fitted to the server's slots, legacy: 14 × 9 cells
      # workers: [1, 2, 4, 8] # requests in flight at once
      # batch: [1, 4, 16, 32] # requests of one measurement
      share_equivalent_cells: {share} # cells of one batch with workers ≥ batch are measured once
",
        preset = word(PRESETS, preset),
        presets = words(PRESETS, " | "),
    )
}

fn request() -> String {
    let default = RequestPlan::default();
    let prompt_tokens = match default.prompts {
        Prompts::BuiltIn { tokens } => tokens.to_string(),
        Prompts::Lines { .. } => String::new(),
    };
    format!(
        "    request:
      endpoint: {endpoint} # {endpoints}
      prompt_tokens: {prompt_tokens} # length of the built-in prompts, {prompt_bounds}
      # prompts_file: prompts.txt # or prompts of your own, one a line
      prefix_cache: {cache} # {caches}; avoid: every prompt starts with words of its own
      output_tokens: {output_tokens} # length of an answer, {output_bounds}
      ignore_eos: {ignore_eos} # true: no answer ends earlier, where the server allows it
      temperature: {temperature} # {temperature_bounds}
      timeout: {timeout} # for a whole request; more where the warm-up took long
      connect_timeout: {connect} # until the server takes the connection
      first_token_timeout: {first} # since the server's last sign of progress on any request
      between_tokens_timeout: {between} # from one token of an answer to the next
",
        endpoint = word(ENDPOINTS, default.endpoint),
        endpoints = words(ENDPOINTS, " | "),
        prompt_bounds = bounds(&PROMPT_TOKENS),
        cache = word(PREFIX_CACHE, default.avoid_prefix_cache),
        caches = words(PREFIX_CACHE, " | "),
        output_tokens = default.output_tokens,
        output_bounds = bounds(&OUTPUT_TOKENS),
        ignore_eos = default.ignore_eos,
        temperature = default.temperature,
        temperature_bounds = bounds(&TEMPERATURE),
        timeout = show(default.timeout),
        connect = show(CONNECT_TIMEOUT),
        first = show(default.first_token_timeout),
        between = show(default.between_tokens_timeout),
    )
}

fn budget() -> String {
    "    budget: # the most that is sent and asked for, warm-ups included
      # requests_per_hour: 500 # in any hour
      # requests_per_day: 5000 # in any day
      # tokens_per_hour: 200000 # in any hour, prompt and output together
      # tokens_per_day: 2000000 # in any day, prompt and output together
"
    .to_owned()
}

fn schedule() -> String {
    let default = SchedulePlan::with_seed(0);
    format!(
        "schedule:
  order: {order} # {orders}; shuffled: the cells of each cycle anew
  seed: random # or a number; the one in use is in the history and the report
  pause_between_samples: {pause} # rest for the server; 0s: none
  cycle_interval: {interval} # from the start of a cycle to the start of the next; 0s: at once
  warmup_requests: {warmups} # of each worker before each sample, {warmup_bounds}
  windows: [] # hours in which to send, as [\"22:00-06:00\", \"Sat,Sun 00:00-24:00\"]; []: always
  time_zone: {LOCAL} # of the windows: the machine's, or one such as Europe/Berlin
  max_duty: {duty} # the most of its time that a lane is kept busy, {duty_bounds}
  yield_to_foreign_load: {yields} # true: no sample begins while others use the server
",
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

fn report() -> String {
    let default = ReportPlan::default();
    format!(
        "report:
  every: {every} # from one report to the next
  keep: {keep} # reports of each target, {kept_bounds}; older ones are deleted
",
        every = show(default.every),
        keep = default.keep,
        kept_bounds = bounds(&REPORTS_KEPT),
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
