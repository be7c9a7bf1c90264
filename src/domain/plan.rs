//! What a user asked for, resolved: every value typed, every default filled in.
//!
//! `config` makes these from YAML and flags; the floors below see nothing else.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::cell::Grid;
use super::environment::Facts;
use super::optimum::EstimatePlan;
use super::request::Endpoint;
use super::sample::LatencyMeasure;
use super::slots::{CommandLine, SlotsPlan};
use super::window::Windows;

/// A value that is never shown: its `Debug` hides it, it has no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself, for the one place that sends it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

/// How the server is spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Api {
    /// Found out by asking.
    #[default]
    Auto,
    Ollama,
    OpenAi,
}

/// Certificates to trust, as they were when the configuration was read: a file of the same name
/// with others is another plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorities {
    pub file: PathBuf,
    pub pem: String,
}

/// How a server is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connection {
    /// Scheme, host and port, perhaps a path prefix; no trailing slash, no credentials.
    pub url: String,
    pub api: Api,
    /// Sent as a bearer token.
    pub api_key: Option<Secret>,
    /// Where the key was read, if from a file: it may hold another one later.
    pub api_key_file: Option<PathBuf>,
    /// Sent with every request; values may be secret.
    pub headers: Vec<(String, Secret)>,
    /// Who is trusted beside the system's authorities.
    pub tls_authorities: Option<Authorities>,
    pub tls_insecure_skip_verify: bool,
    pub connect_timeout: Duration,
}

/// Which cells to measure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GridPlan {
    /// Fitted to the server's slots once they are known.
    Automatic {
        share_equivalent_cells: bool,
    },
    Fixed(Grid),
}

impl Default for GridPlan {
    fn default() -> Self {
        Self::Automatic { share_equivalent_cells: true }
    }
}

impl GridPlan {
    /// The largest grid that any server can make of it.
    pub fn largest(&self) -> Grid {
        self.grid(Some(Grid::MOST_SLOTS))
    }

    /// The grid for a server with that many slots.
    pub fn grid(&self, slots: Option<u32>) -> Grid {
        match self {
            Self::Automatic { share_equivalent_cells } => Grid::automatic(slots, *share_equivalent_cells),
            Self::Fixed(grid) => grid.clone(),
        }
    }
}

/// Where the prompts come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prompts {
    /// Made here, about this many tokens each.
    BuiltIn { tokens: u32 },
    /// One prompt a line, taken in turn.
    Lines { lines: Vec<String>, digest: String },
}

impl Prompts {
    /// How many there are; at least one.
    pub fn count(&self) -> usize {
        match self {
            Self::BuiltIn { .. } => 1,
            Self::Lines { lines, .. } => lines.len().max(1),
        }
    }
}

/// What every request of a target is like.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestPlan {
    pub endpoint: Endpoint,
    pub prompts: Prompts,
    /// Whether each prompt starts with words of its own, so that no prefix cache can answer.
    pub avoid_prefix_cache: bool,
    pub output_tokens: u32,
    pub ignore_eos: bool,
    pub temperature: f64,
    /// For the whole request; a floor, see `soak`.
    pub timeout: Duration,
    /// For the first token, since the server's last sign of progress on any request of the sample.
    pub first_token_timeout: Duration,
    pub between_tokens_timeout: Duration,
}

impl Default for RequestPlan {
    fn default() -> Self {
        Self {
            endpoint: Endpoint::Completions,
            prompts: Prompts::BuiltIn { tokens: 64 },
            avoid_prefix_cache: true,
            output_tokens: 200,
            ignore_eos: true,
            temperature: 0.8,
            timeout: Duration::from_secs(300),
            first_token_timeout: Duration::from_secs(120),
            between_tokens_timeout: Duration::from_secs(60),
        }
    }
}

impl RequestPlan {
    /// The most tokens of a warm-up's answer: it need only touch what a request touches.
    pub const WARMUP_TOKENS: u32 = 16;

    /// The length that a warm-up asks for.
    pub fn warmup_tokens(&self) -> u32 {
        self.output_tokens.min(Self::WARMUP_TOKENS)
    }
}

/// One model on one server.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetPlan {
    pub name: String,
    /// The server's first where it is left out.
    pub model: Option<String>,
    pub connection: Connection,
    /// Targets of one lane never run at the same time.
    pub lane: String,
    pub grid: GridPlan,
    pub slots: SlotsPlan,
    pub request: RequestPlan,
    pub budget: BudgetPlan,
    pub environment: EnvironmentPlan,
    pub validity: ValidityPlan,
}

/// What is asked about the machine of a server, beside what the server tells itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvironmentPlan {
    /// Whether the GPUs of this machine are asked, where the server runs on it.
    pub reads_gpu: bool,
    /// By the fact of the identity that the first line of their output is.
    pub commands: BTreeMap<String, CommandLine>,
    /// Facts that the user states.
    pub labels: Facts,
}

impl Default for EnvironmentPlan {
    fn default() -> Self {
        Self { reads_gpu: true, commands: BTreeMap::new(), labels: Facts::new() }
    }
}

/// What a target may send and get, warm-ups included. Each limit holds for any such span of
/// time, not only for those of a calendar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BudgetPlan {
    pub requests_per_hour: Option<u64>,
    pub requests_per_day: Option<u64>,
    /// Prompt and output together.
    pub tokens_per_hour: Option<u64>,
    pub tokens_per_day: Option<u64>,
}

impl BudgetPlan {
    /// Whether anything is limited.
    pub fn limits_anything(&self) -> bool {
        *self != Self::default()
    }
}

/// The bounds beyond which a sample enters no estimate. Ratios are parts of a whole.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ValidityPlan {
    /// Timer lag p99: the larger of this and a share of the median ITL.
    pub timer_lag: Duration,
    pub timer_lag_ratio: f64,
    /// Own processor time / (wall time × own cores).
    pub client_cpu_ratio: f64,
    /// Cached prompt tokens of a request: the larger of this and a share of its prompt.
    /// Chat templates share a few.
    pub cached_prompt_tokens: u64,
    pub cached_prompt_ratio: f64,
    /// A model load: the larger of this and a multiple of the epoch's median. Ollama's load
    /// time is never 0.
    pub load_time: Duration,
    pub load_time_of_median: f64,
    /// Failed requests / requests.
    pub failed_requests_ratio: f64,
    /// Looks that show more requests than this program's own, from which on a sample counts
    /// as shared. One may be the server's bookkeeping, caught between two requests.
    pub polls_in_excess: u32,
    /// Tokens that the server counted beyond this program's own: the larger of this and a
    /// share of its own. Servers and usage differ by a token or two a request (the token
    /// that ends an answer, one that was decoded past the asked length), and of the
    /// default 200 a hundredth is two.
    pub foreign_tokens: u64,
    pub foreign_tokens_ratio: f64,
    /// How far the mean length of a sample's answers is from the cell's usual one / that one.
    pub output_length_ratio: f64,
}

impl Default for ValidityPlan {
    fn default() -> Self {
        Self {
            timer_lag: Duration::from_millis(2),
            timer_lag_ratio: 0.1,
            client_cpu_ratio: 0.8,
            cached_prompt_tokens: 8,
            cached_prompt_ratio: 0.1,
            load_time: Duration::from_millis(500),
            load_time_of_median: 20.0,
            failed_requests_ratio: 0.05,
            polls_in_excess: 2,
            foreign_tokens: 8,
            foreign_tokens_ratio: 0.01,
            output_length_ratio: 0.1,
        }
    }
}

/// The order of the cells within a cycle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CellOrder {
    /// Anew in each cycle, so that drift does not favour a cell.
    #[default]
    Shuffled,
    Ascending,
}

/// Which cells a cycle measures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ScheduleMode {
    /// All of the grid.
    #[default]
    Full,
    /// Those that can still change an answer, some that are always measured, and each within a
    /// bounded number of cycles.
    Adaptive,
}

/// How the work is laid out in time.
#[derive(Clone, Debug, PartialEq)]
pub struct SchedulePlan {
    pub mode: ScheduleMode,
    pub order: CellOrder,
    pub seed: u64,
    pub pause_between_samples: Duration,
    /// From the start of a cycle to the start of the next; one that takes longer is followed
    /// at once.
    pub cycle_interval: Duration,
    /// For each worker, before each sample.
    pub warmup_requests: u32,
    /// The hours in which requests are sent.
    pub windows: Windows,
    /// The most of its time that a lane is kept busy: above 0, at most 1.
    pub max_duty: f64,
    /// Whether no sample begins while others use the server.
    pub yield_to_foreign_load: bool,
    /// How often the model is unloaded, to see how long it takes to load; `None`: never.
    pub canary_every: Option<Duration>,
    /// How conclusions are drawn: an adaptive schedule draws some, and each cycle has a
    /// reference cell.
    pub estimates: EstimatePlan,
}

impl SchedulePlan {
    /// The defaults, with a seed that the caller drew.
    pub fn with_seed(seed: u64) -> Self {
        Self {
            mode: ScheduleMode::default(),
            order: CellOrder::Shuffled,
            seed,
            pause_between_samples: Duration::from_secs(1),
            cycle_interval: Duration::ZERO,
            warmup_requests: 1,
            windows: Windows::default(),
            max_duty: 1.0,
            yield_to_foreign_load: true,
            canary_every: None,
            estimates: EstimatePlan::default(),
        }
    }
}

/// The languages of reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    #[default]
    English,
    Russian,
}

impl Language {
    pub const ALL: &[Self] = &[Self::English, Self::Russian];

    /// Its code of two letters, as in ISO 639.
    pub const fn code(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Russian => "ru",
        }
    }
}

/// When reports are written, how many are kept, and their language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportPlan {
    pub every: Duration,
    pub keep: usize,
    pub language: Language,
}

impl Default for ReportPlan {
    fn default() -> Self {
        Self { every: Duration::from_secs(3600), keep: 168, language: Language::default() }
    }
}

/// Which changes are told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RegressionPlan {
    /// The least change that is told, as a ratio: 0.01 is 1 %.
    pub minimum_effect: f64,
    /// How many false alarms in 1,000 cycles are put up with.
    pub false_alarms_per_1000_cycles: f64,
}

impl Default for RegressionPlan {
    fn default() -> Self {
        Self { minimum_effect: 0.01, false_alarms_per_1000_cycles: 0.5 }
    }
}

/// Where the history and the reports live, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoragePlan {
    /// Relative to the working directory, for it is the place where the program runs, not
    /// the configuration file, that says where data goes.
    pub path: PathBuf,
    /// Samples are deleted when they are older.
    pub retention: Duration,
}

impl Default for StoragePlan {
    fn default() -> Self {
        Self { path: PathBuf::from("data"), retention: Duration::from_secs(90 * 86_400) }
    }
}

/// Which gauges of cells are exposed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CellDetail {
    #[default]
    Full,
    /// What an optimum and a heat map need.
    Core,
    Off,
}

/// The labels of latency histograms beside those of the target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HistogramLabels {
    None,
    #[default]
    Workers,
    WorkersAndBatch,
}

/// What is exposed, and how much of it.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricsPlan {
    pub cells: CellDetail,
    pub histogram_labels: HistogramLabels,
    /// Upper bounds in seconds, ascending, in the place of the default ones.
    pub buckets: BTreeMap<LatencyMeasure, Vec<f64>>,
    /// A configuration that would make more series is refused.
    pub max_series: u64,
}

impl Default for MetricsPlan {
    fn default() -> Self {
        Self {
            cells: CellDetail::default(),
            histogram_labels: HistogramLabels::default(),
            buckets: BTreeMap::new(),
            max_series: 20_000,
        }
    }
}
