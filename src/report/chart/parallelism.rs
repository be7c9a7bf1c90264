//! What was asked of the server at once, and what it was seen to do: one point a row, beside the
//! line on which it would do as it is asked.

use super::super::figures::Figures;
use super::super::words::Words;
use super::super::{Chart, ReportError};
use super::canvas::{self, Anchor, Area, Canvas, Ink, MARGIN};
use super::scale::LogScale;
use super::{PARALLELISM_FILE, palette};
use crate::analysis::slots::{EffectiveSlots, RowSlots};

const WIDTH: f64 = 560.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 84.0;
const HEIGHT: f64 = 300.0;
const BELOW: f64 = 46.0;
/// Half the length of a whisker's end.
const WHISKER: f64 = 3.0;

pub(super) fn draw(figures: &Figures<'_>, words: &Words) -> Result<Chart, ReportError> {
    let texts = &words.charts;
    let notes = [texts.parallelism_note, texts.log_scale];
    let top = canvas::header_height(&notes, WIDTH) + 16.0;
    let area = Area { left: MARGIN + LEFT, top, width: WIDTH - 2.0 * MARGIN - LEFT - RIGHT, height: HEIGHT };
    let rows = &figures.conclusions.rows;
    let seen: Vec<(&RowSlots, EffectiveSlots)> = rows.iter().filter_map(|row| Some((row, row.effective?))).collect();
    let asked = figures.input.grid.workers().iter().map(|&workers| f64::from(workers));
    let values =
        asked.chain(seen.iter().flat_map(|(_, slots)| [slots.slots, slots.interval.lower, slots.interval.upper]));
    let scale = LogScale::over(values).map(LogScale::with_air);
    canvas::draw(PARALLELISM_FILE, texts.parallelism_title, (WIDTH, area.bottom() + BELOW), |canvas| {
        canvas.header(texts.parallelism_title, &notes, WIDTH);
        let Some(scale) = scale.filter(|_| !seen.is_empty()) else {
            let middle = (area.left + area.width / 2.0, area.top + area.height / 2.0);
            canvas.text(texts.no_figures, middle, Ink::label(Anchor::Middle));
            return;
        };
        draw_axes(canvas, scale, area, words);
        for (row, slots) in &seen {
            draw_row(canvas, row, slots, scale, area);
        }
    })
}

fn x(scale: LogScale, area: Area, value: f64) -> f64 {
    area.left + scale.share(value) * area.width
}

fn y(scale: LogScale, area: Area, value: f64) -> f64 {
    area.bottom() - scale.share(value) * area.height
}

fn draw_axes(canvas: &mut Canvas<'_>, scale: LogScale, area: Area, words: &Words) {
    for (value, label) in scale.ticks() {
        let (across, up) = (x(scale, area, value), y(scale, area, value));
        canvas.hairline(area.left, area.right(), up, palette::GRID);
        canvas.fill(Area { left: across.round(), width: 1.0, ..area }, palette::GRID, 1.0);
        canvas.text(&label, (area.left - 8.0, up), Ink::label(Anchor::End).small());
        canvas.text(&label, (across, area.bottom() + 14.0), Ink::label(Anchor::Middle).small());
    }
    canvas.line((area.left, area.bottom()), (area.right(), area.top), palette::AXIS, 1);
    canvas.text(words.charts.as_asked, (area.right() + 6.0, area.top), Ink::label(Anchor::Start).small());
    let below = (area.left + area.width / 2.0, area.bottom() + 32.0);
    canvas.text(words.charts.requested_axis, below, Ink::label(Anchor::Middle).small());
    let beside = (MARGIN + 6.0, area.top + area.height / 2.0);
    canvas.upright_text(words.charts.observed_axis, beside, Ink::label(Anchor::Middle).small());
}

fn draw_row(canvas: &mut Canvas<'_>, row: &RowSlots, slots: &EffectiveSlots, scale: LogScale, area: Area) {
    let colour = if row.verdict.is_warned() { palette::BEST } else { palette::LINE };
    let at = (x(scale, area, f64::from(row.requested)), y(scale, area, slots.slots));
    let ends = [slots.interval.lower, slots.interval.upper.min(scale.at(1.0))].map(|end| y(scale, area, end));
    let [low, high] = ends;
    if slots.interval.upper.is_finite() && low - high > 2.0 * WHISKER {
        canvas.line((at.0, low), (at.0, high), colour, 1);
        for end in ends {
            canvas.line((at.0 - WHISKER, end), (at.0 + WHISKER, end), colour, 1);
        }
    }
    canvas.dot(at, 4, colour);
    if slots.interval.upper.is_infinite() {
        canvas.dot(at, 2, palette::CARD);
    }
}
