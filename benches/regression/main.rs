//! How good the detector is, on series whose truth is known, beside what else could be done.
//!
//! `cargo bench --bench regression` prints the tables of docs/regression.md, from the half of
//! the seeds that nothing was tuned on, and fails when a target is missed. `-- --tuning` is
//! the other half, `-- --repeats N` the size, `-- --list` shows what was wrong, `-- --quick`
//! leaves the rivals and the exact test out, and `-- --write DIR` writes the series as files
//! for `llmsoak backtest`.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a bench may end at the first surprise"
)]

mod climate;
mod recorded;
mod reference;
mod rivals;
mod scorer;
mod series;
mod tables;

use std::process::ExitCode;

use climate::Climate;
use llmsoak::analysis::regression::{Detector, Finding, Settings};
use rivals::{Means, Rival};
use scorer::{Score, Told};
use series::{Noise, Plan, SIZES, Series};

/// The rate of false alarms that all are set to, in 1,000 cycles.
const RATE: f64 = 0.5;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    let has = |word: &str| words.iter().any(|known| known == word);
    let repeats = words.iter().skip_while(|word| *word != "--repeats").nth(1);
    let repeats = repeats.and_then(|count| count.parse().ok()).unwrap_or(4);
    let half = u64::from(!has("--tuning"));

    if has("--stress") {
        stress(half, repeats, &words);
        return ExitCode::SUCCESS;
    }
    let set: Vec<Series> = series::set(half, repeats, Climate::USUAL, &SIZES).collect();
    if let Some(folder) = words.iter().skip_while(|word| *word != "--write").nth(1) {
        recorded::write(folder.as_ref(), &set);
        return ExitCode::SUCCESS;
    }
    let mut ours = Score::default();
    for series in &set {
        let told = told_by_ours(series);
        let before = (ours.false_alarms, ours.stray_alarms);
        ours.add(series, &told);
        if has("--list") && before != (ours.false_alarms, ours.stray_alarms) {
            tables::list(series, &told);
        }
    }
    tables::summary_head();
    tables::summary("llmsoak", &ours);
    if has("--quick") {
        tables::details(&ours);
        long_dips(half, repeats);
        tables::strata(&ours, None);
        return ExitCode::SUCCESS;
    }
    let tuning: Vec<Series> = series::set(0, repeats.min(4), Climate::USUAL, &SIZES).collect();
    let (tuning_means, means): (Vec<Means>, Vec<Means>) =
        (tuning.iter().map(Means::new).collect(), set.iter().map(Means::new).collect());
    let mut have_failed = true;
    for (name, settings) in Rival::NAMES.iter().zip(Rival::settings()) {
        let (rival, threshold) = best_setting(&settings, &tuning, &tuning_means);
        let mut score = Score::default();
        for (series, means) in set.iter().zip(&means) {
            score.add(series, &rival.told(means, threshold));
        }
        tables::summary(
            &if rival.is_tuned() { format!("{name}: {rival:?}, threshold {threshold:.1}") } else { (*name).to_owned() },
            &score,
        );
        have_failed &= !score.passes();
    }
    tables::details(&ours);
    long_dips(half, repeats);

    let changeless = tuning.iter().filter(|series| series.truth.is_none());
    let thresholds = reference::Thresholds::calibrate(changeless.step_by(3), RATE);
    println!("the exact test's thresholds: {:.2} known, {:.2} unknown", thresholds.known, thresholds.unknown);
    let finds: Vec<bool> =
        set.iter().filter(|series| series.truth.is_some()).map(|series| thresholds.finds(series)).collect();
    tables::strata(&ours, Some(&finds));
    if ours.passes() && have_failed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The detector in other climates than the usual one: those named, or all.
fn stress(half: u64, repeats: u64, words: &[String]) {
    tables::stress_head();
    let climates = std::iter::once(Climate::USUAL).chain(Climate::STRESSES);
    let is_asked = |climate: &Climate| words.iter().any(|word| word == climate.name);
    let are_named = climates.clone().any(|climate| is_asked(&climate));
    for climate in climates.filter(|climate| !are_named || is_asked(climate)) {
        let mut score = Score::default();
        for series in series::set(half, repeats, climate, &SIZES[1..4]) {
            let told = told_by_ours(&series);
            let before = (score.false_alarms, score.stray_alarms);
            score.add(&series, &told);
            if words.iter().any(|word| word == "--list") && before != (score.false_alarms, score.stray_alarms) {
                tables::list(&series, &told);
            }
        }
        tables::stress(climate.name, &score);
    }
}

/// What is told of dips that are longer than a dip may be, which no target is about.
fn long_dips(half: u64, repeats: u64) {
    let (mut dips, mut told) = (0, 0);
    for seed in 0..20 * repeats {
        let noise = Noise::ALL[seed as usize % 3];
        let plan = Plan { noise, change: None, dip_cycles: (4, 8), climate: Climate::USUAL };
        let series = series::draw(1_000_000 + 2 * seed + half, plan);
        let in_dip = &series.nature.dips;
        dips += (1..in_dip.len()).filter(|&cycle| in_dip[cycle] && !in_dip[cycle - 1]).count();
        told += told_by_ours(&series).len();
    }
    println!("dips of four to eight cycles: {told} events of {dips} dips");
}

fn told_by_ours(series: &Series) -> Vec<Told> {
    let mut detector = Detector::new(Settings::default());
    let mut told = Vec::new();
    for cycle in &series.cycles {
        for finding in detector.observe(cycle) {
            let Finding::Changed(event) = finding else { continue };
            told.push(Told {
                measure: event.measure,
                detected: event.detected.cycle as usize,
                changed: event.changed.cycle as usize,
                ratio: event.ratio.value,
                cause: Some((event.cause.as_str(), event.components.first().map(|component| component.as_str()))),
                scope: Some(event.scope.to_string()),
            });
        }
    }
    told
}

/// The setting that finds the most changes of the tuning half at the allowed rate.
fn best_setting(settings: &[Rival], set: &[Series], means: &[Means]) -> (Rival, f64) {
    let mut best = (settings[0], f64::INFINITY, -1.0);
    for &rival in settings {
        let score = |threshold: f64, with_changes: bool| {
            let mut score = Score::default();
            for (series, means) in set.iter().zip(means) {
                if with_changes || series.truth.is_none() {
                    score.add(series, &rival.told(means, threshold));
                }
            }
            score
        };
        // The rate falls with the threshold.
        let (mut low, mut high) = (1.0, 400.0);
        while rival.is_tuned() && high / low > 1.02 {
            let middle = f64::sqrt(low * high);
            let is_allowed = score(middle, false).false_alarms_per_1000().0 <= RATE;
            (low, high) = if is_allowed { (low, middle) } else { (middle, high) };
        }
        let recall = score(high, true).recall(|_| true);
        if recall > best.2 {
            best = (rival, high, recall);
        }
    }
    (best.0, best.1)
}
