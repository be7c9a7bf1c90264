//! How long requests of the best cell took before a change and since: the share of values up to
//! each time, the empirical distribution functions.

use super::super::change::LatencyChange;
use super::super::figures::Figures;
use super::super::number::seconds;
use super::super::words::Words;
use super::super::{Chart, ReportError};
use super::canvas::{self, Anchor, Area, Canvas, Ink, MARGIN};
use super::scale::LogScale;
use super::{LATENCY_FILE, palette};
use crate::domain::{Distribution, EpochId};

const WIDTH: f64 = 880.0;
const LEFT: f64 = 48.0;
const GUTTER: f64 = 24.0;
const HEIGHT: f64 = 200.0;
/// Above a panel: its title and a line for each distribution.
const TITLE: f64 = 62.0;
const BELOW: f64 = 32.0;
/// The quantiles from which and up to which the axis goes: one request that is out of the way
/// would else take most of it. What lies beyond is drawn at its ends.
const SHOWN: [f64; 2] = [0.05, 0.99];

pub(super) fn draw(figures: &Figures<'_>, words: &Words) -> Option<Result<Chart, ReportError>> {
    let past = &figures.input.past;
    let (first, baseline) = (past.latencies.first()?, past.baseline.as_ref()?.epoch.id);
    let texts = &words.charts;
    let title = (texts.latency_title)(first.cell);
    let notes = [texts.latency_note];
    let top = canvas::header_height(&notes, WIDTH) + TITLE;
    let columns = past.latencies.len().max(1) as f64;
    let slot = (WIDTH - 2.0 * MARGIN - GUTTER * (columns - 1.0)) / columns;
    Some(canvas::draw(LATENCY_FILE, &title, (WIDTH, top + HEIGHT + BELOW), |canvas| {
        canvas.header(&title, &notes, WIDTH);
        for (index, change) in past.latencies.iter().enumerate() {
            let left = MARGIN + LEFT + index as f64 * (slot + GUTTER);
            let area = Area { left, top, width: slot - LEFT, height: HEIGHT };
            draw_panel(canvas, change, (baseline, figures.input.epoch.id), words, area);
        }
    }))
}

fn draw_panel(canvas: &mut Canvas<'_>, change: &LatencyChange, epochs: (EpochId, EpochId), words: &Words, area: Area) {
    let texts = &words.charts;
    let ends = |of: &Distribution| SHOWN.map(|share| quantile(of, share));
    let values = ends(&change.before).into_iter().chain(ends(&change.since)).flatten();
    let Some(scale) = LogScale::over(values).map(LogScale::with_air) else { return };
    let line = |number: f64| area.top - TITLE + 14.0 + number * 16.0;
    let title = Ink::label(Anchor::Start).bold().coloured(palette::INK);
    canvas.text((texts.latency_measure)(change.measure), (area.left - LEFT, line(0.0)), title);
    let told = |of: &Distribution, share: f64| seconds(quantile(of, share));
    let legend = [
        ((texts.latency_before)(epochs.0.0, &told(&change.before, 0.5), &told(&change.before, 0.95)), palette::MUTED),
        ((texts.latency_since)(epochs.1.0, &told(&change.since, 0.5), &told(&change.since, 0.95)), palette::LINE),
    ];
    for ((text, colour), number) in legend.iter().zip([1.0, 2.0]) {
        let y = line(number);
        canvas.line((area.left - LEFT, y), (area.left - LEFT + 18.0, y), *colour, 2);
        canvas.text(text, (area.left - LEFT + 24.0, y), Ink::label(Anchor::Start).small().coloured(*colour));
    }
    for percent in [0_u32, 25, 50, 75, 100] {
        let y = area.bottom() - f64::from(percent) / 100.0 * area.height;
        canvas.hairline(area.left, area.right(), y, if percent == 0 { palette::AXIS } else { palette::GRID });
        canvas.text(&format!("{percent} %"), (area.left - 8.0, y), Ink::label(Anchor::End).small());
    }
    for (value, label) in scale.ticks() {
        let at = (area.left + scale.share(value) * area.width, area.bottom() + 14.0);
        canvas.text(&label, at, Ink::label(Anchor::Middle).small());
    }
    for (of, colour) in [(&change.before, palette::MUTED), (&change.since, palette::LINE)] {
        canvas.path(&steps(of, scale, area), colour, 2);
    }
}

/// The least value that at least that share of all values does not exceed.
fn quantile(of: &Distribution, share: f64) -> Option<f64> {
    let wanted = share * of.total() as f64;
    let mut seen = 0;
    let reaches = |&&(_, count): &&(f64, u64)| {
        seen += count;
        seen as f64 >= wanted
    };
    of.counts.iter().find(reaches).map(|(seconds, _)| *seconds)
}

/// The distribution function as a line of steps, a point for each pixel that it crosses.
fn steps(of: &Distribution, scale: LogScale, area: Area) -> Vec<(f64, f64)> {
    let total = of.total().max(1) as f64;
    let mut path: Vec<(f64, f64)> = Vec::new();
    let (mut seen, mut height) = (0, area.bottom());
    for &(seconds, count) in &of.counts {
        let x = (area.left + scale.share(seconds) * area.width).round();
        seen += count;
        let y = (area.bottom() - seen as f64 / total * area.height).round();
        if path.last().is_none_or(|last| last.0 < x) {
            path.push((x, height));
        }
        if y < height {
            path.push((x, y));
            height = y;
        }
    }
    path.dedup();
    path.push((area.right(), height));
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_counts() {
        let of = Distribution { counts: vec![(1.0, 1), (2.0, 2), (4.0, 1)] };
        let check = |share: f64, expected: f64| assert_eq!(quantile(&of, share), Some(expected), "{share}");
        check(0.0, 1.0);
        check(0.25, 1.0);
        check(0.5, 2.0);
        check(0.75, 2.0);
        check(1.0, 4.0);
        assert_eq!(quantile(&Distribution::default(), 0.5), None);
    }

    #[test]
    fn the_line_rises_from_nothing_to_all() {
        let of = Distribution { counts: (1..=5000_u32).map(|n| (f64::from(n) / 1000.0, 1)).collect() };
        let scale = LogScale::over([0.001, 5.0].into_iter()).expect("is positive");
        let area = Area { left: 0.0, top: 0.0, width: 300.0, height: 200.0 };
        let path = steps(&of, scale, area);
        assert_eq!(path.first(), Some(&(0.0, 200.0)));
        assert_eq!(path.last(), Some(&(300.0, 0.0)));
        assert!(path.len() < 900, "{}", path.len());
        assert!(path.windows(2).all(|pair| pair[0].0 <= pair[1].0 && pair[0].1 >= pair[1].1), "{path:?}");
    }
}
