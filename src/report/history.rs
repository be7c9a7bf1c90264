//! A report's input, read from the history.

use jiff::Timestamp;

use super::ReportInput;
use super::change::{EarlierEpoch, LatencyChange, Past};
use super::figures::Figures;
use crate::analysis::regression::Alarms;
use crate::domain::{Cell, EstimatePlan, Grid, LatencyMeasure, ToldChange};
use crate::soak::watch::recall;
use crate::store::{EpochSummary, Reader, StoreError};

/// The newest earlier epochs that a report shows.
const EPOCHS: usize = 12;
/// The newest samples whose latencies are drawn.
const LATENCY_SAMPLES: u32 = 20;
/// The latencies that are drawn: of each line the first that is known on both sides. Servers that
/// do not say how many tokens a chunk holds have no ITL.
const LATENCIES: [&[LatencyMeasure]; 2] =
    [&[LatencyMeasure::TimeToFirstToken], &[LatencyMeasure::InterTokenLatency, LatencyMeasure::TimePerOutputToken]];

impl ReportInput {
    /// The newest epoch of a target, of any model where none is named. One that was never
    /// measured here may have been imported; `None` where it was not either.
    pub fn from_history(
        history: &Reader,
        name: &str,
        model: Option<&str>,
        estimates: EstimatePlan,
        generated_at: Timestamp,
    ) -> Result<Option<Self>, StoreError> {
        let summary = match history.newest_epoch(name, model)? {
            Some(measured) => Some(measured),
            None => history.newest_import(name, model)?,
        };
        summary.map(|summary| Self::of_epoch(history, summary, estimates, generated_at)).transpose()
    }

    /// Any epoch.
    pub fn of_epoch(
        history: &Reader,
        summary: EpochSummary,
        estimates: EstimatePlan,
        generated_at: Timestamp,
    ) -> Result<Self, StoreError> {
        let samples = history.samples(&summary.target, summary.epoch.id)?;
        let slots = summary.epoch.slots();
        let mut input = Self {
            // An epoch without a cycle has no grid yet.
            grid: summary.grid.unwrap_or_else(|| Grid::automatic(slots, true)),
            target: summary.target,
            url: summary.url,
            epoch: summary.epoch,
            named: summary.named,
            estimates,
            samples,
            complete_cycles: summary.complete_cycles,
            past: Past::default(),
            seed: summary.seed,
            generated_at,
            version: env!("CARGO_PKG_VERSION"),
        };
        input.past = past(history, &input)?;
        if let Some(cell) = Figures::of(&input).best().map(|(cell, _)| input.grid.canonical(cell)) {
            input.past.latencies = latencies(history, &input, cell)?;
        }
        Ok(input)
    }
}

/// What was measured before under the same load.
fn past(history: &Reader, input: &ReportInput) -> Result<Past, StoreError> {
    let (target, epoch) = (&input.target, &input.epoch);
    if epoch.source().is_some() {
        return Ok(Past::default());
    }
    let (changes, orders) = (history.changes(target)?, history.baseline_orders(target)?);
    let held = recall::held(history, target, epoch, &Alarms::restored(&changes, &orders), &orders, &input.estimates)?;
    let current = recall::cycle_views(history, epoch)?;
    let mut earlier = history.epochs(target)?;
    earlier.retain(|known| known.epoch.id < epoch.id && known.epoch.load == epoch.load);
    let surplus = earlier.len().saturating_sub(EPOCHS);
    let mut epochs = Vec::new();
    for known in earlier.into_iter().skip(surplus) {
        epochs.push(EarlierEpoch { cycles: recall::cycle_views(history, &known.epoch)?, epoch: known.epoch });
    }
    let from = epochs.first().map_or(epoch.first_seen, |earliest| earliest.epoch.first_seen);
    let is_shown = |change: &ToldChange| change.event.changed.at >= from && change.event.changed.at <= epoch.last_seen;
    Ok(Past {
        epochs,
        compared: held.as_ref().and_then(|held| held.compare(epoch, &current)),
        baseline: held.map(|held| held.baseline),
        changes: changes.into_iter().filter(is_shown).collect(),
        latencies: Vec::new(),
    })
}

/// The latencies of a cell in the baseline and in this epoch.
fn latencies(history: &Reader, input: &ReportInput, cell: Cell) -> Result<Vec<LatencyChange>, StoreError> {
    let Some(compared) = &input.past.compared else { return Ok(Vec::new()) };
    let mut changes = Vec::new();
    for measures in LATENCIES {
        for &measure in measures {
            let of = |epoch| history.distribution(epoch, cell, measure, LATENCY_SAMPLES);
            if let Some((before, since)) = of(compared.baseline)?.zip(of(input.epoch.id)?) {
                changes.push(LatencyChange { cell, measure, before, since });
                break;
            }
        }
    }
    Ok(changes)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::domain::plan::Language;
    use crate::domain::{Event, Happening, Latencies, Sample};
    use crate::report::fixture::{after_a_change, measured};
    use crate::report::render;
    use crate::store::{CycleStart, Sighting, Writer};

    /// Writes what an input holds as the program does: its epoch, cycles and samples.
    async fn record(writer: &Writer, input: &ReportInput, version: &str, days_later: i64) {
        let later = jiff::SignedDuration::from_hours(24 * days_later);
        let mut identity = input.epoch.identity.clone();
        identity.insert("server_version".to_owned(), version.to_owned());
        let sighting = Sighting {
            target: input.target.clone(),
            url: input.url.clone(),
            identity,
            load: input.epoch.load.clone(),
            at: input.epoch.first_seen + later,
            running: None,
        };
        let epoch = writer.enter_epoch(sighting).await.expect("an epoch").epoch.id;
        let cycles = input.samples.chunk_by(|one, other| one.cycle == other.cycle);
        for samples in cycles {
            let Some((first, last)) = samples.first().zip(samples.last()) else { continue };
            let number = first.cycle + 100 * days_later.unsigned_abs();
            let (target, grid, at) = (input.target.clone(), Arc::new(input.grid.clone()), first.started_at + later);
            writer.start_cycle(CycleStart { target: target.clone(), epoch, number, grid, seed: 42, at }).await;
            for sample in samples {
                let sample = Sample {
                    epoch,
                    cycle: number,
                    started_at: sample.started_at + later,
                    completed_at: sample.completed_at + later,
                    ..sample.clone()
                };
                let step = sample.measurement.inter_token_latency.expect("was measured").p50;
                let seconds: Vec<f64> = (0..40).map(|n| step * (1.0 + 0.01 * f64::from(n))).collect();
                let latencies = Latencies {
                    time_to_first_token: seconds.clone(),
                    inter_token_latency: seconds,
                    ..Latencies::default()
                };
                let at = sample.completed_at;
                let happening = Happening::SampleEnded { sample: Arc::new(sample), latencies: Arc::new(latencies) };
                writer.record(Arc::new(Event { target: target.clone(), at, happening })).await;
            }
            let happening = Happening::CycleEnded { cycle: number, seconds: 60.0 };
            writer.record(Arc::new(Event { target, at: last.completed_at + later, happening })).await;
        }
    }

    fn read(folder: &Path) -> ReportInput {
        let now = "2026-12-24T17:01:02Z".parse().expect("is a time");
        let history = Reader::open(folder).expect("a history");
        ReportInput::from_history(&history, "workstation", None, EstimatePlan::default(), now)
            .expect("can be read")
            .expect("was measured")
    }

    #[tokio::test(start_paused = true)]
    async fn the_epoch_before_is_read_and_one_history_gives_one_report() {
        let folder = tempfile::tempdir().expect("a folder");
        let grid = Grid::new(&[1, 2, 4], &[1, 2, 8], true).expect("is sound");
        let (writer, task) = Writer::open_as_task(folder.path()).expect("a history");
        record(&writer, &measured(grid.clone(), 4), "1", 0).await;
        record(&writer, &measured(grid.clone(), 2), "2", 1).await;
        record(&writer, &after_a_change(grid, 5, 1.1), "3", 2).await;
        drop(writer);
        task.await.expect("the writer ends");

        let input = read(folder.path());
        let epochs: Vec<(&str, usize)> =
            input.past.epochs.iter().map(|past| (&*past.epoch.identity["server_version"], past.cycles.len())).collect();
        assert_eq!(epochs, [("1", 4), ("2", 2)]);
        let baseline = input.past.baseline.as_ref().expect("there is one");
        assert_eq!(baseline.epoch.id, input.past.epochs[0].epoch.id, "the second has too few cycles");
        let [first_token, _] = &input.past.latencies[..] else { panic!("{:?}", input.past.latencies) };
        assert_eq!((first_token.before.total(), first_token.since.total()), (160, 200));

        let report = render(&input, Language::English).expect("can be rendered");
        assert!(report.markdown.contains("`server_version: 1 → 3`"), "{}", report.markdown);
        assert_eq!(report, render(&read(folder.path()), Language::English).expect("can be rendered"));
    }
}
