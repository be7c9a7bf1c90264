//! What went wrong: failed requests by class, rejected samples by reason.

use std::collections::BTreeMap;

use super::super::figures::Figures;
use super::super::markdown::{Align, Table};
use super::super::number::percent;
use super::super::words::Words;
use super::Page;
use crate::domain::{FailureKind, InvalidReason};

pub(super) fn write(page: &mut Page, figures: &Figures<'_>, words: &Words) {
    page.heading(2, words.failures);
    failed_requests(page, figures, words);
    page.heading(3, words.rejections);
    rejected_samples(page, figures, words);
    let outside = figures.samples_outside_the_grid();
    if outside > 0 {
        page.paragraph((words.outside_the_grid)(outside));
    }
}

/// Counts the requests of valid and rejected samples alike.
fn failed_requests(page: &mut Page, figures: &Figures<'_>, words: &Words) {
    let measurements = || figures.input.samples.iter().map(|sample| &sample.measurement);
    let requests: u64 = measurements().map(|m| u64::from(m.requests)).sum();
    let mut failed: BTreeMap<FailureKind, u64> = BTreeMap::new();
    for (&kind, &count) in measurements().flat_map(|m| &m.failures) {
        *failed.entry(kind).or_default() += u64::from(count);
    }
    if failed.is_empty() {
        page.paragraph((words.no_failures)(requests));
    } else {
        let [class, count, share, meaning] = words.failure_columns;
        let mut table =
            Table::new([(class, Align::Left), (count, Align::Right), (share, Align::Right)]).and(meaning, Align::Left);
        for (kind, count) in failed {
            let share = percent(count as f64 / requests as f64);
            table.row([format!("`{kind}`"), count.to_string(), share, (words.failure_meaning)(kind).to_owned()]);
        }
        page.table(&table);
    }
    let short: u64 = measurements().map(|m| u64::from(m.short_outputs)).sum();
    if short > 0 {
        page.paragraph((words.short_outputs)(short));
    }
}

/// A sample counts once, under its first reason.
fn rejected_samples(page: &mut Page, figures: &Figures<'_>, words: &Words) {
    let mut rejected: BTreeMap<InvalidReason, usize> = BTreeMap::new();
    for &reason in figures.input.samples.iter().filter_map(|sample| sample.invalid.first()) {
        *rejected.entry(reason).or_default() += 1;
    }
    if rejected.is_empty() {
        page.paragraph(words.no_rejections);
        return;
    }
    let [reason, samples, meaning] = words.rejection_columns;
    let mut table = Table::new([(reason, Align::Left), (samples, Align::Right)]).and(meaning, Align::Left);
    for (reason, samples) in rejected {
        table.row([format!("`{reason}`"), samples.to_string(), (words.rejection_meaning)(reason).to_owned()]);
    }
    page.table(&table);
}
