//! The tables that are printed.

use super::scorer::{Outcome, Score, Told};
use super::series::{Kind, Noise, SIZES, Series};

fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::AllCells => "all cells",
        Kind::BatchFrom16 => "batch ≥ 16",
        Kind::TtftAlone => "TTFT alone",
        Kind::Ramp => "ramp",
    }
}

fn noise_word(noise: Noise) -> &'static str {
    match noise {
        Noise::Quiet => "quiet",
        Noise::Normal => "normal",
        Noise::Noisy => "noisy",
    }
}

fn percent(part: f64) -> String {
    format!("{:.0}", part * 100.0)
}

pub(crate) fn summary_head() {
    println!(
        "| detector | passes | false alarms in 1,000 cycles (95 % below) | 2 % | 3 % | 5 % | 8 % | 15 % | delay | \
         error of the size | causes right |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
}

/// One row: what the targets are about.
pub(crate) fn summary(name: &str, score: &Score) {
    let (rate, upper) = score.false_alarms_per_1000();
    let recalls = SIZES.map(|size| format!("{:.1}", score.recall(|outcome| outcome.size == size) * 100.0));
    let number = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.2}"));
    println!(
        "| {name} | {} | {rate:.2} ({upper:.2}) | {} | {} | {} | {} |",
        if score.passes() { "yes" } else { "no" },
        recalls.join(" | "),
        score.median_delay().map_or("–".to_owned(), |delay| format!("{delay:.0}")),
        number(score.median_size_error()),
        score.causes_right().map_or("–".to_owned(), |right| format!("{:.1} %", right * 100.0)),
    );
}

pub(crate) fn stress_head() {
    println!(
        "| climate | false alarms in 1,000 cycles (95 % below) | beside changes | 3 % | 5 % | 8 % | delay | \
         error of the size | causes right |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
}

/// One row: how the detector does in a climate.
pub(crate) fn stress(name: &str, score: &Score) {
    let (rate, upper) = score.false_alarms_per_1000();
    let recalls = [SIZES[1], SIZES[2], SIZES[3]]
        .map(|size| format!("{:.1}", score.recall(|outcome| outcome.size == size) * 100.0));
    println!(
        "| {name} | {rate:.2} ({upper:.2}) | {:.2} | {} | {:.0} | {:.2} | {:.1} % |",
        score.strays_per_1000(),
        recalls.join(" | "),
        score.median_delay().unwrap_or(f64::NAN),
        score.median_size_error().unwrap_or(f64::NAN),
        score.causes_right().unwrap_or(f64::NAN) * 100.0,
    );
}

/// What the summary's row leaves out.
pub(crate) fn details(score: &Score) {
    println!(
        "\n{} changeless cycles with {} false alarms; beside {} changes {:.2} in 1,000; scopes right {:.0} %",
        score.changeless_cycles,
        score.false_alarms,
        score.outcomes.len(),
        score.strays_per_1000(),
        score.scopes_right().unwrap_or(f64::NAN) * 100.0,
    );
}

/// What was found of some changes.
struct Found {
    ours: usize,
    exact: usize,
    of: usize,
}

impl Found {
    fn count<'a>(outcomes: impl Iterator<Item = &'a (&'a Outcome, bool)>) -> Self {
        let mut found = Self { ours: 0, exact: 0, of: 0 };
        for (outcome, is_found) in outcomes {
            found.ours += usize::from(outcome.hit.is_some());
            found.exact += usize::from(*is_found);
            found.of += 1;
        }
        found
    }

    fn cell(&self, has_exact: bool) -> String {
        let of = self.of as f64;
        let ours = percent(self.ours as f64 / of);
        if has_exact { format!("{ours} ({})", percent(self.exact as f64 / of)) } else { ours }
    }
}

/// Recall by stratum, in percent; with the exact test's in brackets, and ours as a part of it.
pub(crate) fn strata(score: &Score, finds: Option<&[bool]>) {
    println!("\n| noise | time | change | 2 % | 3 % | 5 % | 8 % | 15 % | all | of the exact | causes right | delay |");
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for (is_known, kind) in [true, false].into_iter().flat_map(|is_known| Kind::ALL.map(|kind| (is_known, kind))) {
        for noise in Noise::ALL {
            let here: Vec<(&Outcome, bool)> = (score.outcomes.iter().enumerate())
                .filter(|(_, outcome)| (outcome.is_known, outcome.kind, outcome.noise) == (is_known, kind, noise))
                .map(|(index, outcome)| (outcome, finds.is_some_and(|finds| finds[index])))
                .collect();
            let of_size = |size: f64| Found::count(here.iter().filter(move |(outcome, _)| outcome.size == size));
            let cells = SIZES.map(|size| of_size(size).cell(finds.is_some()));
            let all = Found::count(here.iter());
            let hits: Vec<_> = here.iter().filter_map(|(outcome, _)| outcome.hit).collect();
            let right = hits.iter().filter(|hit| hit.is_cause_right == Some(true)).count();
            let delays: Vec<f64> = hits.iter().map(|hit| hit.delay as f64).collect();
            println!(
                "| {} | {} | {} | {} | {} | {:.2} | {} | {:?} |",
                noise_word(noise),
                if is_known { "known" } else { "unknown" },
                kind_word(kind),
                cells.join(" | "),
                all.cell(finds.is_some()),
                all.ours as f64 / all.exact as f64,
                percent(right as f64 / hits.len() as f64),
                llmsoak::analysis::quantile::median(&delays).unwrap_or(f64::NAN),
            );
        }
    }
}

/// A series with what was wrong about it.
pub(crate) fn list(series: &Series, told: &[Told]) {
    let nature = &series.nature;
    let dips: Vec<usize> = (0..nature.dips.len()).filter(|&cycle| nature.dips[cycle]).collect();
    println!(
        "{:?} {:?} changes {:?} dips {dips:?} cells {} seconds {}",
        nature.noise,
        series.truth,
        nature.changes,
        nature.cells.len(),
        nature.seconds_per_cycle
    );
    for told in told {
        println!("    {told:?}");
    }
}
