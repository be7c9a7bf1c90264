//! The old script's report comes in and goes out again as it was, or not at all.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use llmsoak::domain::{Cell, Entry};
use llmsoak::exchange::{Format, Malformed, Reading, entries, format_of, survey};
use proptest::prelude::*;

use crate::support::legacy::{Figures, OPTIMA_COLUMNS, ROW_COLUMNS, best, by_workers, figures, headings, report};
use crate::support::{Process, Stage};

const MODEL: &str = "gemma3:4b-q8";

/// The tables of a Markdown text, by the last heading above each; their cells without padding.
fn tables(markdown: &str) -> BTreeMap<String, Vec<Vec<String>>> {
    let mut tables: BTreeMap<String, Vec<Vec<String>>> = BTreeMap::new();
    let mut section = String::new();
    for line in markdown.lines() {
        if let Some(heading) = line.strip_prefix("### ").or(line.strip_prefix("## ")) {
            section = heading.to_owned();
        } else if let Some(cells) = line.strip_prefix('|').and_then(|rest| rest.strip_suffix('|')) {
            let cells: Vec<String> = cells.split('|').map(|cell| cell.trim().to_owned()).collect();
            if !cells.iter().all(|cell| cell.ends_with("-:") || cell.ends_with("--")) {
                tables.entry(section.clone()).or_default().push(cells);
            }
        }
    }
    tables
}

/// A table begins with these columns and has these cells below them.
fn check_table(table: &[Vec<String>], columns: &[&str], expected: &[Vec<&str>]) {
    let (head, rows) = table.split_first().expect("a table has a head");
    assert_eq!(head.iter().take(columns.len()).collect::<Vec<_>>(), *columns);
    assert_eq!(rows.len(), expected.len());
    for (row, expected) in rows.iter().zip(expected) {
        assert_eq!(row.iter().take(columns.len()).collect::<Vec<_>>(), *expected);
    }
}

#[test]
fn imported_and_reported_in_russian_every_figure_and_heading_is_where_it_was() {
    let (stage, figures) = (Stage::new(), figures());
    let file = stage.write("old.md", &report(MODEL, &figures));
    let imported = stage.on_history("import", &[&file, "--time", "2025-03-31"]);
    assert_eq!(imported, format!("epoch 1: target legacy, model {MODEL}: 126 samples\n"));
    let written = stage.on_history("report", &["--language", "ru"]);
    let markdown = std::fs::read_to_string(written.trim()).expect("a report");
    let all_headings = markdown.lines().filter(|line| line.starts_with('#'));
    let expected = headings(MODEL, &figures);
    let old: BTreeSet<&String> = expected.iter().collect();
    let kept: Vec<&str> = all_headings.filter(|heading| old.contains(&(*heading).to_owned())).collect();
    assert_eq!(kept, expected);
    let tables = tables(&markdown);
    let optima: Vec<Vec<&str>> =
        by_workers(&figures).map(|(workers, row)| vec![workers, best(row).batch, best(row).printed[2]]).collect();
    let section = "Оптимальные параметры для разного количества параллельных запросов";
    check_table(&tables[section], &OPTIMA_COLUMNS, &optima);
    for (workers, row) in by_workers(&figures) {
        let expected: Vec<Vec<&str>> = row.iter().map(|f| [&[f.batch][..], &f.printed].concat()).collect();
        check_table(&tables[&format!("Результаты для {workers} параллельных запросов")], &ROW_COLUMNS, &expected);
    }
    let overall = best(&figures);
    for line in [
        format!("- **Количество workers:** {}", overall.workers),
        format!("- **Оптимальный размер пакета:** {}", overall.batch),
        format!("- **Скорость обработки:** {} токенов/сек", overall.printed[2]),
    ] {
        assert!(markdown.contains(&line), "{line}");
    }
}

#[test]
fn the_same_report_is_there_once_whenever_it_is_said_to_be_from() {
    let (stage, figures) = (Stage::new(), figures());
    let text = report(MODEL, &figures);
    let file = stage.write("old.md", &text);
    stage.on_history("import", &[&file]);
    let noted = stage.write("noted.md", &format!("\u{feff}{}\nA note.\n", text.replace('\n', "\r\n")));
    for arguments in [&[file.as_str()][..], &[&file, "--time", "2020-01-01"], &[&noted]] {
        let told = stage.on_history("import", arguments);
        assert_eq!(told, format!("epoch 1: target legacy, model {MODEL}: was there already\n"));
    }
    assert_eq!(stage.history().one::<u32>("SELECT COUNT(*) FROM sample"), 126);
    let other = stage.on_history("import", &[&file, "--target", "other"]);
    assert_eq!(other, format!("epoch 2: target other, model {MODEL}: 126 samples\n"));
}

#[test]
fn a_mutilated_report_leaves_no_trace() {
    let (stage, figures) = (Stage::new(), figures());
    let text = report(MODEL, &figures);
    let wrong = stage.write("old.md", &text.replace("9.37787", "9.3787"));
    let storage = stage.storage().display().to_string();
    let mut import = Process::start(&["import", &wrong, "--storage.path", &storage]);
    assert_eq!(import.code(), Some(1));
    let line = text.lines().position(|line| line.contains("9.37787")).expect("a row") + 1;
    let said = format!("llmsoak: {wrong}:{line}: 9.3787 s for 8 requests are not 1.17223 s a request\n");
    assert!(import.stderr().starts_with(&said), "{}", import.stderr());
    assert!(import.stderr().ends_with("  hint: nothing was imported\n"), "{}", import.stderr());
    assert!(!stage.storage().exists());
}

/// The samples of a text, as the import would write them.
fn read(text: &str) -> Result<BTreeMap<Cell, [f64; 4]>, Malformed> {
    let format = format_of(text)?;
    let reading = Reading { target: "legacy", measured_until: Timestamp::UNIX_EPOCH };
    let entries = || entries(format, &reading, || Ok(text.as_bytes())).expect("memory can be read");
    survey(entries())?;
    assert_eq!(format, Format::Legacy, "what was mutilated is nothing else that is sound");
    let samples = entries().filter_map(|entry| match entry.expect("was surveyed") {
        (_, Entry::Sample(sample)) => Some(*sample),
        _ => None,
    });
    let figures = samples.map(|sample| {
        let m = sample.measurement;
        (sample.cell, [m.total_seconds, m.seconds_per_request, m.tokens_per_second, m.output_tokens as f64])
    });
    Ok(figures.collect())
}

/// What a text must give that has lost nothing.
fn expected(figures: &[Figures]) -> BTreeMap<Cell, [f64; 4]> {
    let number = |text: &str| text.parse().expect("a whole number");
    let cell = |f: &Figures| Cell::new(number(f.workers), number(f.batch));
    figures.iter().map(|f| (cell(f), f.printed.map(|figure| figure.parse().expect("a number")))).collect()
}

#[test]
fn no_line_of_a_table_can_be_missed() {
    let figures = figures();
    let text = report(MODEL, &figures);
    assert_eq!(read(&text).as_ref(), Ok(&expected(&figures)));
    let lines: Vec<&str> = text.lines().collect();
    let without = |missing: usize| {
        let rest = lines.iter().enumerate().filter(|(line, _)| *line != missing);
        rest.map(|(_, line)| format!("{line}\n")).collect::<String>()
    };
    for (number, line) in lines.iter().enumerate() {
        let outcome = read(&without(number));
        if line.starts_with('|') || line.contains("Результаты для") || number == 0 {
            assert!(outcome.is_err(), "line {}: {line}", number + 1);
        } else if let Ok(read) = outcome {
            assert_eq!(read, expected(&figures), "line {}: {line}", number + 1);
        }
    }
}

proptest! {
    /// Whatever befalls a report, what is still taken from it is what was printed, but for
    /// digits too small to notice.
    #[test]
    fn a_mutilated_report_is_refused_or_taken_as_it_was(
        place in any::<prop::sample::Index>(), length in 0_usize..40, instead in "[0-9|. \n#а-я:-]{0,6}",
    ) {
        let figures = &figures()[..27];
        let text = report(MODEL, figures);
        let characters: Vec<char> = text.chars().collect();
        let start = place.index(characters.len());
        let end = (start + length).min(characters.len());
        let mutilated: String = characters[..start].iter().chain(&instead.chars().collect::<Vec<_>>())
            .chain(&characters[end..]).collect();
        if let Ok(read) = read(&mutilated) {
            let whole = expected(figures);
            prop_assert_eq!(read.len(), whole.len());
            for (read, whole) in read.values().zip(whole.values()) {
                for (read, whole) in read.iter().zip(whole) {
                    prop_assert!((read - whole).abs() <= 1e-4 * whole, "{read} for {whole}");
                }
            }
        }
    }

    #[test]
    fn no_text_panics(text in "(#|\\||\\{|[a-zа-я0-9.,:\"} \n-]){0,200}") {
        let _ = read(&text);
        let _ = read(&format!("# Отчет о производительности для m\n{text}"));
        for format in [Format::Csv, Format::Jsonl, Format::Legacy] {
            let reading = Reading { target: "legacy", measured_until: Timestamp::UNIX_EPOCH };
            let _ = survey(entries(format, &reading, || Ok(text.as_bytes())).expect("memory can be read"));
        }
    }
}
