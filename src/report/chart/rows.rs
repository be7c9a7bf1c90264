//! All rows in one picture: the token rate over the batch, one line a worker count, each
//! named at its end.

use super::super::figures::Figures;
use super::super::words::Words;
use super::super::{Chart, ReportError};
use super::ROWS_FILE;
use super::axis::{BatchAxis, ValueAxis};
use super::canvas::{self, Anchor, Area, Canvas, Ink, MARGIN};
use super::palette::{self, Colour};
use crate::domain::Cell;

const WIDTH: f64 = 880.0;
const LEFT: f64 = 48.0;
const RIGHT: f64 = 124.0;
const BELOW: f64 = 48.0;
const LOWEST: f64 = 340.0;
/// The least distance of two names.
const NAME_HEIGHT: f64 = 16.0;

/// One worker count where it stands on the card.
struct Line {
    workers: u32,
    colour: Colour,
    is_best: bool,
    /// By batch; `None` where nothing is known, or where another row draws it already.
    points: Vec<Option<Point>>,
}

#[derive(Clone, Copy)]
struct Point {
    at: (f64, f64),
    /// Whether the row measured it itself.
    own: bool,
}

impl Line {
    fn end(&self) -> Option<(f64, f64)> {
        self.points.iter().flatten().last().map(|point| point.at)
    }
}

pub(super) fn draw(figures: &Figures<'_>, words: &Words) -> Result<Chart, ReportError> {
    let texts = &words.charts;
    let grid = &figures.input.grid;
    let notes: Vec<&str> = [
        Some(texts.median_cells),
        figures.best().map(|_| texts.rows_note),
        figures.best().filter(|_| figures.tied().len() > 1).map(|_| texts.tied_cells),
    ]
    .into_iter()
    .flatten()
    .collect();
    let top = canvas::header_height(&notes, WIDTH) + 14.0;
    let area = Area {
        left: MARGIN + LEFT,
        top,
        width: WIDTH - 2.0 * MARGIN - LEFT - RIGHT,
        height: LOWEST.max(grid.workers().len() as f64 * NAME_HEIGHT),
    };
    let highest = figures.measured().map(|(_, measured)| measured.tokens_per_second.median).fold(0.0, f64::max);
    let values = ValueAxis::up_to(highest);
    let batches = BatchAxis { batches: grid.batch() };
    let alt = (texts.rows_alt)(grid.workers().len());
    canvas::draw(ROWS_FILE, &alt, (WIDTH, area.bottom() + BELOW), |canvas| {
        canvas.header(texts.rows_title, &notes, WIDTH);
        values.draw(canvas, area);
        batches.draw(canvas, area);
        let below = (area.left + area.width / 2.0, area.bottom() + 32.0);
        canvas.text(texts.batch_axis, below, Ink::label(Anchor::Middle).small());
        let lines = lines(figures, values, area);
        for line in lines.iter().filter(|line| !line.is_best).chain(lines.iter().filter(|line| line.is_best)) {
            draw_line(canvas, line);
        }
        draw_names(canvas, &lines, area, words);
        let place = |cell: Cell| {
            let column = grid.batch().iter().position(|&batch| batch == cell.batch)?;
            let rate = figures.measured_at(cell)?.tokens_per_second.median;
            Some((batches.x(area, column), values.y(area, rate)))
        };
        let best = figures.best().map(|(best, _)| best);
        for at in figures.tied().iter().filter(|cell| Some(**cell) != best).filter_map(|&cell| place(cell)) {
            canvas.ring(at, 6, palette::BEST, 1);
        }
        match best.and_then(place) {
            Some(at) => canvas.ring(at, 8, palette::BEST, 3),
            None => {
                let middle = (area.left + area.width / 2.0, area.top + area.height / 2.0);
                canvas.text(texts.no_figures, middle, Ink::label(Anchor::Middle));
            }
        }
    })
}

fn lines(figures: &Figures<'_>, values: ValueAxis, area: Area) -> Vec<Line> {
    let grid = &figures.input.grid;
    let batches = BatchAxis { batches: grid.batch() };
    let best = figures.best().map(|(cell, _)| cell.workers);
    let last = grid.workers().len().saturating_sub(1).max(1) as f64;
    let line = |(row, &workers): (usize, &u32)| {
        let is_best = best == Some(workers);
        let cell_of = |batch: u32| Cell { workers, batch };
        // Small batches are copies of smaller rows, whose lines are there already: this one
        // branches off at the last of them. The best row is drawn whole.
        let copies = grid.batch().iter().take_while(|&&batch| grid.is_copy(cell_of(batch))).count();
        let branch = if is_best { 0 } else { copies.saturating_sub(1) };
        let point = |(index, &batch): (usize, &u32)| {
            let measured = figures.measured_at(cell_of(batch)).filter(|_| index >= branch)?;
            let at = (batches.x(area, index), values.y(area, measured.tokens_per_second.median));
            Some(Point { at, own: !grid.is_copy(cell_of(batch)) })
        };
        let points = grid.batch().iter().enumerate().map(point).collect();
        Line { workers, colour: palette::line(row as f64 / last), is_best, points }
    };
    grid.workers().iter().enumerate().map(line).collect()
}

fn draw_line(canvas: &mut Canvas<'_>, line: &Line) {
    for run in line.points.chunk_by(|one, other| one.is_some() && other.is_some()) {
        let points: Vec<(f64, f64)> = run.iter().flatten().map(|point| point.at).collect();
        if points.len() > 1 {
            canvas.path(&points, line.colour, if line.is_best { 3 } else { 2 });
        }
    }
    for point in line.points.iter().flatten().filter(|point| point.own || line.is_best) {
        canvas.dot(point.at, 3, line.colour);
    }
}

/// Names the lines at the right, in the order of their ends, each led to its name.
fn draw_names(canvas: &mut Canvas<'_>, lines: &[Line], area: Area, words: &Words) {
    let mut named: Vec<(&Line, (f64, f64))> = lines.iter().filter_map(|line| Some((line, line.end()?))).collect();
    named.sort_by(|(_, (_, one)), (_, (_, other))| one.total_cmp(other));
    let wanted: Vec<f64> = named.iter().map(|(_, (_, y))| *y).collect();
    let left = area.right() + 16.0;
    for ((line, end), y) in named.into_iter().zip(apart(&wanted, area.top, area.bottom())) {
        let stop = (area.right() - 20.0).max(end.0 + 6.0);
        canvas.path(&[(end.0 + 5.0, end.1), (stop, end.1), (left - 5.0, y)], line.colour, 1);
        let ink = Ink::label(Anchor::Start).coloured(palette::INK);
        canvas.text(&(words.charts.row_label)(line.workers), (left, y), if line.is_best { ink.bold() } else { ink });
    }
}

/// Moves ascending heights apart until names fit, by the least squares that takes, within
/// bounds that hold them all.
///
/// With the room of the names before it taken off each height, names fit where the rest
/// ascends: isotonic regression, by pooling neighbours that do not.
fn apart(wanted: &[f64], top: f64, bottom: f64) -> Vec<f64> {
    let room = |index: usize| index as f64 * NAME_HEIGHT;
    let mut pools: Vec<(f64, usize)> = Vec::new();
    for (index, height) in wanted.iter().enumerate() {
        let mut pool = (height - room(index), 1);
        while let Some((mean, members)) = pools.pop_if(|(mean, _)| *mean >= pool.0) {
            let all = members + pool.1;
            pool = ((mean * members as f64 + pool.0 * pool.1 as f64) / all as f64, all);
        }
        pools.push(pool);
    }
    let lowest = bottom - room(wanted.len().saturating_sub(1));
    let placed = pools.into_iter().flat_map(|(mean, members)| std::iter::repeat_n(mean.min(lowest).max(top), members));
    placed.enumerate().map(|(index, height)| height + room(index)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_distance_and_their_order() {
        assert_eq!(apart(&[50.0, 100.0], 0.0, 200.0), [50.0, 100.0]);
        assert_eq!(apart(&[50.0, 51.0, 52.0], 0.0, 200.0), [35.0, 51.0, 67.0]);
        assert_eq!(apart(&[1.0, 2.0, 100.0], 0.0, 200.0), [0.0, 16.0, 100.0]);
        assert_eq!(apart(&[190.0, 199.0, 200.0], 0.0, 200.0), [168.0, 184.0, 200.0]);
        assert_eq!(apart(&[], 0.0, 200.0), [0.0; 0]);
    }
}
