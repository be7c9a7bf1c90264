//! The tables that are printed.

use super::scorer::{Outcome, Score, Told};
use super::series::{Kind, Noise, SIZES, Series};

fn percent(part: f64) -> String {
    format!("{:.0}", part * 100.0)
}

fn of_those_told(right: Option<f64>) -> String {
    right.map_or("-".to_owned(), |right| format!("{:.1} %", right * 100.0))
}

/// One row: what the targets are about.
pub fn summary(name: &str, score: &Score) {
    let (rate, upper) = score.false_alarms_per_1000();
    println!("\n{name}: {}", if score.passes() { "passes" } else { "fails" });
    println!(
        "  false alarms {} in {} changeless cycles: {rate:.2} in 1,000 (95 %: below {upper:.2}); beside changes {:.2}",
        score.false_alarms,
        score.changeless_cycles,
        score.strays_per_1000()
    );
    let recalls: Vec<String> =
        SIZES.iter().map(|&size| format!("{:.1}", score.recall(|outcome| outcome.size == size).0 * 100.0)).collect();
    println!("  recall at 2 3 5 8 15 %: {}", recalls.join(" "));
    println!(
        "  median delay {:?} cycles, median error of the size {:.2} points, causes right {}, scopes right {}",
        score.median_delay(),
        score.median_size_error().unwrap_or(f64::NAN),
        of_those_told(score.causes_right()),
        of_those_told(score.scopes_right())
    );
}

/// Recall by stratum, in percent; with the exact test's beside it.
pub fn strata(score: &Score, finds: Option<&[bool]>) {
    println!("\n| noise | time | change | n | 2 % | 3 % | 5 % | 8 % | 15 % | causes wrong | delay |");
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    let mut worst: Vec<String> = Vec::new();
    for is_known in [true, false] {
        for kind in Kind::ALL {
            for noise in Noise::ALL {
                let is_here =
                    |outcome: &Outcome| outcome.is_known == is_known && outcome.kind == kind && outcome.noise == noise;
                let here: Vec<(&Outcome, bool)> = (score.outcomes.iter().enumerate())
                    .filter(|(_, outcome)| is_here(outcome))
                    .map(|(index, outcome)| (outcome, finds.is_some_and(|finds| finds[index])))
                    .collect();
                let cells: Vec<String> = SIZES
                    .iter()
                    .map(|&size| {
                        let of = here.iter().filter(|(outcome, _)| outcome.size == size);
                        let (mut count, mut hits, mut exact) = (0.0, 0.0, 0.0);
                        for (outcome, is_found) in of {
                            count += 1.0;
                            hits += f64::from(u8::from(outcome.hit.is_some()));
                            exact += f64::from(u8::from(*is_found));
                        }
                        if finds.is_some() {
                            format!("{} ({})", percent(hits / count), percent(exact / count))
                        } else {
                            percent(hits / count)
                        }
                    })
                    .collect();
                let hits = here.iter().filter_map(|(outcome, _)| outcome.hit);
                let found = here.iter().filter(|(outcome, _)| outcome.hit.is_some()).count();
                let exact = here.iter().filter(|(_, is_found)| *is_found).count();
                if finds.is_some() && (found as f64) < 0.9 * exact as f64 {
                    worst.push(format!("{noise:?} {kind:?} known {is_known}: {found} of the exact test's {exact}"));
                }
                let wrong = hits.clone().filter(|hit| hit.is_cause_right == Some(false)).count();
                let delays: Vec<f64> = hits.map(|hit| hit.delay as f64).collect();
                println!(
                    "| {noise:?} | {} | {kind:?} | {} | {} | {wrong} of {} | {:?} |",
                    if is_known { "known" } else { "unknown" },
                    here.len(),
                    cells.join(" | "),
                    delays.len(),
                    llmsoak::analysis::quantile::median(&delays).unwrap_or(f64::NAN),
                );
            }
        }
    }
    println!("\nbelow 0.9 of the exact test: {worst:#?}");
}

/// A series with what was wrong about it.
pub fn list(series: &Series, told: &[Told]) {
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
