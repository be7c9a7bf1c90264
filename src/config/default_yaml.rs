//! The text of a configuration of one target: every key, its value, and what it is for.
//!
//! README shows the one that says nothing but defaults; `llmsoak init` writes one that
//! fits a server. Defaults, bounds and choices are written from the values that the reader
//! uses. A test reads the text back and compares; another finds every known key in it.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::domain::plan::{
    Connection, MetricsPlan, Prompts, RegressionPlan, ReportPlan, RequestPlan, SchedulePlan, StoragePlan, ValidityPlan,
};
use crate::domain::slots::{CommandPlan, SlotsMode};
use crate::domain::{Endpoint, LatencyMeasure, SampleWindow, ServiceLevel};

use super::keys::{
    APIS, CELL_DETAILS, CONNECT_TIMEOUT, CONTEXT_PER_SLOT, ENDPOINTS, FALSE_ALARMS, HISTOGRAM_LABELS, LANGUAGES,
    MAX_DUTY, ORDERS, OUTPUT_TOKENS, PREFIX_CACHE, PRESETS, PROMPT_TOKENS, READY_TIMEOUT, REPORTS_KEPT, SCHEDULE_MODES,
    SERVER_PRESETS, SLOTS_MODES, TEMPERATURE, WARMUP_REQUESTS, WINDOW_SAMPLES, default_grid,
};
use super::kind::{Choices, percent, words};
use super::value::{AUTO, OFF, lists};
use super::window::LOCAL;
use crate::domain::duration::show;

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
    let target = [target(draft), grid(draft), slots(), request(draft), budget(), validity()].concat();
    let decided = [storage(), target, schedule(), estimate(), objectives(), canary()].concat();
    let yaml = [decided, report(), regression(), metrics()].concat();
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

fn target(draft: &Draft) -> String {
    let default = Connection::default();
    format!(
        "targets: # at least one; each is one model on one server
  - name: {name} # labels series and names a folder of reports: 1 to 64 of A-Z a-z 0-9 . _ -
    url: {url} # http or https, perhaps with a path; no credentials
    {model} # left out: the server's first
    api: {api} # {apis}; auto: found out by asking
    # lane: gpu0 # targets of one lane never run at the same time; left out: the URL's host
    {api_key_file} # sent as a bearer token; relative files lie beside this one
    # api_key_env: LLM_API_KEY # or the environment variable that holds it
    headers: {{}} # sent with every request, as `name: value`
    tls:
      # ca_file: ca.pem # PEM certificates to trust beside the system's
      insecure_skip_verify: {insecure} # true: the server's certificate is not looked at
",
        name = scalar(&draft.name),
        url = scalar(&draft.url),
        model = optional("model", draft.model.as_deref(), "gemma3:4b"),
        api_key_file = optional("api_key_file", draft.api_key_file.as_deref(), "/run/secrets/key"),
        api = word(APIS, default.api),
        apis = words(APIS, " | "),
        insecure = default.tls_insecure_skip_verify,
    )
}

fn grid(draft: &Draft) -> String {
    let (preset, _) = default_grid();
    // A key that is not used starts with a mark.
    let (preset_mark, axes_mark) = if draft.axes.is_some() { ("# ", "") } else { ("", "# ") };
    let (workers, batch) = draft.axes.clone().unwrap_or_else(|| (vec![1, 2, 4, 8], vec![1, 4, 16, 32]));
    format!(
        "    grid: # a preset, or both of the lists
      {preset_mark}preset: {preset} # {presets}; auto: fitted to the server's slots, legacy: 14 × 9 cells
      {axes_mark}workers: {workers:?} # requests in flight at once, or the server's slots: see slots
      {axes_mark}batch: {batch:?} # requests of one measurement
      # share_equivalent_cells: false # left out: cells of one batch with workers ≥ batch are measured once
",
        preset = word(PRESETS, preset),
        presets = words(PRESETS, " | "),
    )
}

fn slots() -> String {
    format!(
        "    slots: # whose number the workers are
      mode: {mode} # {modes}; client: so many requests in flight, server: so many slots of its own
      process: # with mode server: it runs as a child of llmsoak, started anew for each row
        # preset: ollama # {presets}, at the target's url
        # arguments: [--model, m.gguf] # added to those of the preset
        # command: [serve, \"{workers}\"] # or a command line of your own; {workers} is the number
        # environment: {{NP: \"{workers}\"}} # variables beside llmsoak's own
        # context_per_slot: 4096 # {context_bounds}; a command has workers times as much as {context}
      # command: [./slots, \"{workers}\"] # or a command that gives a server its slots and ends
      ready_timeout: {ready} # until the server must answer with other slots
",
        mode = word(SLOTS_MODES, SlotsMode::Client),
        modes = words(SLOTS_MODES, " | "),
        presets = words(SERVER_PRESETS, " | "),
        workers = CommandPlan::WORKERS,
        context = CommandPlan::CONTEXT,
        context_bounds = bounds(&CONTEXT_PER_SLOT),
        ready = show(READY_TIMEOUT),
    )
}

fn request(draft: &Draft) -> String {
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
        endpoint = word(ENDPOINTS, draft.endpoint),
        endpoints = words(ENDPOINTS, " | "),
        prompt_bounds = bounds(&PROMPT_TOKENS),
        cache = word(PREFIX_CACHE, default.avoid_prefix_cache),
        caches = words(PREFIX_CACHE, " | "),
        output_tokens = draft.output_tokens,
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

fn validity() -> String {
    let default = ValidityPlan::default();
    format!(
        "    validity: # the bounds beyond which a sample is rejected
      timer_lag: {lag} # p99 of the client's own; this or the next, whichever is larger
      timer_lag_ratio: {lag_ratio} # of the sample's median inter-token latency
      client_cpu: {cpu} # of the processor time of the measuring threads
      cached_prompt_tokens: {cached} # in a request; this or the next, whichever is larger
      cached_prompt_ratio: {cached_ratio} # of its prompt
      load_time: {load} # of the model; this or the next, whichever is larger
      load_ratio: {load_ratio} # times the epoch's median load time
      failed_requests: {failed} # of its requests
      polls_in_excess: {polls} # from so many looks on that show requests of others
      foreign_tokens: {foreign} # of others; this or the next, whichever is larger
      foreign_tokens_ratio: {foreign_ratio} # of the sample's own tokens
      output_length: {length} # from the cell's usual mean length; more where lengths vary
",
        lag = show(default.timer_lag),
        lag_ratio = percent(default.timer_lag_ratio),
        cpu = percent(default.client_cpu_ratio),
        cached = default.cached_prompt_tokens,
        cached_ratio = percent(default.cached_prompt_ratio),
        load = show(default.load_time),
        load_ratio = default.load_time_of_median,
        failed = percent(default.failed_requests_ratio),
        polls = default.polls_in_excess,
        foreign = default.foreign_tokens,
        foreign_ratio = percent(default.foreign_tokens_ratio),
        length = percent(default.output_length_ratio),
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
mod tests {
    use proptest::prelude::*;

    use super::super::load::drafted;
    use super::*;
    use crate::domain::Grid;
    use crate::domain::plan::GridPlan;

    fn check_scalar(text: &str, expected: &str) {
        assert_eq!(scalar(text), expected);
    }

    #[test]
    fn what_could_be_taken_for_something_else_is_quoted() {
        check_scalar("gemma3:4b", "gemma3:4b");
        check_scalar("http://127.0.0.1:1/v2", "http://127.0.0.1:1/v2");
        check_scalar("/models/a+b.gguf", "/models/a+b.gguf");
        for word in ["1.0", "1e3", "On", "null", "~", "-", "a: b", "a #b", "[a]", "&a", "*a", "x:", ".inf", " a", "a b"]
        {
            check_scalar(word, &format!("\"{word}\""));
        }
        check_scalar("a\"b\\c", r#""a\"b\\c""#);
        check_scalar("a\u{2028}\u{feff}b", r#""a\U00002028\U0000feffb""#);
    }

    #[test]
    fn remarks_stand_above_their_keys_and_break_no_line() {
        let quoted = "offers\r\n  x: 1\u{85}\u{2028}".to_owned() + &"word ".repeat(30);
        let remarks = vec![("workers", "told: 4 slots".to_owned()), ("model", quoted)];
        let yaml = draft_yaml(&Draft { remarks, ..Draft::default() });
        let lines: Vec<&str> = yaml.lines().collect();
        let place = |start: &str| lines.iter().position(|line| line.starts_with(start)).expect(start);
        assert_eq!(lines[place("      # told: 4 slots") + 1].split(':').next(), Some("      # workers"));
        assert_eq!(lines[place("    # model:") - 2].split("word").next(), Some("    # offers?? x: 1??"));
        assert!(lines[place("    # model:") - 1].starts_with("    # word"));
    }

    #[test]
    fn axes_stand_in_the_place_of_the_preset() {
        let axes = Some((vec![1, 2], vec![1, 2, 4]));
        let config = drafted(&Draft { axes, ..Draft::default() }).expect("is sound");
        let expected = Grid::new(&[1, 2], &[1, 2, 4], true).expect("axes are sound");
        assert_eq!(config.targets[0].grid, GridPlan::Fixed(expected));
    }

    /// Names as servers may have them, and those that YAML has a meaning for.
    fn model() -> impl Strategy<Value = String> {
        let odd =
            ["true", "NO", "~", "0x1f", "1_000", "1:30", ".nan", "2026-01-01", "- a", "? a", "!!int 1", "<<", "%a"];
        prop_oneof!["\\PC{1,60}", "[ -~]{1,60}", prop::sample::select(odd.to_vec()).prop_map(str::to_owned)]
            .prop_filter("not blank", |name| !name.trim().is_empty())
    }

    proptest! {
        #[test]
        fn any_model_name_survives(name in model()) {
            let remarks = vec![("model", format!("others: {name}"))];
            let draft = Draft { model: Some(name.clone()), remarks, ..Draft::default() };
            let config = drafted(&draft).map_err(|problems| TestCaseError::fail(problems.to_string()))?;
            prop_assert_eq!(config.targets[0].model.as_deref(), Some(name.as_str()));
            prop_assert_eq!(&config.targets[0].connection.url, &draft.url);
        }
    }
}
