//! A sample as a row and back: one list of columns serves both ways.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;
use rusqlite::Row;
use rusqlite::types::Value;

use super::error::StoreError;
use crate::domain::{
    Cell, Conditions, Epoch, EpochId, Facts, FailureKind, Grid, InvalidReason, Measurement, Moments, NamedCells,
    Quantiles, Sample, TargetId, ThrottleReason, TokenSource,
};

/// The columns of `sample` after `target_id`, in the order of [`values`] and [`sample`].
const COLUMNS: &[&str] = &[
    "epoch_id",
    "cycle",
    "workers",
    "batch",
    "started_at",
    "completed_at",
    "total_seconds",
    "seconds_per_request",
    "tokens_per_second",
    "steady_tokens_per_second",
    "prompt_tokens_per_second",
    "requests",
    "failed_requests",
    "failures",
    "output_tokens",
    "prompt_tokens",
    "cached_prompt_tokens",
    "token_source",
    "short_outputs",
    "observed_parallelism",
    "observed_parallelism_peak",
    "reported_slots",
    "time_to_first_token_p50",
    "time_to_first_token_p95",
    "time_to_first_token_p99",
    "inter_token_latency_p50",
    "inter_token_latency_p95",
    "inter_token_latency_p99",
    "time_per_output_token_p50",
    "time_per_output_token_p95",
    "time_per_output_token_p99",
    "request_duration_p50",
    "request_duration_p95",
    "request_duration_p99",
    "worker_wait_p50",
    "worker_wait_p95",
    "worker_wait_p99",
    "queue_wait_p50",
    "queue_wait_p95",
    "queue_wait_p99",
    "load_seconds",
    "gpu_share",
    "timer_lag_p99_seconds",
    "client_cpu_ratio",
    "gpu_temperature_celsius",
    "sm_clock_megahertz",
    "memory_clock_megahertz",
    "gpu_utilization",
    "power_watts",
    "gpu_memory_used_bytes",
    "throttle_reasons",
    "energy_joules",
    "valid",
    "invalid_reason",
];

/// `INSERT` of `target_id` and all columns.
pub(super) fn insert() -> String {
    let marks = ", ?".repeat(COLUMNS.len());
    format!("INSERT INTO sample (target_id, {}) VALUES (?{marks})", COLUMNS.join(", "))
}

/// `SELECT` of all columns, for [`sample`], and of the `id`.
pub(super) fn select() -> String {
    format!("SELECT {}, id FROM sample", COLUMNS.join(", "))
}

pub(super) fn facts_text(facts: &Facts) -> String {
    // A map of strings always has a JSON form.
    serde_json::to_string(facts).unwrap_or_default()
}

/// A grid as the history writes it.
#[derive(serde::Deserialize, serde::Serialize)]
struct GridText {
    workers: Vec<u32>,
    batch: Vec<u32>,
    share_equivalent_cells: bool,
}

pub(super) fn grid_text(grid: &Grid) -> String {
    let text = GridText {
        workers: grid.workers().to_vec(),
        batch: grid.batch().to_vec(),
        share_equivalent_cells: grid.shares_equivalent_cells(),
    };
    // Lists of numbers always have a JSON form.
    serde_json::to_string(&text).unwrap_or_default()
}

pub(super) fn parse_grid(text: &str) -> Result<Grid, StoreError> {
    let fault = || StoreError::Value { what: "grid", text: text.to_owned() };
    let grid: GridText = serde_json::from_str(text).map_err(|_| fault())?;
    Grid::new(&grid.workers, &grid.batch, grid.share_equivalent_cells).map_err(|_| fault())
}

/// The cells that were named best, as the history writes them: workers and batch each.
#[derive(serde::Deserialize, serde::Serialize)]
struct NamedText {
    throughput: (u32, u32),
    frugal: (u32, u32),
    slo: Option<(u32, u32)>,
    rows: Vec<(u32, u32)>,
}

pub(super) fn named_text(named: &NamedCells) -> String {
    let pair = |cell: Cell| (cell.workers, cell.batch);
    let text = NamedText {
        throughput: pair(named.throughput),
        frugal: pair(named.frugal),
        slo: named.slo.map(pair),
        rows: named.rows.values().map(|&cell| pair(cell)).collect(),
    };
    // Numbers always have a JSON form.
    serde_json::to_string(&text).unwrap_or_default()
}

pub(super) fn parse_named(text: &str) -> Result<NamedCells, StoreError> {
    let fault = |_| StoreError::Value { what: "named cells", text: text.to_owned() };
    let named: NamedText = serde_json::from_str(text).map_err(fault)?;
    let cell = |(workers, batch)| Cell { workers, batch };
    Ok(NamedCells {
        throughput: cell(named.throughput),
        frugal: cell(named.frugal),
        slo: named.slo.map(cell),
        rows: named.rows.into_iter().map(|pair| (pair.0, cell(pair))).collect(),
    })
}

/// A time as the history writes it: UTC, RFC 3339, milliseconds.
pub(super) fn time(at: Timestamp) -> String {
    format!("{at:.3}")
}

pub(super) fn parse_time(text: &str) -> Result<Timestamp, StoreError> {
    text.parse().map_err(|_| StoreError::Value { what: "time", text: text.to_owned() })
}

pub(super) fn real(value: Option<f64>) -> Value {
    value.map_or(Value::Null, Value::Real)
}

/// Counts beyond SQLite's range saturate; no believable count comes near.
pub(super) fn integer(value: Option<u64>) -> Value {
    value.map_or(Value::Null, |n| Value::Integer(i64::try_from(n).unwrap_or(i64::MAX)))
}

/// The values of a sample's row, `target_id` first.
pub(super) fn values(target_id: i64, sample: &Sample) -> Vec<Value> {
    let m = &sample.measurement;
    let mut values = vec![
        Value::Integer(target_id),
        Value::Integer(sample.epoch.0),
        integer(Some(sample.cycle)),
        integer(Some(sample.cell.workers.into())),
        integer(Some(sample.cell.batch.into())),
        Value::Text(time(sample.started_at)),
        Value::Text(time(sample.completed_at)),
        Value::Real(m.total_seconds),
        Value::Real(m.seconds_per_request),
        Value::Real(m.tokens_per_second),
        real(m.steady_tokens_per_second),
        real(m.prompt_tokens_per_second),
        integer(Some(m.requests.into())),
        integer(Some(m.failed_requests.into())),
        failures_text(&m.failures).map_or(Value::Null, Value::Text),
        integer(Some(m.output_tokens)),
        integer(m.prompt_tokens),
        integer(m.cached_prompt_tokens),
        Value::Text(m.token_source.to_string()),
        integer(Some(m.short_outputs.into())),
        real(m.observed_parallelism),
        integer(m.observed_parallelism_peak.map(u64::from)),
        integer(m.reported_slots.map(u64::from)),
    ];
    let latencies = [
        m.time_to_first_token,
        m.inter_token_latency,
        m.time_per_output_token,
        m.request_duration,
        m.worker_wait,
        m.queue_wait,
    ];
    for quantiles in latencies {
        values.extend([quantiles.map(|q| q.p50), quantiles.map(|q| q.p95), quantiles.map(|q| q.p99)].map(real));
    }
    let conditions = &m.conditions;
    values.extend([
        real(m.load_seconds),
        real(m.gpu_share),
        real(m.timer_lag_p99_seconds),
        Value::Real(m.client_cpu_ratio),
        real(conditions.gpu_temperature_celsius),
        real(conditions.sm_clock_megahertz),
        real(conditions.memory_clock_megahertz),
        real(conditions.gpu_utilization),
        real(conditions.power_watts),
        integer(conditions.gpu_memory_used_bytes),
        words(conditions.throttle_reasons.iter().map(|reason| reason.as_str())),
        real(conditions.energy_joules),
        integer(Some(sample.is_valid().into())),
        words(sample.invalid.iter().map(|reason| reason.as_str())),
    ]);
    values
}

/// Words, separated by commas; NULL where there are none.
fn words<'a>(words: impl Iterator<Item = &'a str>) -> Value {
    let words: Vec<&str> = words.collect();
    if words.is_empty() { Value::Null } else { Value::Text(words.join(",")) }
}

fn failures_text(failures: &BTreeMap<FailureKind, u32>) -> Option<String> {
    let mut text = String::new();
    for (kind, count) in failures {
        let separator = if text.is_empty() { '{' } else { ',' };
        let _ = write!(text, "{separator}\"{kind}\":{count}");
    }
    (!text.is_empty()).then(|| text + "}")
}

/// Reads the columns one after another, so that their order is told once.
pub(super) struct Columns<'a, 'b> {
    row: &'a Row<'b>,
    next: usize,
}

impl<'a, 'b> Columns<'a, 'b> {
    pub(super) fn new(row: &'a Row<'b>) -> Self {
        Self { row, next: 0 }
    }

    pub(super) fn take<T: rusqlite::types::FromSql>(&mut self) -> Result<T, StoreError> {
        self.next += 1;
        Ok(self.row.get(self.next - 1)?)
    }

    pub(super) fn count(&mut self) -> Result<u64, StoreError> {
        Ok(u64::try_from(self.take::<i64>()?).unwrap_or(0))
    }

    pub(super) fn small(&mut self) -> Result<u32, StoreError> {
        Ok(u32::try_from(self.take::<i64>()?).unwrap_or(0))
    }

    fn optional_count(&mut self) -> Result<Option<u64>, StoreError> {
        Ok(self.take::<Option<i64>>()?.and_then(|n| u64::try_from(n).ok()))
    }

    fn optional_small(&mut self) -> Result<Option<u32>, StoreError> {
        Ok(self.optional_count()?.and_then(|n| u32::try_from(n).ok()))
    }

    pub(super) fn time(&mut self) -> Result<Timestamp, StoreError> {
        parse_time(&self.take::<String>()?)
    }

    pub(super) fn moments(&mut self) -> Result<Moments, StoreError> {
        let (count, mean, m2) = (self.count()?, self.take::<Option<f64>>()?, self.take::<Option<f64>>()?);
        Ok(Moments { count, mean: mean.unwrap_or_default(), m2: m2.unwrap_or_default() })
    }

    fn quantiles(&mut self) -> Result<Option<Quantiles>, StoreError> {
        let (p50, p95, p99) = (self.take::<Option<f64>>()?, self.take::<Option<f64>>()?, self.take::<Option<f64>>()?);
        Ok(p50.zip(p95).zip(p99).map(|((p50, p95), p99)| Quantiles { p50, p95, p99 }))
    }

    fn failures(&mut self) -> Result<BTreeMap<FailureKind, u32>, StoreError> {
        let Some(text) = self.take::<Option<String>>()? else { return Ok(BTreeMap::new()) };
        let counts: BTreeMap<String, u32> = serde_json::from_str(&text)
            .map_err(|_| StoreError::Value { what: "list of failures", text: text.clone() })?;
        Ok(counts.iter().filter_map(|(name, count)| Some((FailureKind::from_name(name)?, *count))).collect())
    }

    fn token_source(&mut self) -> Result<TokenSource, StoreError> {
        let text: String = self.take()?;
        TokenSource::from_name(&text).ok_or(StoreError::Value { what: "token source", text })
    }

    fn invalid(&mut self) -> Result<Vec<InvalidReason>, StoreError> {
        let _valid: bool = self.take()?;
        self.words("reason", InvalidReason::from_name)
    }

    /// Words that stand separated by commas.
    fn words<T, C: FromIterator<T>>(
        &mut self,
        what: &'static str,
        known: fn(&str) -> Option<T>,
    ) -> Result<C, StoreError> {
        let words: Option<String> = self.take()?;
        let known = |text: &str| known(text).ok_or_else(|| StoreError::Value { what, text: text.to_owned() });
        words.as_deref().unwrap_or_default().split(',').filter(|text| !text.is_empty()).map(known).collect()
    }

    fn conditions(&mut self) -> Result<Conditions, StoreError> {
        Ok(Conditions {
            gpu_temperature_celsius: self.take()?,
            sm_clock_megahertz: self.take()?,
            memory_clock_megahertz: self.take()?,
            gpu_utilization: self.take()?,
            power_watts: self.take()?,
            gpu_memory_used_bytes: self.optional_count()?,
            throttle_reasons: self.words("throttle reason", ThrottleReason::from_name)?,
            energy_joules: self.take()?,
        })
    }
}

pub(super) fn parse_facts(text: &str) -> Result<Facts, StoreError> {
    serde_json::from_str(text).map_err(|_| StoreError::Value { what: "list of facts", text: text.to_owned() })
}

/// Reads the columns id, identity, load, first_seen and last_seen.
pub(super) fn epoch(c: &mut Columns<'_, '_>) -> Result<Epoch, StoreError> {
    // The fields are written in the order of the columns: their initialisers run in it.
    Ok(Epoch {
        id: EpochId(c.take()?),
        identity: parse_facts(&c.take::<String>()?)?,
        load: parse_facts(&c.take::<String>()?)?,
        first_seen: c.time()?,
        last_seen: c.time()?,
    })
}

/// Reads a row of [`select`].
pub(super) fn sample(target: &TargetId, row: &Row<'_>) -> Result<Sample, StoreError> {
    let mut columns = Columns::new(row);
    let c = &mut columns;
    // The fields are written in the order of the columns: their initialisers run in it.
    Ok(Sample {
        target: target.clone(),
        epoch: EpochId(c.take()?),
        cycle: c.count()?,
        cell: Cell { workers: c.small()?, batch: c.small()? },
        started_at: c.time()?,
        completed_at: c.time()?,
        measurement: Measurement {
            total_seconds: c.take()?,
            seconds_per_request: c.take()?,
            tokens_per_second: c.take()?,
            steady_tokens_per_second: c.take()?,
            prompt_tokens_per_second: c.take()?,
            requests: c.small()?,
            failed_requests: c.small()?,
            failures: c.failures()?,
            output_tokens: c.count()?,
            prompt_tokens: c.optional_count()?,
            cached_prompt_tokens: c.optional_count()?,
            token_source: c.token_source()?,
            short_outputs: c.small()?,
            observed_parallelism: c.take()?,
            observed_parallelism_peak: c.optional_small()?,
            reported_slots: c.optional_small()?,
            time_to_first_token: c.quantiles()?,
            inter_token_latency: c.quantiles()?,
            time_per_output_token: c.quantiles()?,
            request_duration: c.quantiles()?,
            worker_wait: c.quantiles()?,
            queue_wait: c.quantiles()?,
            load_seconds: c.take()?,
            gpu_share: c.take()?,
            timer_lag_p99_seconds: c.take()?,
            client_cpu_ratio: c.take()?,
            conditions: c.conditions()?,
        },
        invalid: c.invalid()?,
    })
}
