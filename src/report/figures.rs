//! From the samples of an epoch to the figures that the report shows of each cell.

use std::collections::BTreeMap;

use super::ReportInput;
use super::change::{Stretch, trend};
use super::number::{as_printed, figure};
use crate::analysis::conclusions::{Conclusions, Question};
use crate::analysis::interval::Interval;
use crate::analysis::optimum::Optimum;
use crate::analysis::quantile::{median, quantile, sorted};
use crate::analysis::slots::RowSlots;
use crate::domain::{Cell, Measurement, Quantiles, Sample, SlotsMode};

/// The repeats of one figure: five numbers and how many they stand for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    pub(super) lowest: f64,
    pub(super) lower_quartile: f64,
    pub(super) median: f64,
    pub(super) upper_quartile: f64,
    pub(super) highest: f64,
    pub(super) samples: usize,
}

impl Spread {
    /// `None` where there is no finite value.
    fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let finite: Vec<f64> = values.filter(|value| value.is_finite()).collect();
        let sorted = sorted(&finite);
        Some(Self {
            lowest: *sorted.first()?,
            lower_quartile: quantile(&sorted, 0.25)?,
            median: quantile(&sorted, 0.5)?,
            upper_quartile: quantile(&sorted, 0.75)?,
            highest: *sorted.last()?,
            samples: sorted.len(),
        })
    }

    /// (upper quartile − lower quartile) / median, of two repeats or more.
    pub(super) fn relative_width(&self) -> Option<f64> {
        (self.samples > 1 && self.median > 0.0).then(|| (self.upper_quartile - self.lower_quartile) / self.median)
    }
}

/// What the valid samples of one measured cell say: medians over the samples.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct CellFigures {
    pub(super) total_seconds: Spread,
    pub(super) seconds_per_request: Spread,
    pub(super) tokens_per_second: Spread,
    pub(super) output_tokens: Spread,
    pub(super) steady_tokens_per_second: Option<f64>,
    pub(super) time_to_first_token: Option<Quantiles>,
    pub(super) inter_token_latency: Option<Quantiles>,
    /// The median over the samples of each one's median.
    pub(super) queue_wait_seconds: Option<f64>,
    pub(super) observed_parallelism: Option<f64>,
    pub(super) observed_parallelism_peak: Option<f64>,
}

impl CellFigures {
    /// `None` while there is no usable sample.
    fn of(measurements: &[&Measurement]) -> Option<Self> {
        let spread = |of: fn(&Measurement) -> f64| Spread::of(measurements.iter().map(|m| of(m)));
        let middle = |of: fn(&Measurement) -> Option<f64>| {
            median(&measurements.iter().filter_map(|m| of(m)).filter(|value| value.is_finite()).collect::<Vec<_>>())
        };
        Some(Self {
            total_seconds: spread(|m| m.total_seconds)?,
            seconds_per_request: spread(|m| m.seconds_per_request)?,
            tokens_per_second: spread(|m| m.tokens_per_second)?,
            output_tokens: spread(|m| m.output_tokens as f64)?,
            steady_tokens_per_second: middle(|m| m.steady_tokens_per_second),
            time_to_first_token: middle_quantiles(measurements, |m| m.time_to_first_token),
            inter_token_latency: middle_quantiles(measurements, |m| m.inter_token_latency),
            queue_wait_seconds: middle(|m| m.queue_wait.map(|wait| wait.p50)),
            observed_parallelism: middle(|m| m.observed_parallelism),
            observed_parallelism_peak: middle(|m| m.observed_parallelism_peak.map(f64::from)),
        })
    }
}

/// The median over the samples of each quantile.
fn middle_quantiles(measurements: &[&Measurement], of: fn(&Measurement) -> Option<Quantiles>) -> Option<Quantiles> {
    let all: Vec<Quantiles> = measurements.iter().filter_map(|m| of(m)).collect();
    let middle = |of: fn(&Quantiles) -> f64| median(&all.iter().map(of).collect::<Vec<_>>());
    Some(Quantiles { p50: middle(|q| q.p50)?, p95: middle(|q| q.p95)?, p99: middle(|q| q.p99)? })
}

/// What is known of a cell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Known<'a> {
    Measured(&'a CellFigures),
    /// Only rejected samples, this many.
    Rejected(usize),
    Unmeasured,
}

/// The input with its figures.
#[derive(Debug)]
pub(super) struct Figures<'a> {
    pub(super) input: &'a ReportInput,
    pub(super) conclusions: Conclusions,
    /// By canonical cell.
    cells: BTreeMap<Cell, CellFigures>,
    /// Rejected samples by canonical cell.
    rejected: BTreeMap<Cell, usize>,
}

impl<'a> Figures<'a> {
    pub(super) fn of(input: &'a ReportInput) -> Self {
        let mut valid: BTreeMap<Cell, Vec<&Measurement>> = BTreeMap::new();
        let mut rejected: BTreeMap<Cell, usize> = BTreeMap::new();
        // A grid may change within an epoch: samples of cells that it lost are not shown.
        for sample in input.samples.iter().filter(|sample| input.grid.contains(sample.cell)) {
            let cell = input.grid.canonical(sample.cell);
            if sample.is_valid() {
                valid.entry(cell).or_default().push(&sample.measurement);
            } else {
                *rejected.entry(cell).or_default() += 1;
            }
        }
        let cells: BTreeMap<Cell, CellFigures> =
            valid.into_iter().filter_map(|(cell, samples)| Some((cell, CellFigures::of(&samples)?))).collect();
        let question = Question {
            grid: &input.grid,
            is_server_mode: input.epoch.slots_mode() == SlotsMode::Server,
            slots: input.epoch.slots(),
            plan: &input.estimates,
            published: input.named.as_ref(),
        };
        let conclusions = Conclusions::of(&question, &input.samples);
        Self { input, conclusions, cells, rejected }
    }

    pub(super) fn optimum(&self) -> Option<&Optimum> {
        self.conclusions.optimum.as_ref()
    }

    /// The 95 % interval of the token rate of a cell or of the one that it is a copy of.
    pub(super) fn interval(&self, cell: Cell) -> Option<Interval> {
        self.conclusions.rates.get(self.input.grid.canonical(cell)).map(|rate| rate.interval)
    }

    /// What is known of any cell of the grid, copies of measured cells among them.
    pub(super) fn at(&self, cell: Cell) -> Known<'_> {
        let canonical = self.input.grid.canonical(cell);
        match (self.cells.get(&canonical), self.rejected_at(canonical)) {
            (Some(figures), _) => Known::Measured(figures),
            (None, 0) => Known::Unmeasured,
            (None, rejected) => Known::Rejected(rejected),
        }
    }

    pub(super) fn measured_at(&self, cell: Cell) -> Option<&CellFigures> {
        self.cells.get(&self.input.grid.canonical(cell))
    }

    /// The measured cells with their figures, by workers and then by batch.
    pub(super) fn measured(&self) -> impl Iterator<Item = (Cell, &CellFigures)> {
        self.cells.iter().map(|(&cell, figures)| (cell, figures))
    }

    pub(super) fn rejected_at(&self, canonical: Cell) -> usize {
        self.rejected.get(&canonical).copied().unwrap_or(0)
    }

    /// The best batch of a row with its rate.
    pub(super) fn best_of_row(&self, workers: u32) -> Option<(Cell, &CellFigures)> {
        if self.input.epoch.is_of_printed_figures() {
            return self.highest(|cell| cell.workers == workers);
        }
        let best = self.optimum()?.rows.iter().find(|best| best.cell.workers == workers)?;
        Some((best.cell, self.measured_at(best.cell)?))
    }

    /// The best cell of all with its figures.
    pub(super) fn best(&self) -> Option<(Cell, &CellFigures)> {
        if self.input.epoch.is_of_printed_figures() {
            return self.highest(|_| true);
        }
        let cell = self.optimum()?.throughput.cell;
        Some((cell, self.measured_at(cell)?))
    }

    /// The cell with the highest rate, the smallest of equal ones: what an old report crowned, it
    /// crowned for that, and keeps.
    fn highest(&self, is_of: impl Fn(Cell) -> bool) -> Option<(Cell, &CellFigures)> {
        let rate = |figures: &CellFigures| figures.tokens_per_second.median;
        let cells = self.measured().filter(|(cell, _)| is_of(*cell));
        cells.reduce(|best, next| if rate(next.1) > rate(best.1) { next } else { best })
    }

    /// The cells that may be as good as the best, itself among them.
    pub(super) fn tied(&self) -> &[Cell] {
        self.optimum().map_or(&[], |optimum| &optimum.throughput.tied)
    }

    /// How the best cell fared over time, where it was measured more than once.
    pub(super) fn trend(&self) -> Option<(Cell, Vec<Stretch<'_>>)> {
        let best = self.input.grid.canonical(self.best()?.0);
        let stretches = trend(self.input, best);
        (stretches.iter().map(|stretch| stretch.points.len()).sum::<usize>() > 1).then_some((best, stretches))
    }

    /// Whether any cell was measured more than once, so that there is a spread to show.
    pub(super) fn has_repeats(&self) -> bool {
        self.cells.values().any(|figures| figures.tokens_per_second.samples > 1)
    }

    pub(super) fn has_copies(&self) -> bool {
        self.input.grid.cells().any(|cell| self.input.grid.is_copy(cell))
    }

    /// A rate or a number of seconds as text: as exact as repeats make it, or as it was printed in
    /// the report that it was imported from.
    pub(super) fn shown(&self, value: f64) -> String {
        if self.input.epoch.is_of_printed_figures() { as_printed(value) } else { figure(value) }
    }

    /// The slots of a row.
    pub(super) fn row(&self, workers: u32) -> Option<&RowSlots> {
        self.conclusions.rows.iter().find(|row| row.requested == workers)
    }

    /// The rows that do not measure what their heading says.
    pub(super) fn warned_rows(&self) -> impl Iterator<Item = &RowSlots> {
        self.conclusions.rows.iter().filter(|row| row.verdict.is_warned())
    }

    /// The requests that the server works on at once, where it told.
    pub(super) fn slots(&self) -> Option<u32> {
        self.input.epoch.slots()
    }

    pub(super) fn valid_samples(&self) -> usize {
        self.input.samples.iter().filter(|sample| sample.is_valid()).count()
    }

    /// How many valid samples are of a model that was not wholly on the GPU, and the least share
    /// of it that was there.
    pub(super) fn partly_on_cpu(&self) -> Option<(usize, f64)> {
        let valid = self.input.samples.iter().filter(|sample| sample.is_valid());
        let shares = || valid.clone().filter_map(|sample| sample.measurement.gpu_share).filter(|&share| share < 1.0);
        Some((shares().count(), shares().reduce(f64::min)?))
    }

    pub(super) fn samples_outside_the_grid(&self) -> usize {
        self.input.samples.iter().filter(|sample| !self.input.grid.contains(sample.cell)).count()
    }

    /// From the first start to the last end.
    pub(super) fn period(&self) -> Option<(jiff::Timestamp, jiff::Timestamp)> {
        let samples: &[Sample] = &self.input.samples;
        Some((samples.iter().map(|s| s.started_at).min()?, samples.iter().map(|s| s.completed_at).max()?))
    }
}
