//! How good the detector is.
#![expect(clippy::expect_used, clippy::indexing_slicing, clippy::cast_possible_truncation, reason = "a bench may end at the first surprise")]

mod scorer;
mod series;

use llmsoak::analysis::regression::{Detector, Finding, Settings};
use scorer::{Score, Told};
use series::{Kind, Noise, SIZES, Series};

fn ours(series: &Series) -> Vec<Told> {
    let mut detector = Detector::new(Settings::default());
    let mut told = Vec::new();
    for cycle in &series.cycles {
        for finding in detector.observe(cycle) {
            if let Finding::Changed(event) = finding {
                told.push(Told {
                    measure: event.measure,
                    detected: event.detected.cycle as usize,
                    changed: event.changed.cycle as usize,
                    ratio: event.ratio.value,
                    cause: Some((event.cause.as_str(), event.components.first().map(|c| c.as_str()))),
                });
            }
        }
    }
    told
}

fn main() {
    let repeats = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(4);
    let half = std::env::args().nth(2).and_then(|n| n.parse().ok()).unwrap_or(0);
    let verbose = std::env::args().nth(3).is_some();
    let mut score = Score::default();
    for (index, series) in series::set(half, repeats).enumerate() {
        let told = ours(&series);
        if verbose {
            let before = (score.false_alarms, score.stray_alarms);
            score.add(&series, &told);
            if (score.false_alarms, score.stray_alarms) != before {
                println!("{index} {:?} truth {:?} changes {:?} dips {:?} cells {} sec {}", series.nature.noise, series.truth, series.nature.changes,
                    series.nature.dips.iter().enumerate().filter(|(_, d)| **d).map(|(i, _)| i).collect::<Vec<_>>(), series.nature.cells.len(), series.nature.seconds_per_cycle);
                for told in &told { println!("     {told:?}"); }
            }
        } else {
            score.add(&series, &told);
        }
    }
    print(&score);
}

fn print(score: &Score) {
    let (rate, upper) = score.false_alarms_per_1000();
    println!("changeless cycles {}, false alarms {} = {rate:.2} in 1000 (upper {upper:.2}); strays {} = {:.2} in 1000", score.changeless_cycles, score.false_alarms, score.stray_alarms, score.strays_per_1000());
    println!("delay {:?}, size error {:?}, causes {:?}", score.median_delay(), score.median_size_error(), score.causes_right());
    for size in SIZES {
        let (recall, of) = score.recall(|o| o.size == size);
        println!("size {size}: {:.1} % of {of}", recall * 100.0);
    }
    for is_known in [true, false] {
        for kind in Kind::ALL {
            for noise in Noise::ALL {
                print!("{} {kind:?} {noise:?}:", if is_known { "known" } else { "unknown" });
                for size in SIZES {
                    let (recall, _) = score.recall(|o| o.size == size && o.kind == kind && o.noise == noise && o.is_known == is_known);
                    print!(" {:>4.0}", recall * 100.0);
                }
                let wrong = score.outcomes.iter().filter(|o| o.kind == kind && o.noise == noise && o.is_known == is_known && o.hit.is_some_and(|h| h.is_cause_right == Some(false))).count();
                let hits: Vec<f64> = score.outcomes.iter().filter(|o| o.kind == kind && o.noise == noise && o.is_known == is_known).filter_map(|o| o.hit.map(|h| h.delay as f64)).collect();
                println!("   wrong causes {wrong} of {} delay {:?}", hits.len(), llmsoak::analysis::quantile::median(&hits));
            }
        }
    }
}
