//! The table of keys: each key with its default, its bounds and where it goes.
//!
//! Defaults are `domain::plan`'s; the few that have no home there stand here, with the
//! bounds and the words that the generated configuration shows too.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::domain::Endpoint;
use crate::domain::plan::{Api, CellDetail, CellOrder, HistogramLabels, Language, ScheduleMode};
use crate::domain::slots::SlotsMode;

use super::kind::Choices;
use super::preset::ServerPreset;
use super::value::Lists;

mod budget;
mod environment;
mod file;
mod notify;
mod schedule;
mod slots;
mod target;
mod validity;
mod web;

pub(super) use file::config;
pub(super) use schedule::draw_seed;
pub(super) use target::default_grid;
pub(super) use web::web;

pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
pub(super) const READY_TIMEOUT: Duration = Duration::from_secs(120);

const DAY: Duration = Duration::from_secs(86_400);
const YEAR: Duration = Duration::from_secs(365 * 86_400);

const RETENTION: RangeInclusive<Duration> = DAY..=Duration::from_secs(3650 * 86_400);
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(1)..=DAY;
const PAUSE: RangeInclusive<Duration> = Duration::ZERO..=DAY;
const CYCLE_INTERVAL: RangeInclusive<Duration> = Duration::ZERO..=YEAR;
/// A change of half is none that has to be looked for.
const MINIMUM_EFFECT: RangeInclusive<f64> = 0.0..=0.49;
pub(super) const FALSE_ALARMS: RangeInclusive<f64> = 0.001..=100.0;
/// More often than a model takes to load, a soak would do nothing else.
const CANARY_EVERY: RangeInclusive<Duration> = Duration::from_secs(60)..=YEAR;
const REPORT_EVERY: RangeInclusive<Duration> = Duration::from_secs(1)..=YEAR;
/// Beyond a minute, nothing that is timed means anything.
const TIMER_LAG: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(60);
const RATIO: RangeInclusive<f64> = 0.0..=1.0;
const CLIENT_CPU: RangeInclusive<f64> = 0.01..=1.0;
/// Fewer have no spread; more are beyond the report, which reads so many of a cell.
pub(super) const WINDOW_SAMPLES: RangeInclusive<usize> = 3..=1000;
const ESTIMATE_WINDOW: RangeInclusive<Duration> = Duration::from_secs(60)..=YEAR;
const SERVICE_LEVEL: RangeInclusive<Duration> = Duration::from_millis(1)..=DAY;
const LOAD_RATIO: RangeInclusive<f64> = 1.0..=1e6;
const POLLS_IN_EXCESS: RangeInclusive<u32> = 1..=1000;
const TOKENS: RangeInclusive<u64> = 0..=LARGEST_EXACT;
pub(super) const MAX_DUTY: RangeInclusive<f64> = 0.01..=1.0;
pub(super) const REPORTS_KEPT: RangeInclusive<usize> = 1..=100_000;
pub(super) const PROMPT_TOKENS: RangeInclusive<u32> = 8..=16_384;
pub(super) const OUTPUT_TOKENS: RangeInclusive<u32> = 1..=32_768;
pub(super) const TEMPERATURE: RangeInclusive<f64> = 0.0..=2.0;
pub(super) const WARMUP_REQUESTS: RangeInclusive<u32> = 0..=100;
pub(super) const CONTEXT_PER_SLOT: RangeInclusive<u32> = 1..=10_000_000;

/// The largest whole number that JSON, SQLite and a Prometheus sample all hold exactly.
const LARGEST_EXACT: u64 = (1 << 53) - 1;
const SEED: RangeInclusive<u64> = 0..=LARGEST_EXACT;
const COUNT: RangeInclusive<u64> = 1..=LARGEST_EXACT;

/// Each target has series, a folder and tasks of its own.
const MOST_TARGETS: usize = 256;
const MOST_WINDOWS: usize = 64;
/// Words of a command line.
pub(super) const MOST_WORDS: usize = 256;
/// Commands of a target, which all run before each cycle, and its labels.
const MOST_FACTS: usize = 32;

pub(super) const APIS: Choices<Api> = &[("auto", Api::Auto), ("ollama", Api::Ollama), ("openai", Api::OpenAi)];
pub(super) const ENDPOINTS: Choices<Endpoint> =
    &[(Endpoint::Completions.as_str(), Endpoint::Completions), (Endpoint::Chat.as_str(), Endpoint::Chat)];
pub(super) const SCHEDULE_MODES: Choices<ScheduleMode> =
    &[("full", ScheduleMode::Full), ("adaptive", ScheduleMode::Adaptive)];
pub(super) const ORDERS: Choices<CellOrder> = &[("shuffled", CellOrder::Shuffled), ("ascending", CellOrder::Ascending)];
/// Whether prefix caches are avoided.
pub(super) const PREFIX_CACHE: Choices<bool> = &[("avoid", true), ("allow", false)];
pub(super) const PRESETS: Choices<Preset> = &[("auto", Preset::Auto), ("legacy", Preset::Legacy)];
pub(super) const SLOTS_MODES: Choices<SlotsMode> =
    &[(SlotsMode::Client.as_str(), SlotsMode::Client), (SlotsMode::Server.as_str(), SlotsMode::Server)];
pub(super) const SERVER_PRESETS: Choices<ServerPreset> =
    &[("ollama", ServerPreset::Ollama), ("llama-server", ServerPreset::LlamaServer), ("vllm", ServerPreset::Vllm)];
/// Whether this machine's GPUs are asked, where the server runs on it.
pub(super) const GPU_PROBES: Choices<bool> = &[("auto", true), ("off", false)];
pub(super) const LANGUAGES: Choices<Language> =
    &[(Language::English.code(), Language::English), (Language::Russian.code(), Language::Russian)];
pub(super) const CELL_DETAILS: Choices<CellDetail> =
    &[("full", CellDetail::Full), ("core", CellDetail::Core), ("off", CellDetail::Off)];
pub(super) const HISTOGRAM_LABELS: Lists<HistogramLabels> = &[
    (&[], HistogramLabels::None),
    (&["workers"], HistogramLabels::Workers),
    (&["workers", "batch"], HistogramLabels::WorkersAndBatch),
];

/// A grid that has a name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Preset {
    Auto,
    Legacy,
}
