//! The whole grid in one picture: a figure of every cell as a colour and as a number.

use super::super::figures::{CellFigures, Figures, Known};
use super::super::number::{NOTHING, figure, seconds};
use super::super::words::Words;
use super::super::{Chart, ReportError};
use super::axis::{label_step, round_values_between};
use super::canvas::{self, Anchor, Area, Canvas, Ink, MARGIN, SMALL_SIZE, text_width};
use super::scale::LogScale;
use super::{HEAT_MAP_FILE, LATENCY_MAP_FILE, palette};
use crate::domain::Cell;

/// The card is as wide as its cells need, between these.
const NARROWEST: f64 = 560.0;
const WIDEST: f64 = 880.0;
const WIDEST_CELL: f64 = 84.0;
const NARROWEST_CELL: f64 = 8.0;
/// The space of the workers' labels, of the batches' labels, and of the colour scale.
const LEFT: f64 = 52.0;
const BELOW: f64 = 48.0;
const RIGHT: f64 = 96.0;
/// The line of background between two measurements.
const GAP: f64 = 2.0;
/// The colour scale: how wide, how high at least, and in how many steps.
const SCALE_WIDTH: f64 = 14.0;
const SCALE_LOWEST: f64 = 120.0;
const SCALE_HIGHEST: f64 = 260.0;
const SCALE_STEPS: u32 = 48;
/// The longest usual label: a cell without room for it has none.
const LONGEST_LABEL: &str = "= 0000";

/// What a map shows.
struct Quantity {
    file_name: &'static str,
    title: &'static str,
    alt: String,
    unit: &'static str,
    of: fn(&CellFigures) -> Option<f64>,
    text: fn(f64) -> String,
    /// Of latencies: over magnitudes, and the least is the brightest.
    is_latency: bool,
}

/// The layout and the colours of one heat map.
struct HeatMap<'a> {
    figures: &'a Figures<'a>,
    quantity: &'a Quantity,
    cells: Area,
    has_labels: bool,
    lowest: f64,
    highest: f64,
    magnitudes: Option<LogScale>,
}

/// The map of the token rates.
pub(super) fn rates(figures: &Figures<'_>, words: &Words) -> Result<Chart, ReportError> {
    let texts = &words.charts;
    let best = figures.best().map(|(cell, best)| (cell, figure(best.tokens_per_second.median)));
    let quantity = Quantity {
        file_name: HEAT_MAP_FILE,
        title: texts.heat_map_title,
        alt: (texts.heat_map_alt)(best.as_ref().map(|(cell, rate)| (*cell, rate.as_str()))),
        unit: texts.rate_unit,
        of: |cell| Some(cell.tokens_per_second.median),
        text: figure,
        is_latency: false,
    };
    draw(figures, words, &quantity)
}

/// Whether there is a time to first token to show.
pub(in super::super) fn has_latency_map(figures: &Figures<'_>) -> bool {
    figures.measured().any(|(_, measured)| first_token(measured).is_some())
}

fn first_token(cell: &CellFigures) -> Option<f64> {
    cell.time_to_first_token.map(|quantiles| quantiles.p95).filter(|p95| *p95 > 0.0 && p95.is_finite())
}

/// The map of the times to first token.
pub(super) fn latencies(figures: &Figures<'_>, words: &Words) -> Option<Result<Chart, ReportError>> {
    let texts = &words.charts;
    let quantity = Quantity {
        file_name: LATENCY_MAP_FILE,
        title: texts.latency_map_title,
        alt: texts.latency_map_alt.to_owned(),
        unit: texts.seconds_unit,
        of: first_token,
        text: |value| seconds(Some(value)),
        is_latency: true,
    };
    has_latency_map(figures).then(|| draw(figures, words, &quantity))
}

fn draw(figures: &Figures<'_>, words: &Words, quantity: &Quantity) -> Result<Chart, ReportError> {
    let grid = &figures.input.grid;
    let (columns, rows) = (grid.batch().len() as f64, grid.workers().len() as f64);
    let cell_width = ((WIDEST - 2.0 * MARGIN - LEFT - RIGHT) / columns).clamp(NARROWEST_CELL, WIDEST_CELL).floor();
    let cell_height = if rows <= 8.0 { 38.0 } else { 28.0 };
    let width = (2.0 * MARGIN + LEFT + columns * cell_width + RIGHT).max(NARROWEST);
    let has_labels = cell_width - GAP >= text_width(LONGEST_LABEL, SMALL_SIZE);
    let notes = notes(figures, words, quantity, has_labels);
    let top = canvas::header_height(&notes, width) + 18.0;
    let cells = Area { left: MARGIN + LEFT, top, width: columns * cell_width, height: rows * cell_height };
    let values = || figures.measured().filter_map(|(_, measured)| (quantity.of)(measured));
    let map = HeatMap {
        figures,
        quantity,
        cells,
        has_labels,
        lowest: values().fold(f64::INFINITY, f64::min),
        highest: values().fold(f64::NEG_INFINITY, f64::max),
        magnitudes: LogScale::over(values()).filter(|_| quantity.is_latency),
    };
    let least = if map.has_scale() { SCALE_LOWEST } else { 0.0 };
    let height = top + cells.height.max(least) + BELOW;
    canvas::draw(quantity.file_name, &quantity.alt, (width, height), |canvas| {
        canvas.header(quantity.title, &notes, width);
        map.draw_axes(canvas, words);
        map.draw_cells(canvas);
        if map.has_scale() {
            map.draw_scale(canvas);
        }
    })
}

fn notes<'w>(figures: &Figures<'_>, words: &'w Words, quantity: &Quantity, has_labels: bool) -> Vec<&'w str> {
    let texts = &words.charts;
    let (best, is_latency) = (figures.best(), quantity.is_latency);
    [
        Some(texts.median_cells),
        is_latency.then_some(texts.brighter_is_better),
        best.map(|_| texts.best_cell),
        best.filter(|_| figures.tied().len() > 1).map(|_| texts.tied_cells),
        best.filter(|_| has_labels && !is_latency).map(|_| texts.best_of_each_row),
        best.filter(|_| figures.has_copies()).map(|_| texts.shared_cells),
    ]
    .into_iter()
    .flatten()
    .collect()
}

impl HeatMap<'_> {
    fn cell_size(&self) -> (f64, f64) {
        let grid = &self.figures.input.grid;
        (self.cells.width / grid.batch().len() as f64, self.cells.height / grid.workers().len() as f64)
    }

    /// Whether there are rates to tell apart.
    fn has_scale(&self) -> bool {
        self.highest > self.lowest
    }

    /// Where a value lies between the darkest colour and the brightest.
    fn share(&self, value: f64) -> f64 {
        match self.magnitudes {
            _ if !self.has_scale() => 0.5,
            Some(scale) => 1.0 - scale.share(value),
            None => (value - self.lowest) / (self.highest - self.lowest),
        }
    }

    fn draw_axes(&self, canvas: &mut Canvas<'_>, words: &Words) {
        let grid = &self.figures.input.grid;
        let (width, height) = self.cell_size();
        let step = label_step(grid.batch(), self.cells.width);
        for (column, batch) in grid.batch().iter().enumerate().step_by(step) {
            let at = (self.cells.left + (column as f64 + 0.5) * width, self.cells.bottom() + 13.0);
            canvas.text(&batch.to_string(), at, Ink::label(Anchor::Middle));
        }
        for (row, workers) in grid.workers().iter().enumerate() {
            let at = (self.cells.left - 8.0, self.cells.top + (row as f64 + 0.5) * height);
            canvas.text(&workers.to_string(), at, Ink::label(Anchor::End));
        }
        let below = (self.cells.left + self.cells.width / 2.0, self.cells.bottom() + 32.0);
        canvas.text(words.charts.batch_axis, below, Ink::label(Anchor::Middle).small());
        let beside = (MARGIN + 6.0, self.cells.top + self.cells.height / 2.0);
        canvas.upright_text(words.charts.workers_axis, beside, Ink::label(Anchor::Middle).small());
    }

    fn draw_cells(&self, canvas: &mut Canvas<'_>) {
        let grid = &self.figures.input.grid;
        let (width, height) = self.cell_size();
        let area_of = |column: usize, row: usize| Area {
            left: self.cells.left + column as f64 * width,
            top: self.cells.top + row as f64 * height,
            width: width - GAP,
            height: height - GAP,
        };
        for (row, &workers) in grid.workers().iter().enumerate() {
            for (column, &batch) in grid.batch().iter().enumerate() {
                self.draw_cell(canvas, Cell { workers, batch }, area_of(column, row));
            }
        }
        // Last, so that no neighbour covers a frame.
        let place = |cell: Cell| {
            let column = grid.batch().iter().position(|&batch| batch == cell.batch)?;
            let row = grid.workers().iter().position(|&workers| workers == cell.workers)?;
            Some(area_of(column, row))
        };
        for area in self.figures.tied().iter().filter_map(|&cell| place(cell)) {
            canvas.frame(area, palette::CARD, 3);
            canvas.frame(area, palette::BEST, 1);
        }
        if let Some(area) = self.figures.best().and_then(|(best, _)| place(best)) {
            canvas.frame(area, palette::CARD, 4);
            canvas.frame(area, palette::BEST, 3);
        }
    }

    fn draw_cell(&self, canvas: &mut Canvas<'_>, cell: Cell, area: Area) {
        let grid = &self.figures.input.grid;
        let middle = (area.left + area.width / 2.0, area.top + area.height / 2.0);
        let known = match self.figures.at(cell) {
            Known::Measured(measured) => (self.quantity.of)(measured),
            Known::Rejected(_) | Known::Unmeasured => None,
        };
        let Some(value) = known else {
            canvas.fill(area, palette::GRID, 0.6);
            if self.has_labels {
                canvas.text(NOTHING, middle, Ink::label(Anchor::Middle));
            }
            return;
        };
        let ground = palette::viridis(self.share(value));
        let copy = grid.is_copy(cell);
        if !copy {
            // A measurement and its copies are one block, and the copies are the rows below it.
            let rows = grid.shown_by(cell).count() as f64;
            canvas.fill(Area { height: rows * self.cell_size().1 - GAP, ..area }, ground, 1.0);
        }
        if !self.has_labels {
            return;
        }
        let is_best =
            !self.quantity.is_latency && self.figures.best_of_row(cell.workers).is_some_and(|(best, _)| best == cell);
        let label = match (copy, is_best) {
            (false, _) => (self.quantity.text)(value),
            (true, true) => format!("= {}", (self.quantity.text)(value)),
            (true, false) => "=".to_owned(),
        };
        let ink = Ink::label(Anchor::Middle).coloured(palette::text_on(ground));
        canvas.text(&label, middle, if is_best { ink.bold() } else { ink });
    }

    /// The colours with their values, right of the cells.
    fn draw_scale(&self, canvas: &mut Canvas<'_>) {
        let left = self.cells.right() + 24.0;
        let top = self.cells.top + 20.0;
        let height = (self.cells.height - 20.0).clamp(SCALE_LOWEST - 20.0, SCALE_HIGHEST);
        canvas.text(self.quantity.unit, (left, self.cells.top + 4.0), Ink::label(Anchor::Start).small());
        let step = height / f64::from(SCALE_STEPS);
        for index in 0..SCALE_STEPS {
            let share = 1.0 - f64::from(index) / f64::from(SCALE_STEPS - 1);
            // Each strip reaches to the end, under the next ones: no seam where the card is scaled.
            let strip_top = (top + f64::from(index) * step).round();
            let strip = Area { left, top: strip_top, width: SCALE_WIDTH, height: top + height - strip_top };
            canvas.fill(strip, palette::viridis(share), 1.0);
        }
        let ticks = match self.magnitudes {
            Some(scale) => scale.ticks(),
            None => round_values_between(self.lowest, self.highest),
        };
        for (value, label) in ticks {
            let y = top + (1.0 - self.share(value)) * height;
            canvas.hairline(left + SCALE_WIDTH, left + SCALE_WIDTH + 4.0, y, palette::AXIS);
            canvas.text(&label, (left + SCALE_WIDTH + 8.0, y), Ink::label(Anchor::Start).small());
        }
    }
}
