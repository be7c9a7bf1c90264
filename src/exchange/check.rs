//! Looks through a file before anything of it enters a history: is every entry sound, and do
//! they belong together?

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::{CellAggregate, CycleEntry, Entry, EpochEntry, EpochId, Grid, Measurement, Sample, TargetId};

use super::Malformed;

/// Numbers of cycles are smaller: no soak lives to see so many.
const CYCLES: u64 = 1 << 32;
/// What SQLite and JSON's readers hold exactly.
const LARGEST_COUNT: u64 = (1 << 53) - 1;

/// What a sound file holds.
#[derive(Clone, Debug, Default)]
pub struct Content {
    /// Whose entries they are.
    pub targets: BTreeSet<TargetId>,
    pub samples: u64,
    /// The first and the last sample of each epoch that has any.
    pub ends: BTreeMap<EpochId, [Sample; 2]>,
}

/// Reads all entries and checks them.
pub fn survey(entries: impl Iterator<Item = Result<(u64, Entry), Malformed>>) -> Result<Content, Malformed> {
    let mut survey = Survey::default();
    let mut end = 1;
    for entry in entries {
        let (line, entry) = entry?;
        survey.take(entry).map_err(|what| Malformed { line, what })?;
        end = line;
    }
    if survey.epochs.is_empty() {
        return Err(Malformed::new(end, "the file holds no epoch"));
    }
    Ok(survey.content)
}

#[derive(Default)]
struct Survey {
    content: Content,
    epochs: BTreeMap<EpochId, TargetId>,
    cycles: BTreeSet<(EpochId, u64)>,
}

/// Tells whether something is sound.
fn ensure(is_sound: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if is_sound { Ok(()) } else { Err(what()) }
}

impl Survey {
    fn take(&mut self, entry: Entry) -> Result<(), String> {
        match entry {
            Entry::Epoch(epoch) => self.epoch(&epoch),
            Entry::Cycle(cycle) => self.cycle(&cycle),
            Entry::Sample(sample) => self.sample(*sample),
            Entry::Cell(epoch, cell) => self.known(epoch).and_then(|_| check_cell(&cell)),
            Entry::Event(event) => {
                check_words("kind, detail", [&*event.kind, &*event.detail])?;
                let is_known = self.content.targets.contains(&event.target);
                ensure(is_known, || format!("target {}: no epoch before this line is of it", event.target))
            }
        }
    }

    fn epoch(&mut self, entry: &EpochEntry) -> Result<(), String> {
        let (target, epoch) = (&entry.target, &entry.epoch);
        ensure(!target.name.trim().is_empty(), || "target: must have a name".to_owned())?;
        let is_one_line = |text: &str| !text.contains(char::is_control);
        let is_plain = is_one_line(&target.name) && is_one_line(&target.model);
        ensure(is_plain, || "target, model: must have no control characters".to_owned())?;
        check_words("url", [&*entry.url])?;
        let facts = [&epoch.identity, &epoch.load].into_iter().flatten();
        check_words("identity, load", facts.flat_map(|(name, word)| [name.as_str(), word.as_str()]))?;
        ensure(epoch.first_seen <= epoch.last_seen, || "last_seen is before first_seen".to_owned())?;
        self.content.targets.insert(target.clone());
        let before = self.epochs.insert(epoch.id, target.clone());
        ensure(before.is_none(), || format!("epoch {} is there twice", epoch.id))
    }

    /// Whose epoch that is.
    fn known(&self, epoch: EpochId) -> Result<&TargetId, String> {
        self.epochs.get(&epoch).ok_or_else(|| format!("epoch {epoch}: no line before this one says what it is"))
    }

    fn cycle(&mut self, cycle: &CycleEntry) -> Result<(), String> {
        self.known(cycle.epoch)?;
        ensure(cycle.number < CYCLES, || format!("cycle: must be smaller than {CYCLES}"))?;
        let is_new = self.cycles.insert((cycle.epoch, cycle.number));
        ensure(is_new, || format!("cycle {} of epoch {} is there twice", cycle.number, cycle.epoch))
    }

    fn sample(&mut self, sample: Sample) -> Result<(), String> {
        let owner = self.known(sample.epoch)?;
        ensure(*owner == sample.target, || format!("epoch {} is not of target {}", sample.epoch, sample.target))?;
        ensure(sample.cycle < CYCLES, || format!("cycle: must be smaller than {CYCLES}"))?;
        check_axis("workers", sample.cell.workers)?;
        check_axis("batch", sample.cell.batch)?;
        ensure(sample.started_at <= sample.completed_at, || "completed_at is before started_at".to_owned())?;
        check_measurement(&sample.measurement)?;
        self.content.samples += 1;
        match self.content.ends.get_mut(&sample.epoch) {
            None => drop(self.content.ends.insert(sample.epoch, [sample.clone(), sample])),
            Some([_, last]) if last.completed_at <= sample.completed_at => *last = sample,
            Some([first, _]) if sample.completed_at < first.completed_at => *first = sample,
            Some(_) => {}
        }
        Ok(())
    }
}

/// What ends on a terminal must not command it; lines may end.
fn check_words<'a>(names: &str, words: impl IntoIterator<Item = &'a str>) -> Result<(), String> {
    let is_plain = words.into_iter().all(|word| !word.contains(|c: char| c.is_control() && c != '\n'));
    ensure(is_plain, || format!("{names}: must have no control characters"))
}

fn check_axis(name: &str, number: u32) -> Result<(), String> {
    ensure((1..=Grid::LARGEST).contains(&number), || format!("{name}: must be from 1 to {}", Grid::LARGEST))
}

fn check_cell(cell: &CellAggregate) -> Result<(), String> {
    check_axis("workers", cell.cell.workers)?;
    check_axis("batch", cell.cell.batch)?;
    let numbers = [
        Some(cell.total_seconds),
        cell.lowest_tokens_per_second,
        cell.highest_tokens_per_second,
        Some(cell.log_rate.m2),
        Some(cell.log_time_to_first_token.m2),
        Some(cell.log_inter_token_latency.m2),
    ];
    check_numbers(numbers.into_iter().flatten())?;
    let counts = [
        cell.attempts,
        cell.valid_samples,
        cell.requests,
        cell.failed_requests,
        cell.output_tokens,
        cell.log_rate.count,
        cell.log_time_to_first_token.count,
        cell.log_inter_token_latency.count,
    ];
    check_counts(counts)?;
    ensure(cell.valid_samples <= cell.attempts, || "valid_samples: more than attempts".to_owned())
}

fn check_measurement(m: &Measurement) -> Result<(), String> {
    let c = &m.conditions;
    let latencies = [
        m.time_to_first_token,
        m.inter_token_latency,
        m.time_per_output_token,
        m.request_duration,
        m.worker_wait,
        m.queue_wait,
    ];
    let always = [m.total_seconds, m.seconds_per_request, m.tokens_per_second, m.client_cpu_ratio];
    let sometimes = [
        m.steady_tokens_per_second,
        m.prompt_tokens_per_second,
        m.observed_parallelism,
        m.gpu_share,
        m.load_seconds,
        m.timer_lag_p99_seconds,
        c.sm_clock_megahertz,
        c.memory_clock_megahertz,
        c.gpu_utilization,
        c.power_watts,
        c.energy_joules,
        // Below zero nothing computes, but what is told may be so.
        c.gpu_temperature_celsius.map(f64::abs),
    ];
    let quantiles = latencies.into_iter().flatten().flat_map(|q| [q.p50, q.p95, q.p99]);
    check_numbers(always.into_iter().chain(sometimes.into_iter().flatten()).chain(quantiles))?;
    let counts = [Some(m.output_tokens), m.prompt_tokens, m.cached_prompt_tokens, c.gpu_memory_used_bytes];
    check_counts(counts.into_iter().flatten())?;
    ensure(m.failed_requests <= m.requests, || "failed_requests: more than requests".to_owned())
}

fn check_numbers(numbers: impl IntoIterator<Item = f64>) -> Result<(), String> {
    let wrong = numbers.into_iter().find(|number| !(number.is_finite() && *number >= 0.0));
    wrong.map_or(Ok(()), |number| Err(format!("{number}: must be a finite number and not negative")))
}

fn check_counts(counts: impl IntoIterator<Item = u64>) -> Result<(), String> {
    let wrong = counts.into_iter().find(|count| *count > LARGEST_COUNT);
    wrong.map_or(Ok(()), |count| Err(format!("{count}: must be at most {LARGEST_COUNT}")))
}
