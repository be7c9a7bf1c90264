//! What a step of the server takes over the answers that it writes at once: the cells, the
//! fitted line a + b·c, and the cells that lie off it.

use std::collections::BTreeSet;

use super::super::figures::Figures;
use super::super::number::milliseconds;
use super::super::words::Words;
use super::super::{Chart, ReportError};
use super::axis::{ValueAxis, round_values_between};
use super::canvas::{self, Anchor, Area, Canvas, Ink, MARGIN};
use super::{STEP_FILE, palette};
use crate::analysis::step::{StepFit, StepPoint};
use crate::domain::Cell;

const WIDTH: f64 = 560.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 24.0;
const HEIGHT: f64 = 260.0;
const BELOW: f64 = 46.0;
/// The most cells off the line that are named beside their points.
const NAMED: usize = 6;

/// A point where it stands on the card.
struct Mark {
    cell: Cell,
    streams: f64,
    /// Milliseconds.
    step: f64,
}

pub(super) fn draw(figures: &Figures<'_>, words: &Words) -> Option<Result<Chart, ReportError>> {
    let fit = figures.conclusions.step.as_ref()?;
    let texts = &words.charts;
    let off: BTreeSet<Cell> = fit.misfits.iter().map(|(cell, _)| *cell).collect();
    let notes: Vec<&str> =
        [Some(texts.step_note), (!off.is_empty()).then_some(texts.step_misfits)].into_iter().flatten().collect();
    let title = (texts.step_title)(
        &milliseconds(Some(fit.fixed_seconds.value)),
        &milliseconds(Some(fit.per_stream_seconds.value)),
    );
    let top = canvas::header_height(&notes, WIDTH) + 30.0;
    let area = Area { left: MARGIN + LEFT, top, width: WIDTH - 2.0 * MARGIN - LEFT - RIGHT, height: HEIGHT };
    let marks: Vec<Mark> = figures.conclusions.step_points.iter().filter_map(mark).collect();
    let most = marks.iter().map(|mark| mark.streams).fold(1.0, f64::max) * 1.05;
    let line = |streams: f64| 1e3 * (fit.fixed_seconds.value + fit.per_stream_seconds.value * streams);
    let values = ValueAxis::up_to(marks.iter().map(|mark| mark.step).fold(line(most), f64::max));
    let x = |streams: f64| area.left + streams / most * area.width;
    Some(canvas::draw(STEP_FILE, &title, (WIDTH, area.bottom() + BELOW), |canvas| {
        canvas.header(&title, &notes, WIDTH);
        values.draw(canvas, area);
        canvas.text(texts.step_unit, (MARGIN, area.top - 16.0), Ink::label(Anchor::Start).small());
        for (streams, label) in round_values_between(0.0, most) {
            canvas.text(&label, (x(streams), area.bottom() + 14.0), Ink::label(Anchor::Middle).small());
        }
        let below = (area.left + area.width / 2.0, area.bottom() + 32.0);
        canvas.text(texts.step_axis, below, Ink::label(Anchor::Middle).small());
        let ends = [0.0, most].map(|streams| (x(streams), values.y(area, line(streams))));
        canvas.path(&ends, palette::MUTED, 2);
        draw_marks(canvas, fit, &marks, &off, |mark| (x(mark.streams), values.y(area, mark.step)));
    }))
}

fn mark(point: &StepPoint) -> Option<Mark> {
    let (streams, step) = (point.streams / point.waves, 1e3 * point.seconds / point.waves);
    (streams.is_finite() && step.is_finite()).then_some(Mark { cell: point.cell, streams, step })
}

fn draw_marks(
    canvas: &mut Canvas<'_>,
    fit: &StepFit,
    marks: &[Mark],
    off: &BTreeSet<Cell>,
    at: impl Fn(&Mark) -> (f64, f64),
) {
    for mark in marks {
        canvas.dot(at(mark), 3, palette::LINE);
    }
    let are_few = fit.misfits.len() <= NAMED;
    for mark in marks.iter().filter(|mark| off.contains(&mark.cell)) {
        let place = at(mark);
        canvas.ring(place, 6, palette::BEST, 2);
        if are_few {
            let (anchor, aside) = if place.0 < WIDTH / 2.0 { (Anchor::Start, 6.0) } else { (Anchor::End, -2.0) };
            let ink = Ink::label(anchor).small().coloured(palette::BEST);
            // Below the line, which rises.
            canvas.text(&mark.cell.to_string(), (place.0 + aside, place.1 + 13.0), ink);
        }
    }
}
