//! The report as a whole.

use jiff::Timestamp;

use super::fixture::{after_a_change, empty, found, measured, named, rejected, sample, spread};
use super::{Chart, Report, ReportInput, html, render, snapshot};
use crate::domain::plan::Language;
use crate::domain::{Cell, Conditions, Grid, InvalidReason, Sample, ThrottleReason, Verdict};

fn small() -> Grid {
    Grid::new(&[1, 2, 4], &[1, 2, 8], true).expect("is sound")
}

fn report_of(input: &ReportInput) -> Report {
    render(input, Language::English).expect("can be rendered")
}

fn chart<'a>(report: &'a Report, file_name: &str) -> &'a str {
    &report.charts.iter().find(|chart| chart.file_name == file_name).expect("has that chart").svg
}

/// What every report keeps, whatever went into it.
fn check_whole(report: &Report) {
    for chart in &report.charts {
        assert!(report.markdown.contains(&format!("(charts/{})", chart.file_name)), "{} is not shown", chart.file_name);
        assert!(!chart.svg.contains("NaN") && !chart.svg.contains("inf"), "{}: {}", chart.file_name, chart.svg);
    }
    assert_eq!(report.markdown.matches("](charts/").count(), report.charts.len());
    assert!(!report.markdown.contains("NaN"), "{}", report.markdown);
    assert_eq!(html(&report.markdown, &report.charts, None).matches("<svg ").count(), report.charts.len());
    // Every line of a table has as many cells as its head.
    let pipes = |line: &str| line.replace("\\|", "").matches('|').count();
    for pair in report.markdown.lines().collect::<Vec<_>>().windows(2) {
        if pair.iter().all(|line| line.starts_with('|')) {
            assert_eq!(pipes(pair[0]), pipes(pair[1]), "{pair:?}");
        }
    }
}

#[test]
fn a_small_report_reads_like_this() {
    let mut input = measured(small(), 3);
    let at = "2026-11-24T09:00:00Z".parse().expect("is a time");
    input.samples.push(rejected(&input, 4, Cell::new(4, 8), at));
    input.samples.push(sample(&input, 4, Cell::new(7, 3), at));
    let report = report_of(&input);
    check_whole(&report);
    insta::assert_snapshot!("small", report.markdown);
    insta::assert_snapshot!("small_heat_map", chart(&report, "heat-map.svg"));
    insta::assert_snapshot!("small_workers_2", chart(&report, "workers-2.svg"));
}

#[test]
fn a_change_is_told_with_its_size_time_and_cause() {
    for (language, name) in [(Language::English, "changed"), (Language::Russian, "changed_russian")] {
        let report = render(&after_a_change(small(), 5, 1.08), language).expect("can be rendered");
        check_whole(&report);
        // What the other snapshots do not have: the summary, and what changed.
        let sections = report.markdown.split("\n## ").collect::<Vec<_>>();
        let summary = sections[1].split("\n### ").next().expect("has a beginning");
        insta::assert_snapshot!(name, format!("{summary}\n## {}", sections[sections.len() - 2]));
    }
    let report = report_of(&after_a_change(small(), 5, 1.08));
    for name in ["trend", "latency", "step", "parallelism"] {
        insta::assert_snapshot!(format!("changed_{name}"), chart(&report, &format!("{name}.svg")));
    }
}

#[test]
fn no_change_and_too_little_are_told_as_such() {
    let check = |input: &ReportInput, expected: &str| {
        let report = report_of(input);
        check_whole(&report);
        let line = report.markdown.lines().find(|line| line.contains("Slower than before?")).expect("is answered");
        assert!(line.contains(expected), "{line}");
    };
    check(&after_a_change(small(), 6, 1.0), "Slower than before? No.** The speed is the same as in epoch 2");
    check(&after_a_change(small(), 6, 0.8), "Slower than before? No, faster: 2");
    let mut young = after_a_change(small(), 6, 1.2);
    let compared = young.past.compared.as_mut().expect("has a baseline");
    compared.measures.iter_mut().for_each(|comparison| comparison.verdict = Verdict::TooFew);
    check(&young, "Too early to say");
    check(&measured(small(), 6), "nothing to compare with");
    let mut alone = measured(small(), 6);
    alone.past.changes.push(found(&alone));
    check(
        &alone,
        "Slower than before? Yes.** **Since** 2026-11-24 08:04:25 UTC the speed has changed by −10 %; **cause**",
    );
    assert!(chart(&report_of(&alone), "trend.svg").contains("\n−10 %\n"), "the trend shows it");
}

#[test]
fn a_row_that_did_not_get_its_slots_is_warned_of_wherever_it_is_named() {
    let grid = Grid::new(&[1, 2], &[1, 8], false).expect("is sound");
    let server_mode = |reported: fn(Cell) -> u32| {
        let mut input = measured(grid.clone(), 3);
        input.epoch.load.insert("slots_mode".to_owned(), "server".to_owned());
        for sample in &mut input.samples {
            sample.measurement.reported_slots = Some(reported(sample.cell));
            sample.measurement.observed_parallelism_peak = Some(reported(sample.cell).min(sample.cell.batch));
        }
        input
    };
    for (language, warning) in [(Language::English, "**Warning:**"), (Language::Russian, "**Внимание:**")] {
        let granted = render(&server_mode(|cell| cell.workers), language).expect("can be rendered");
        assert!(!granted.markdown.contains(warning), "{}", granted.markdown);
        let ignored = render(&server_mode(|_| 4), language).expect("can be rendered");
        check_whole(&ignored);
        // Below the optima, at the best configuration, and at each of the two rows.
        assert_eq!(ignored.markdown.matches(warning).count(), 4, "{}", ignored.markdown);
        assert!(ignored.markdown.contains("| 4.0 (3.5 – 4.5) |"), "{}", ignored.markdown);
    }
}

#[test]
fn what_the_gpus_did_is_told_where_it_is_known() {
    let mut input = measured(small(), 3);
    for (language, heading) in
        [(Language::English, "### GPU while the samples ran"), (Language::Russian, "### GPU во время измерений")]
    {
        assert!(!render(&input, language).expect("can be rendered").markdown.contains(heading));
    }
    for (number, sample) in input.samples.iter_mut().enumerate() {
        sample.measurement.conditions = Conditions {
            gpu_temperature_celsius: Some(60.0 + number as f64),
            power_watts: Some(250.0),
            gpu_memory_used_bytes: Some(6 << 30),
            throttle_reasons: if number < 2 { [ThrottleReason::PowerCap].into() } else { Default::default() },
            energy_joules: Some(0.5 * sample.measurement.output_tokens as f64),
            ..Conditions::default()
        };
    }
    let hottest = 59 + input.samples.len();
    let report = report_of(&input);
    check_whole(&report);
    let rows = report.markdown.split_whitespace().collect::<Vec<_>>().join(" ");
    for row in [
        format!("(60.00 – {hottest}.00) |"),
        "| power, W | 250.0 (250.0 – 250.0) |".to_owned(),
        "| memory used, GiB | 6.000 (6.000 – 6.000) |".to_owned(),
        "| energy of an output token, J | 0.5000 (0.5000 – 0.5000) |".to_owned(),
        "| throttled by (samples) | `power_cap` (2) |".to_owned(),
    ] {
        assert!(rows.contains(&row), "no {row} in\n{}", report.markdown);
    }
    // What nobody told has no line.
    assert!(!rows.contains("| clock, MHz |"), "{}", report.markdown);
    check_whole(&render(&input, Language::Russian).expect("can be rendered"));
}

#[test]
fn in_russian_it_reads_like_this() {
    let mut input = measured(small(), 3);
    input.samples.push(rejected(&input, 4, Cell::new(4, 8), input.epoch.last_seen));
    let report = render(&input, Language::Russian).expect("can be rendered");
    check_whole(&report);
    insta::assert_snapshot!("russian", report.markdown);
    assert!(html(&report.markdown, &report.charts, None).contains("<html lang=\"ru\">"));
    assert!(html(&report_of(&input).markdown, &[], None).contains("<html lang=\"en\">"));
}

/// No phrase was left in English: of words in Latin letters there are names alone.
#[test]
fn in_russian_all_words_are_russian() {
    const NAMES: &[&str] = &[
        "llmsoak",
        "seed",
        "workers",
        "Workers",
        "worker",
        "workstation",
        "gemma",
        "exp",
        "server",
        "version",
        "min",
        "usage",
        "TTFT",
        "ITL",
        "TPOT",
        "TCP",
        "TLS",
        "URL",
        "UTC",
    ];
    let mut noisy = measured(small(), 2);
    noisy.samples.push(rejected(&noisy, 4, Cell::new(4, 8), noisy.epoch.last_seen));
    noisy.samples.push(sample(&noisy, 4, Cell::new(7, 3), noisy.epoch.last_seen));
    for input in [noisy, empty(small()), after_a_change(small(), 5, 1.08)] {
        let Report { markdown, charts } = render(&input, Language::Russian).expect("can be rendered");
        // What is code, or where a chart is, has no language.
        let prose = markdown.split('`').step_by(2).collect::<String>().replace("](charts/", " ");
        let texts =
            |svg: &str| svg.split('>').filter_map(|part| Some(part.split_once('<')?.0.to_owned())).collect::<String>();
        let drawn = charts
            .iter()
            .map(|chart| texts(chart.svg.split_once("</style>").expect("has a style").1))
            .collect::<Vec<_>>()
            .join(" ");
        let words = |text: &str| {
            let words = text.split(|c: char| !c.is_alphabetic());
            let is_latin = |word: &&str| word.len() > 2 && word.is_ascii();
            words.filter(is_latin).map(str::to_owned).collect::<Vec<_>>()
        };
        let files: Vec<String> = charts.iter().flat_map(|chart| words(&chart.file_name)).collect();
        let foreign: Vec<String> = [words(&prose), words(&drawn)]
            .concat()
            .into_iter()
            .filter(|word| !NAMES.contains(&word.as_str()) && !files.contains(word))
            .collect();
        assert!(foreign.is_empty(), "{foreign:?}");
    }
}

#[test]
fn titles_fit_on_their_cards() {
    for input in [after_a_change(small(), 5, 1.08), measured(Grid::legacy(true), 2)] {
        for &language in Language::ALL {
            for Chart { file_name, svg } in render(&input, language).expect("can be rendered").charts {
                let width: f64 = svg.split('"').nth(1).and_then(|width| width.parse().ok()).expect("has a width");
                let title = svg.split_once("font-weight=\"bold\">\n").expect("has a title").1.lines().next();
                // Bold letters of that size are some nine pixels wide.
                let needed = 9.0 * title.expect("has a line").chars().count() as f64;
                assert!(needed <= width - 40.0, "{file_name}: {title:?}");
            }
        }
    }
}

#[test]
fn a_history_without_samples_says_so() {
    let report = report_of(&empty(small()));
    check_whole(&report);
    insta::assert_snapshot!("empty", report.markdown);
    assert!(chart(&report, "workers-4.svg").contains("no valid sample yet"));
}

#[test]
fn a_history_of_rejected_samples_claims_nothing() {
    let mut input = empty(small());
    input.samples.push(rejected(&input, 1, Cell::new(2, 8), input.epoch.first_seen));
    let report = report_of(&input);
    check_whole(&report);
    assert!(report.markdown.contains("No valid sample yet: 1 was rejected"), "{}", report.markdown);
    assert!(report.markdown.contains("no valid sample, 1 rejected"));
    assert!(!report.markdown.contains("**Best batch:**"));
}

#[test]
fn a_model_that_was_partly_on_the_cpu_carries_a_warning() {
    let mut input = measured(small(), 2);
    let warning = |input: &ReportInput| {
        let report = report_of(input);
        check_whole(&report);
        report.markdown.lines().find(|line| line.starts_with("**Warning:**")).map(str::to_owned)
    };
    assert_eq!(warning(&input), None);
    let invalid = Sample { invalid: vec![InvalidReason::ModelLoad], ..input.samples[0].clone() };
    input.samples.push(invalid);
    for (sample, share) in input.samples.iter_mut().rev().zip([0.1, 0.64, 0.9]) {
        sample.measurement.gpu_share = Some(share);
    }
    let expected = "**Warning:** in 2 samples not all of the model was on the GPU, at the least 64 %: \
                    the CPU worked on the rest.";
    assert_eq!(warning(&input).as_deref(), Some(expected), "a rejected sample is in no figure");
}

#[test]
fn a_cycle_under_way_leaves_its_gaps_open() {
    let mut input = measured(small(), 1);
    input.samples.truncate(2);
    let report = report_of(&input);
    check_whole(&report);
    assert!(report.markdown.contains("2 of 6 cells measured"), "{}", report.markdown);
    assert!(report.markdown.contains("not measured yet"));
}

#[test]
fn unusable_numbers_are_no_figures() {
    let mut input = measured(small(), 1);
    for sample in &mut input.samples {
        sample.measurement.tokens_per_second = f64::NAN;
        sample.measurement.total_seconds = f64::INFINITY;
    }
    check_whole(&report_of(&input));
}

#[test]
fn grids_of_all_sizes_are_drawn() {
    let one = Grid::new(&[1], &[1], true).expect("is sound");
    let large = Grid::new(&(1..=40).collect::<Vec<_>>(), &(1..=70).collect::<Vec<_>>(), false).expect("is sound");
    for (grid, cycles) in [(one, 1), (Grid::legacy(false), 2), (large, 1)] {
        check_whole(&report_of(&measured(grid, cycles)));
    }
}

#[test]
fn the_same_input_gives_the_same_bytes_in_whatever_order_the_samples_come() {
    let input = measured(Grid::legacy(true), 3);
    let mut turned = input.clone();
    turned.samples.reverse();
    assert_eq!(report_of(&input), report_of(&input));
    assert_eq!(report_of(&input), report_of(&turned));
}

#[test]
fn hostile_names_stay_words() {
    let hostile = "a|b`c``<script>alert(1)</script>\n# [x](javascript:y) ![i](http://z) </title>&amp;";
    let mut input = named(small(), hostile, hostile);
    input.url = hostile.to_owned();
    input.epoch.identity.insert(hostile.to_owned(), hostile.to_owned());
    let report = report_of(&input);
    check_whole(&report);
    assert_eq!(report.markdown.lines().filter(|line| line.starts_with("# ")).count(), 1);
    let page = html(&report.markdown, &report.charts, None);
    assert!(!page.contains("<script"), "{page}");
    assert!(!page.contains("<a ") && !page.contains("<img"), "{page}");
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
}

/// Writes the reports that people look at, where `LLMSOAK_REPORT_DIR` names a folder.
#[test]
fn pictures_to_look_at() {
    let Some(dir) = std::env::var_os("LLMSOAK_REPORT_DIR").map(std::path::PathBuf::from) else { return };
    let grid = |workers: &[u32], batch: &[u32]| Grid::new(workers, batch, true).expect("is sound");
    let wide = (1..=40).collect::<Vec<_>>();
    let inputs = [
        ("legacy", measured(Grid::legacy(true), 5)),
        ("changed", after_a_change(Grid::legacy(true), 40, 1.05)),
        ("four", measured(grid(&[1, 2, 4, 8], &[1, 2, 4, 16]), 2)),
        ("one", measured(grid(&[4], &[8]), 1)),
        ("noisy", spread(Grid::legacy(true), 9, 0.2)),
        ("wide", measured(grid(&wide, &wide), 1)),
        ("empty", empty(Grid::automatic(Some(4), true))),
    ];
    for (name, input) in inputs {
        for &language in Language::ALL {
            let report = render(&input, language).expect("can be rendered");
            let name = format!("{name}-{}", language.code());
            let folder = snapshot::write(&dir, &report, &name, Timestamp::UNIX_EPOCH, 1).expect("can be written");
            std::fs::write(folder.join("report.html"), html(&report.markdown, &report.charts, None))
                .expect("can be written");
        }
    }
}
