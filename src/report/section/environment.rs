//! Under which circumstances the figures were measured.

use std::collections::BTreeMap;

use super::super::figures::Figures;
use super::super::markdown::{Align, Table, code};
use super::super::number::time;
use super::super::words::Words;
use super::{Page, conditions};
use crate::domain::{Facts, TokenSource};

pub(super) fn write(page: &mut Page, figures: &Figures<'_>, words: &Words) {
    let epoch = &figures.input.epoch;
    page.heading(2, words.environment);
    page.heading(3, words.identity);
    facts(page, words, &epoch.identity);
    page.heading(3, words.load);
    facts(page, words, &epoch.load);
    page.heading(3, words.run);
    run(page, figures, words);
    conditions::write(page, figures, words);
}

fn table(words: &Words) -> Table {
    Table::new(words.fact_columns.map(|column| (column, Align::Left)))
}

fn facts(page: &mut Page, words: &Words, facts: &Facts) {
    if facts.is_empty() {
        page.paragraph(words.no_facts);
        return;
    }
    let mut table = table(words);
    for (name, value) in facts {
        table.row([code(name), code(value)]);
    }
    page.table(&table);
}

/// How the samples came about.
fn run(page: &mut Page, figures: &Figures<'_>, words: &Words) {
    let input = figures.input;
    let names = &words.run_facts;
    let measurements = || input.samples.iter().map(|sample| &sample.measurement);
    let mut sources: BTreeMap<TokenSource, usize> = BTreeMap::new();
    for measurement in measurements() {
        *sources.entry(measurement.token_source).or_default() += 1;
    }
    let sources: Vec<String> = sources.iter().map(|(source, samples)| format!("{source} ({samples})")).collect();
    let valid = figures.valid_samples();
    let facts = [
        (names.url, (!input.url.is_empty()).then(|| code(&input.url))),
        (names.epoch, Some(input.epoch.id.to_string())),
        (names.epoch_began, Some(time(input.epoch.first_seen))),
        (names.period, figures.period().map(|(from, to)| format!("{} – {}", time(from), time(to)))),
        (names.cycles, Some(input.complete_cycles.to_string())),
        (names.samples, Some(format!("{valid} + {}", input.samples.len() - valid))),
        (names.requests, Some(measurements().map(|m| u64::from(m.requests)).sum::<u64>().to_string())),
        (names.output_tokens, Some(measurements().map(|m| u128::from(m.output_tokens)).sum::<u128>().to_string())),
        (names.token_source, (!sources.is_empty()).then(|| sources.join(", "))),
        // An import has no schedule of this program.
        (names.seed, input.seed.filter(|_| input.epoch.source().is_none()).map(|seed| code(&seed.to_string()))),
    ];
    let mut table = table(words);
    for (name, value) in facts.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        table.row([name.to_owned(), value]);
    }
    page.table(&table);
}
