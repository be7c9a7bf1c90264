//! From the samples of an epoch to all that is concluded from them: the one way there is.
//!
//! The board, the report and the scheduler ask here, so that they say the same.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::chooser::reference_of;
use super::drift::{Drift, ReferencePoint};
use super::estimate::RateEstimates;
use super::optimum::{CellService, Contest, Optimum, optimum};
use super::quantile::median;
use super::slots::{self, RowSlots, SlotEvidence, SlotsVerdict};
use super::step::{self, StepFit, StepPoint};
use crate::domain::{Cell, EstimatePlan, Grid, NamedCells, Sample};

/// What is asked, beside the samples.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    pub grid: &'a Grid,
    /// Whether the workers of a row are the server's own slots.
    pub is_server_mode: bool,
    /// The server's own slots, where it tells them and they are the same for all rows.
    pub slots: Option<u32>,
    pub plan: &'a EstimatePlan,
    /// The optimum that was named before.
    pub published: Option<&'a NamedCells>,
}

/// What the machine did while cells were measured, as the reference cell shows it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MachineDrift {
    /// The reference cell's rate about which it drifts, tokens per second.
    pub tokens_per_second: f64,
    /// Relative standard deviation of the drift.
    pub scale: f64,
}

/// What the samples of an epoch say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conclusions {
    pub rates: RateEstimates,
    /// By canonical cell.
    pub services: BTreeMap<Cell, CellService>,
    /// By workers.
    pub rows: Vec<RowSlots>,
    pub step: Option<StepFit>,
    /// What `step` is fitted to.
    pub step_points: Vec<StepPoint>,
    /// The cell that is measured several times a cycle.
    pub reference: Option<Cell>,
    /// Taken off the rates before anything was estimated; `None` where none shows.
    pub drift: Option<MachineDrift>,
    pub optimum: Option<Optimum>,
}

impl Conclusions {
    /// Concludes from the samples of an epoch, in whatever order they come. Those that are not
    /// valid, not of the grid or outside the window say nothing.
    pub fn of<'s>(question: &Question<'_>, samples: impl IntoIterator<Item = &'s Sample>) -> Self {
        let cells = usable(question, samples);
        let evidence: Vec<SlotEvidence> = cells.values().flatten().map(|sample| SlotEvidence::of(sample)).collect();
        let rows = slots::rows(question.grid, question.is_server_mode, &evidence);
        let services: BTreeMap<Cell, CellService> =
            cells.iter().map(|(&cell, samples)| (cell, service(samples))).collect();
        let reference = reference_of(question.plan.reference, question.grid, question.slots);
        let (rates, drift) = rates(reference, &cells);
        let warned_rows: BTreeSet<u32> =
            rows.iter().filter(|row| row.verdict.is_warned()).map(|row| row.requested).collect();
        let optimum = optimum(&Contest {
            grid: question.grid,
            rates: &rates,
            services: &services,
            service_level: question.plan.service_level,
            warned_rows: &warned_rows,
            published: question.published,
        });
        let step_points = step_points(question.grid, &rates, &services, &rows);
        let step = step::fit(&step_points);
        Self { rates, services, rows, step, step_points, reference, drift, optimum }
    }

    /// Worker counts whose rows answer no question: they queue, or did not get their slots.
    pub fn skipped_rows(&self) -> BTreeSet<u32> {
        let is_skipped = |row: &&RowSlots| row.verdict.is_warned() || row.verdict == SlotsVerdict::Queueing;
        self.rows.iter().filter(is_skipped).map(|row| row.requested).collect()
    }
}

type Cells<'s> = BTreeMap<Cell, Vec<&'s Sample>>;

fn usable<'s>(question: &Question<'_>, samples: impl IntoIterator<Item = &'s Sample>) -> Cells<'s> {
    let mut cells = Cells::new();
    for sample in samples.into_iter().filter(|s| s.is_valid() && question.grid.contains(s.cell)) {
        cells.entry(question.grid.canonical(sample.cell)).or_default().push(sample);
    }
    let newest = cells.values().flatten().map(|sample| sample.completed_at).max();
    let oldest = newest.and_then(|newest| newest.checked_sub(question.plan.window.age).ok()).unwrap_or(Timestamp::MIN);
    for samples in cells.values_mut() {
        samples.sort_by_key(|sample| (sample.completed_at, sample.cycle));
        samples.retain(|sample| sample.completed_at >= oldest);
        let surplus = samples.len().saturating_sub(question.plan.window.samples);
        samples.drain(..surplus);
    }
    cells.retain(|_, samples| !samples.is_empty());
    cells
}

fn service(samples: &[&Sample]) -> CellService {
    let middle = |of: &dyn Fn(&Sample) -> Option<f64>| {
        median(&samples.iter().filter_map(|sample| of(sample)).collect::<Vec<_>>())
    };
    CellService {
        steady_tokens_per_second: middle(&|sample| sample.measurement.steady_tokens_per_second),
        time_to_first_token_p95: middle(&|sample| Some(sample.measurement.time_to_first_token?.p95)),
        inter_token_latency_p95: middle(&|sample| Some(sample.measurement.inter_token_latency?.p95)),
    }
}

/// The estimates, and the drift that was taken off before.
///
/// What the reference cell shows may be its own: it is the machine's where taking it off
/// makes the other cells scatter less.
fn rates(reference: Option<Cell>, cells: &Cells<'_>) -> (RateEstimates, Option<MachineDrift>) {
    let plain = RateEstimates::of(&rates_of(cells, |sample| sample.measurement.tokens_per_second));
    let Some(reference) = reference else { return (plain, None) };
    let seconds = |sample: &Sample| sample.started_at.as_second() as f64;
    let points: Vec<ReferencePoint> = cells
        .get(&reference)
        .into_iter()
        .flatten()
        .map(|sample| ReferencePoint {
            at_seconds: seconds(sample),
            tokens_per_second: sample.measurement.tokens_per_second,
        })
        .collect();
    let Some(drift) = Drift::of(&points) else { return (plain, None) };
    let mut corrected = rates_of(cells, |s| drift.corrected(seconds(s), s.measurement.tokens_per_second));
    let mut others = corrected.clone();
    others.remove(&reference);
    let mut before = rates_of(cells, |sample| sample.measurement.tokens_per_second);
    let own = before.remove(&reference);
    if RateEstimates::of(&others).noise >= RateEstimates::of(&before).noise {
        return (plain, None);
    }
    // The reference cell gave the drift: less of it is left there than there was.
    corrected.extend(own.map(|own| (reference, own)));
    let seen = MachineDrift { tokens_per_second: drift.level(), scale: drift.scale() };
    (RateEstimates::of(&corrected), Some(seen))
}

fn rates_of(cells: &Cells<'_>, rate: impl Fn(&Sample) -> f64) -> BTreeMap<Cell, Vec<f64>> {
    cells.iter().map(|(&cell, samples)| (cell, samples.iter().map(|sample| rate(sample)).collect())).collect()
}

/// What each cell says of the server's step: the steady rate, where there is one, of as many
/// streams as the row was seen to have; else the whole batch through that many slots.
fn step_points(
    grid: &Grid,
    rates: &RateEstimates,
    services: &BTreeMap<Cell, CellService>,
    rows: &[RowSlots],
) -> Vec<StepPoint> {
    let slots_of = |workers: u32| {
        let row = rows.iter().find(|row| row.requested == workers)?;
        let slots = (row.verdict != SlotsVerdict::OutOfLine).then_some(row.effective?.slots)?;
        Some(slots.max(1.0))
    };
    let point = |cell: Cell| {
        let (slots, batch) = (slots_of(cell.workers)?, f64::from(cell.batch));
        let steady = services.get(&cell).and_then(|service| service.steady_tokens_per_second);
        Some(match steady {
            Some(rate) => {
                let streams = slots.min(batch);
                StepPoint { cell, waves: 1.0, streams, seconds: streams / rate }
            }
            None => StepPoint {
                cell,
                waves: (batch / slots).ceil(),
                streams: batch,
                seconds: batch / rates.get(cell)?.median,
            },
        })
    };
    grid.measured().into_iter().filter_map(point).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::analysis::interval::{Interval, normal_quantile};
    use crate::analysis::measure::tests::stream;
    use crate::analysis::measure::{Circumstances, measure};
    use crate::analysis::slots::{EffectiveSlots, Witness};
    use crate::domain::{EpochId, InvalidReason, ReferenceCell, SampleWindow, ServiceLevel, TargetId};

    /// A batch through that many slots, a token every 20 ms + 2 ms a stream, at a speed.
    fn sample(cell: Cell, slots: u64, number: i64, speed: f64) -> Sample {
        let at_once = u64::from(cell.concurrency()).min(slots);
        let step = 20 + 2 * at_once;
        let records: Vec<_> = (0..u64::from(cell.batch))
            .map(|request| {
                let start = request / at_once * 50 * step + step;
                let tokens: Vec<u64> = (0..50).map(|n| start + n * step).collect();
                stream(0, &tokens, start + 49 * step)
            })
            .collect();
        let circumstances =
            Circumstances { cell, slots: None, timer_lag_p99: None, client_cpu_ratio: 0.0, gpu_share: None };
        let (mut measurement, _) = measure(&records, circumstances).expect("has records");
        measurement.tokens_per_second *= speed;
        measurement.steady_tokens_per_second = measurement.steady_tokens_per_second.map(|rate| rate * speed);
        let started_at = Timestamp::from_second(1_000_000 + 60 * number).expect("in range");
        Sample {
            target: TargetId { name: Arc::from("here"), model: Arc::from("tiny") },
            epoch: EpochId(1),
            cycle: 1,
            cell,
            started_at,
            completed_at: started_at,
            measurement,
            invalid: Vec::new(),
        }
    }

    #[test]
    fn a_sample_shows_how_long_a_token_of_each_answer_took_unless_it_has_none() {
        let mut sample = sample(Cell::new(4, 8), 4, 0, 1.0);
        sample.measurement.tokens_per_second = 64.0;
        assert_eq!(SlotEvidence::of(&sample).seconds_per_step, Some(0.125));
        sample.measurement.tokens_per_second = 0.0;
        assert_eq!(SlotEvidence::of(&sample).seconds_per_step, None);
    }

    const PLAIN: EstimatePlan = EstimatePlan {
        window: SampleWindow { samples: 50, age: Duration::from_secs(7 * 86_400) },
        service_level: ServiceLevel {
            time_to_first_token_p95: Some(Duration::from_secs(2)),
            inter_token_latency_p95: Some(Duration::from_millis(100)),
        },
        reference: ReferenceCell::Off,
    };

    fn question(grid: &Grid) -> Question<'_> {
        Question { grid, is_server_mode: false, slots: None, plan: &PLAIN, published: None }
    }

    fn grid() -> Grid {
        Grid::new(&[1, 2, 4, 8], &[1, 2, 4, 8, 16, 32], true).expect("sound")
    }

    /// Three cycles of a server with four slots.
    fn samples(grid: &Grid) -> Vec<Sample> {
        let cells = grid.measured().into_iter().cycle().take(3 * grid.measured().len());
        cells.zip(0..).map(|(cell, n)| sample(cell, 4, n, 1.0 + 0.01 * ((n * 7 % 5) as f64 - 2.0))).collect()
    }

    #[test]
    fn a_server_of_four_slots_is_known_by_its_samples() {
        let grid = grid();
        let conclusions = Conclusions::of(&question(&grid), &samples(&grid));
        let verdicts: Vec<SlotsVerdict> = conclusions.rows.iter().map(|row| row.verdict).collect();
        let [granted, queueing] = [SlotsVerdict::Granted, SlotsVerdict::Queueing];
        assert_eq!(verdicts, [granted, granted, granted, queueing]);
        assert_eq!(conclusions.skipped_rows(), [8].into());
        let step = conclusions.step.expect("enough cells");
        assert!((step.fixed_seconds.value - 0.020).abs() < 0.002, "{step:?}");
        assert!((step.per_stream_seconds.value - 0.002).abs() < 0.000_5, "{step:?}");
        let optimum = conclusions.optimum.expect("was measured");
        assert_eq!(optimum.frugal.cell.workers, 4);
        assert_eq!(optimum.slo.map(|best| best.cell), Some(Cell::new(4, 4)), "larger batches wait for a slot");
    }

    #[test]
    fn only_valid_samples_of_the_window_count() {
        let grid = grid();
        let mut samples = samples(&grid);
        let cell = Cell::new(1, 1);
        let count = |question: &Question<'_>, samples: &[Sample]| {
            Conclusions::of(question, samples).rates.get(cell).map_or(0, |rate| rate.samples)
        };
        assert_eq!(count(&question(&grid), &samples), 3);
        let within = |window| EstimatePlan { window, ..PLAIN };
        let two = within(SampleWindow { samples: 2, ..PLAIN.window });
        assert_eq!(count(&Question { plan: &two, ..question(&grid) }, &samples), 2);
        let short = within(SampleWindow { age: Duration::from_secs(60 * 45), ..PLAIN.window });
        assert_eq!(count(&Question { plan: &short, ..question(&grid) }, &samples), 2);
        samples[0].invalid.push(InvalidReason::ModelLoad);
        assert_eq!(count(&question(&grid), &samples), 2);
    }

    #[test]
    fn drift_of_the_machine_is_taken_off_and_told() {
        let grid = grid();
        let reference = Cell::new(2, 2);
        let noise = |n: i64| 0.01 * normal_quantile(((n * n * 37 % 101) as f64 + 0.5) / 101.0);
        let falling = |n: i64| 1.1 - 0.2 * n as f64 / 120.0 + noise(n);
        let others: Vec<Cell> = grid.measured().into_iter().filter(|cell| *cell != reference).collect();
        // Every third sample is of the reference cell.
        let cell = |n: i64| {
            if n % 3 == 0 { reference } else { others[usize::try_from(n).expect("not negative") % others.len()] }
        };
        let samples: Vec<Sample> = (0..120).map(|n| sample(cell(n), 4, n, falling(n))).collect();
        let plain = Conclusions::of(&question(&grid), &samples);
        let looking = EstimatePlan { reference: ReferenceCell::Of(reference), ..PLAIN };
        let seen = Conclusions::of(&Question { plan: &looking, ..question(&grid) }, &samples);
        assert!(seen.drift.is_some_and(|drift| drift.scale > 0.01), "{:?}", seen.drift);
        assert!(seen.rates.noise < 0.5 * plain.rates.noise, "{} of {}", seen.rates.noise, plain.rates.noise);
    }

    #[test]
    fn nothing_concludes_nothing() {
        let grid = grid();
        let conclusions = Conclusions::of(&question(&grid), []);
        assert_eq!((conclusions.optimum, conclusions.step), (None, None));
        assert!(conclusions.rows.iter().all(|row| row.verdict == SlotsVerdict::Unknown));
    }

    #[test]
    fn a_cell_tells_of_the_step_by_its_steady_rate_or_by_its_waves() {
        let (grid, cell) = (Grid::new(&[3], &[4], true).expect("sound"), Cell::new(3, 4));
        let rates = RateEstimates::of(&BTreeMap::from([(cell, vec![100.0; 3])]));
        let slots =
            EffectiveSlots { slots: 3.0, interval: Interval::around(3.0, 0.5), witness: Witness::Streams, samples: 3 };
        let row = |verdict, effective| RowSlots { requested: 3, reported: None, effective, verdict };
        let points = |steady, row| {
            let service = CellService { steady_tokens_per_second: steady, ..CellService::default() };
            step_points(&grid, &rates, &[(cell, service)].into(), &[row])
        };
        let granted = row(SlotsVerdict::Granted, Some(slots));
        let point = |waves, streams, seconds| vec![StepPoint { cell, waves, streams, seconds }];
        let [whole] = points(None, granted)[..] else { panic!("one cell") };
        assert_eq!((whole.waves, whole.streams), (2.0, 4.0));
        assert!((whole.seconds - 0.04).abs() < 1e-12, "{whole:?}");
        assert_eq!(points(Some(50.0), granted), point(1.0, 3.0, 0.06));
        assert_eq!(points(None, row(SlotsVerdict::OutOfLine, Some(slots))), []);
        assert_eq!(points(None, row(SlotsVerdict::Unknown, None)), []);
    }
}
