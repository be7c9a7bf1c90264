//! The server as two numbers: a step of c answers takes a + b·c.

use super::super::chart;
use super::super::figures::Figures;
use super::super::number::{figure, milliseconds, percent, with_range};
use super::super::words::Words;
use super::Page;
use crate::analysis::step::{Fitted, StepFit};

/// The most cells off the line that are named.
const MISFITS_NAMED: usize = 8;

pub(super) fn write(page: &mut Page, figures: &Figures<'_>, words: &Words) {
    page.heading(2, words.step.heading);
    let Some(fit) = &figures.conclusions.step else {
        page.paragraph(words.step.too_few);
        return;
    };
    page.paragraph(sentences(fit, words));
    let (fixed, per_stream) = (fit.fixed_seconds.value, fit.per_stream_seconds.value);
    let title = (words.charts.step_title)(&milliseconds(Some(fixed)), &milliseconds(Some(per_stream)));
    page.chart(&title, chart::STEP_FILE);
}

fn sentences(fit: &StepFit, words: &Words) -> String {
    let texts = &words.step;
    let fitted = |number: &Fitted| {
        let [value, lower, upper] = [number.value, number.interval.lower, number.interval.upper].map(|s| 1e3 * s);
        with_range(value, lower, upper)
    };
    let mut sentences = vec![(texts.formula)(&fitted(&fit.fixed_seconds), &fitted(&fit.per_stream_seconds))];
    let (fixed, per_stream) = (fit.fixed_seconds.value, fit.per_stream_seconds.value);
    if fit.fixed_seconds.interval.lower <= 0.0 {
        sentences.push(texts.no_fixed.to_owned());
    }
    // A line that does not rise, or not by itself, has no such limit.
    if fit.fixed_seconds.interval.lower > 0.0 && fit.per_stream_seconds.interval.lower > 0.0 {
        sentences.push((texts.limit)(&figure(1.0 / per_stream), &figure_of_count(fixed / per_stream)));
    }
    sentences.push((texts.fits)(&percent(fit.relative_error), fit.points));
    if !fit.misfits.is_empty() {
        let mut misfits = fit.misfits.clone();
        misfits.sort_by(|one, other| other.1.ln().abs().total_cmp(&one.1.ln().abs()));
        let named = misfits.iter().take(MISFITS_NAMED).map(|(cell, ratio)| format!("{cell} ({ratio:.2})"));
        let more = misfits.len().saturating_sub(MISFITS_NAMED);
        let more = (more > 0).then(|| (words.more_cells)(more));
        sentences.push((texts.misfits)(&named.chain(more).collect::<Vec<_>>().join(", ")));
    }
    sentences.join(" ")
}

/// A count that need not be whole.
fn figure_of_count(count: f64) -> String {
    format!("{count:.1}")
}
