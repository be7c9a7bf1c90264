//! What the GPUs did while the samples ran, shortly.

use std::collections::BTreeMap;

use super::super::figures::Figures;
use super::super::markdown::{Align, Table, code};
use super::super::number::figure;
use super::super::words::Words;
use super::Page;
use crate::analysis::quantile::median;
use crate::domain::{Measurement, ThrottleReason};

/// Of the valid samples; nothing where nobody told anything.
pub(super) fn write(page: &mut Page, figures: &Figures<'_>, words: &Words) {
    let valid = figures.input.samples.iter().filter(|sample| sample.is_valid());
    let measurements: Vec<&Measurement> = valid.map(|sample| &sample.measurement).collect();
    if !measurements.iter().any(|measurement| measurement.conditions.is_known()) {
        return;
    }
    let spread = |value: fn(&Measurement) -> Option<f64>| {
        let values: Vec<f64> = measurements.iter().filter_map(|measurement| value(measurement)).collect();
        spread(&values)
    };
    let names = &words.condition_facts;
    let rows = [
        (names.temperature, spread(|m| m.conditions.gpu_temperature_celsius)),
        (names.sm_clock, spread(|m| m.conditions.sm_clock_megahertz)),
        (names.memory_clock, spread(|m| m.conditions.memory_clock_megahertz)),
        (names.utilization, spread(|m| Some(m.conditions.gpu_utilization? * 100.0))),
        (names.memory, spread(|m| Some(m.conditions.gpu_memory_used_bytes? as f64 / GIBIBYTE))),
        (names.power, spread(|m| m.conditions.power_watts)),
        (names.energy, spread(Measurement::joules_per_output_token)),
        (names.throttled, throttled(&measurements)),
    ];
    page.heading(3, words.conditions);
    let mut table = Table::new(words.condition_columns.map(|column| (column, Align::Left)));
    for (name, value) in rows.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        table.row([name.to_owned(), value]);
    }
    page.table(&table);
}

const GIBIBYTE: f64 = (1_u64 << 30) as f64;

/// The median, and between which values the others lie.
fn spread(values: &[f64]) -> Option<String> {
    let middle = median(values)?;
    let lowest = values.iter().copied().min_by(f64::total_cmp)?;
    let highest = values.iter().copied().max_by(f64::total_cmp)?;
    Some(format!("{} ({} – {})", figure(middle), figure(lowest), figure(highest)))
}

/// Each reason with the samples that it was seen in.
fn throttled(measurements: &[&Measurement]) -> Option<String> {
    let mut samples: BTreeMap<ThrottleReason, usize> = BTreeMap::new();
    for reason in measurements.iter().flat_map(|measurement| &measurement.conditions.throttle_reasons) {
        *samples.entry(*reason).or_default() += 1;
    }
    let reasons: Vec<String> =
        samples.iter().map(|(reason, samples)| format!("{} ({samples})", code(reason.as_str()))).collect();
    (!reasons.is_empty()).then(|| reasons.join(", "))
}
