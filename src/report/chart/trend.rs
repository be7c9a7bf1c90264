//! The best cell over all of its time: a point for some samples, a line for each epoch, a
//! number where the environment changed.

use super::super::change::Stretch;
use super::super::figures::Figures;
use super::super::number::{figure, signed_percent};
use super::super::words::Words;
use super::super::{Chart, ReportError};
use super::canvas::{self, Anchor, Area, Canvas, Ink, MARGIN, SMALL_SIZE, text_width};
use super::scale::RangeAxis;
use super::{TREND_FILE, palette};
use crate::analysis::quantile::median;

const WIDTH: f64 = 880.0;
const LEFT: f64 = 48.0;
const HEIGHT: f64 = 240.0;
/// Above the points: the numbers of the changes, and the level of each epoch.
const ABOVE: f64 = 40.0;
const BELOW: f64 = 34.0;
/// About how many points there are at most.
const POINTS: usize = 90;
/// The fewest places that an epoch takes, so that its level can be read.
const LEAST_PLACES: usize = 5;

/// Points that far apart are drawn larger.
const ROOMY: f64 = 16.0;

/// One epoch where it stands on the card.
struct Part<'a> {
    stretch: &'a Stretch<'a>,
    /// Medians of neighbouring samples.
    points: Vec<f64>,
    left: f64,
    right: f64,
}

pub(super) fn draw(figures: &Figures<'_>, words: &Words) -> Option<Result<Chart, ReportError>> {
    let (best, stretches) = figures.trend()?;
    let texts = &words.charts;
    let samples: usize = stretches.iter().map(|stretch| stretch.points.len()).sum();
    let bucket = samples.div_ceil(POINTS).max(1);
    let buckets = (texts.trend_buckets)(bucket);
    let notes: Vec<&str> = [
        (bucket > 1).then_some(buckets.as_str()),
        (stretches.len() > 1).then_some(texts.trend_note),
        Some(texts.scale_not_from_zero),
    ]
    .into_iter()
    .flatten()
    .collect();
    let top = canvas::header_height(&notes, WIDTH) + ABOVE;
    let area = Area { left: MARGIN + LEFT, top, width: WIDTH - 2.0 * MARGIN - LEFT, height: HEIGHT };
    let parts = parts(&stretches, bucket, area);
    let axis = RangeAxis::about(parts.iter().flat_map(|part| part.points.iter().copied()))?;
    let title = (texts.trend_title)(best);
    Some(canvas::draw(TREND_FILE, &title, (WIDTH, area.bottom() + BELOW), |canvas| {
        canvas.header(&title, &notes, WIDTH);
        axis.draw(canvas, area);
        for (number, part) in parts.iter().enumerate() {
            draw_part(canvas, part, axis, area);
            draw_unexplained(canvas, part, area);
            if number > 0 {
                draw_change(canvas, part, number, area);
            }
        }
        draw_times(canvas, &parts, area);
    }))
}

/// Gives each epoch as much width as it has points.
fn parts<'a>(stretches: &'a [Stretch<'a>], bucket: usize, area: Area) -> Vec<Part<'a>> {
    let middle = |points: &[(jiff::Timestamp, f64)]| median(&points.iter().map(|(_, rate)| *rate).collect::<Vec<_>>());
    let points = |stretch: &Stretch<'_>| stretch.points.chunks(bucket).filter_map(middle).collect::<Vec<_>>();
    let all: Vec<Vec<f64>> = stretches.iter().map(points).collect();
    let places: usize = all.iter().map(|points| points.len().max(LEAST_PLACES)).sum();
    let place = area.width / places.max(1) as f64;
    let mut left = area.left;
    let part = |(stretch, points): (&'a Stretch<'a>, Vec<f64>)| {
        let right = left + place * points.len().max(LEAST_PLACES) as f64;
        Part { stretch, points, left: std::mem::replace(&mut left, right), right }
    };
    stretches.iter().zip(all).map(part).collect()
}

fn draw_part(canvas: &mut Canvas<'_>, part: &Part<'_>, axis: RangeAxis, area: Area) {
    let step = (part.right - part.left) / part.points.len().max(1) as f64;
    let x = |index: usize| part.left + (index as f64 + 0.5) * step;
    let radius = if step >= ROOMY { 3 } else { 2 };
    for (index, rate) in part.points.iter().enumerate() {
        canvas.dot((x(index), axis.y(area, *rate)), radius, palette::LINE);
    }
    let Some(level) = part.stretch.median() else { return };
    let y = axis.y(area, level);
    canvas.line((part.left + 4.0, y), (part.right - 4.0, y), palette::LINE, 2);
    let label = figure(level);
    if text_width(&label, SMALL_SIZE) <= part.right - part.left {
        let at = ((part.left + part.right) / 2.0, area.top - 12.0);
        canvas.text(&label, at, Ink::label(Anchor::Middle).bold().coloured(palette::INK));
    }
}

/// A thin line where the rate changed for no reason that is known, with its size.
fn draw_unexplained(canvas: &mut Canvas<'_>, part: &Part<'_>, area: Area) {
    let samples = part.stretch.points.len().max(1) as f64;
    for event in &part.stretch.unexplained {
        let before = part.stretch.points.iter().filter(|(at, _)| *at < event.changed.at).count();
        let left = part.left + before as f64 / samples * (part.right - part.left);
        canvas.fill(Area { left, width: 1.0, ..area }, palette::BEST, 0.6);
        let ink = Ink::label(Anchor::Start).small().coloured(palette::BEST);
        canvas.text(&signed_percent(event.ratio.value), (left + 4.0, area.bottom() - 8.0), ink);
    }
}

/// The line between two epochs, numbered, and what changed where there is room to say it.
fn draw_change(canvas: &mut Canvas<'_>, part: &Part<'_>, number: usize, area: Area) {
    canvas.fill(
        Area { left: part.left, top: area.top - 26.0, width: 1.0, height: area.height + 26.0 },
        palette::BEST,
        1.0,
    );
    let what = part.stretch.changes.join(", ");
    let whole = format!("{number}: {what}");
    let room = part.right - part.left;
    let label = if !what.is_empty() && text_width(&whole, SMALL_SIZE) <= room { whole } else { number.to_string() };
    let ink = Ink::label(Anchor::Start).small().coloured(palette::BEST);
    canvas.text(&label, (part.left + 5.0, area.top - 28.0), ink);
}

/// The day on which each epoch begins, and that of the last point.
fn draw_times(canvas: &mut Canvas<'_>, parts: &[Part<'_>], area: Area) {
    let day = |at: jiff::Timestamp| at.strftime("%Y-%m-%d %H:%M").to_string();
    let last = parts.last().and_then(|part| Some((part.right, part.stretch.points.last()?.0)));
    let end = last.map_or(area.right(), |(right, at)| {
        let label = day(at);
        canvas.text(&label, (right, area.bottom() + 16.0), Ink::label(Anchor::End).small());
        right - text_width(&label, SMALL_SIZE) - 12.0
    });
    let mut free = area.left;
    for part in parts {
        let Some((at, _)) = part.stretch.points.first() else { continue };
        let label = day(*at);
        let width = text_width(&label, SMALL_SIZE);
        if part.left >= free && part.left + width <= end {
            canvas.text(&label, (part.left, area.bottom() + 16.0), Ink::label(Anchor::Start).small());
            free = part.left + width + 12.0;
        }
    }
}
