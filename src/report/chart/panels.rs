//! The four panels of one worker count over the batch: total time, time per request, token
//! rate, sum of tokens. A line of medians, and around it what the repeats say.

use super::super::figures::{CellFigures, Figures, Spread};
use super::super::number::figure;
use super::super::words::Words;
use super::super::{Chart, ReportError};
use super::axis::{BatchAxis, ValueAxis};
use super::canvas::{self, Anchor, Area, Canvas, Ink, MARGIN};
use super::{palette, row_file};
use crate::analysis::interval::Interval;
use crate::domain::Cell;

const WIDTH: f64 = 880.0;
/// The space of the value labels left of a panel, and of those around it.
const LEFT: f64 = 48.0;
const TITLE: f64 = 38.0;
const BELOW: f64 = 44.0;
const PANEL_HEIGHT: f64 = 170.0;
const GUTTER: f64 = 24.0;
const BOTTOM: f64 = 8.0;
/// Half the length of a whisker's end.
const WHISKER: f64 = 4.0;

/// One quantity over the batch.
struct Panel {
    title: &'static str,
    of: fn(&CellFigures) -> Spread,
    follows: Follows,
}

/// How a quantity goes with the token rate, whose interval is known.
#[derive(Clone, Copy)]
enum Follows {
    Rate,
    /// A time: half the rate takes twice as long, for the tokens are nearly the same.
    Inverse,
    /// A count of tokens does not.
    Not,
}

/// A cell's repeats where they stand on the card.
struct Mark {
    x: f64,
    spread: Spread,
    /// 95 %, of the median.
    interval: Option<Interval>,
    /// Whether the cell shows what another one measured.
    copy: bool,
    best: bool,
}

impl Mark {
    fn highest(&self) -> f64 {
        self.interval.map_or(0.0, |interval| interval.upper).max(self.spread.upper_quartile)
    }
}

pub(super) fn draw(figures: &Figures<'_>, words: &Words, workers: u32) -> Result<Chart, ReportError> {
    let texts = &words.charts;
    let panels = [
        Panel { title: texts.total_time, of: |cell| cell.total_seconds, follows: Follows::Inverse },
        Panel { title: texts.time_per_request, of: |cell| cell.seconds_per_request, follows: Follows::Inverse },
        Panel { title: texts.token_rate, of: |cell| cell.tokens_per_second, follows: Follows::Rate },
        Panel { title: texts.token_sum, of: |cell| cell.output_tokens, follows: Follows::Not },
    ];
    let grid = &figures.input.grid;
    let has_copies = grid.batch().iter().any(|&batch| grid.is_copy(Cell { workers, batch }));
    let notes: Vec<&str> = [
        Some(texts.median_line),
        figures.has_repeats().then_some(texts.spread_band),
        has_copies.then_some(texts.shared_point),
    ]
    .into_iter()
    .flatten()
    .collect();
    let top = canvas::header_height(&notes, WIDTH);
    let height = top + 2.0 * (TITLE + PANEL_HEIGHT + BELOW) + BOTTOM;
    let title = (texts.row_title)(workers);
    canvas::draw(&row_file(workers), &(words.row_chart)(workers), (WIDTH, height), |canvas| {
        canvas.header(&title, &notes, WIDTH);
        let slot = (WIDTH - 2.0 * MARGIN - GUTTER) / 2.0;
        for (index, panel) in panels.iter().enumerate() {
            let area = Area {
                left: MARGIN + LEFT + (index % 2) as f64 * (slot + GUTTER),
                top: top + TITLE + (index / 2) as f64 * (TITLE + PANEL_HEIGHT + BELOW),
                width: slot - LEFT,
                height: PANEL_HEIGHT,
            };
            draw_panel(canvas, figures, words, workers, panel, area);
        }
    })
}

fn draw_panel(canvas: &mut Canvas<'_>, figures: &Figures<'_>, words: &Words, workers: u32, panel: &Panel, area: Area) {
    let grid = &figures.input.grid;
    let batches = BatchAxis { batches: grid.batch() };
    let best = figures.best_of_row(workers);
    let marks: Vec<Option<Mark>> = grid
        .batch()
        .iter()
        .enumerate()
        .map(|(index, &batch)| {
            let cell = Cell { workers, batch };
            let spread = (panel.of)(figures.measured_at(cell)?);
            let interval = interval(figures, cell, panel);
            let best = best.is_some_and(|(best, _)| best == cell);
            Some(Mark { x: batches.x(area, index), spread, interval, copy: grid.is_copy(cell), best })
        })
        .collect();
    let highest = marks.iter().flatten().map(Mark::highest).fold(0.0, f64::max);
    let values = ValueAxis::up_to(highest);
    let title_y = area.top - 22.0;
    canvas.text(panel.title, (area.left - LEFT, title_y), Ink::label(Anchor::Start).bold().coloured(palette::INK));
    values.draw(canvas, area);
    batches.draw(canvas, area);
    let below = (area.left + area.width / 2.0, area.bottom() + 31.0);
    canvas.text(words.charts.batch_axis, below, Ink::label(Anchor::Middle).small());
    for run in marks.chunk_by(|one, other| one.is_some() && other.is_some()) {
        draw_run(canvas, &run.iter().flatten().collect::<Vec<_>>(), values, area);
    }
    if marks.iter().all(Option::is_none) {
        let middle = (area.left + area.width / 2.0, area.top + area.height / 2.0);
        canvas.text(words.charts.no_figures, middle, Ink::label(Anchor::Middle));
    }
    if let Some((cell, measured)) = best.filter(|_| panel.title == words.charts.token_rate) {
        let label = (words.charts.best_of_row)(&figure(measured.tokens_per_second.median), cell.batch);
        canvas.text(&label, (area.right(), title_y), Ink::label(Anchor::End).coloured(palette::BEST));
    }
}

/// The interval of a quantity, where that of the rate is bounded and the cell has repeats.
fn interval(figures: &Figures<'_>, cell: Cell, panel: &Panel) -> Option<Interval> {
    let measured = figures.measured_at(cell).filter(|measured| measured.tokens_per_second.samples > 1)?;
    let rate = figures.interval(cell)?;
    let is_bounded = rate.lower > 0.0 && rate.upper.is_finite();
    let scale = (panel.of)(measured).median * measured.tokens_per_second.median;
    match panel.follows {
        _ if !is_bounded => None,
        Follows::Rate => Some(rate),
        Follows::Inverse => Some(Interval { lower: scale / rate.upper, upper: scale / rate.lower }),
        Follows::Not => None,
    }
}

/// Draws neighbouring cells that are all measured.
fn draw_run(canvas: &mut Canvas<'_>, marks: &[&Mark], values: ValueAxis, area: Area) {
    let along = |of: fn(&Spread) -> f64| marks.iter().map(move |mark| (mark.x, values.y(area, of(&mark.spread))));
    if marks.len() > 1 {
        let there = along(|spread| spread.upper_quartile);
        let back = along(|spread| spread.lower_quartile).rev();
        if marks.iter().any(|mark| mark.spread.samples > 1) {
            canvas.polygon(&there.chain(back).collect::<Vec<_>>(), palette::LINE, 0.16);
        }
        canvas.path(&along(|spread| spread.median).collect::<Vec<_>>(), palette::LINE, 2);
    }
    for mark in marks {
        let y = |value: f64| values.y(area, value);
        let ends = mark.interval.map(|interval| [y(interval.lower), y(interval.upper)]);
        // A whisker that the point hides says nothing.
        if let Some([low, high]) = ends.filter(|[low, high]| low - high > 2.0 * WHISKER) {
            canvas.line((mark.x, low), (mark.x, high), palette::LINE, 1);
            for end in [low, high] {
                canvas.line((mark.x - WHISKER, end), (mark.x + WHISKER, end), palette::LINE, 1);
            }
        }
        let at = (mark.x, y(mark.spread.median));
        canvas.dot(at, 4, palette::LINE);
        if mark.copy {
            canvas.dot(at, 2, palette::CARD);
        }
        if mark.best {
            canvas.ring(at, 7, palette::BEST, 2);
        }
    }
}
