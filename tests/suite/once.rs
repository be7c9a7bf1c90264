//! `llmsoak once`: its exit codes and its totals.

use std::path::Path;

use rustix::process::Signal;

use crate::support::{Process, Stage, Target, eventually, free_address, scrape, simulator};

/// The number that follows `what: ` on a line of stdout.
fn told(process: &Process, what: &str) -> f64 {
    let stdout = process.stdout();
    let number = stdout.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(": ")?.split(", ").next());
    number.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no {what} in:\n{stdout}"))
}

#[test]
fn it_reports_and_its_totals_are_the_servers_own() {
    let (_sim, sim) = simulator(&["--slots", "4"]);
    let stage = Stage::new();
    let mut once = stage.once(&[Target::at(sim)], 3);
    assert_eq!(once.code(), Some(0), "{}", once.stderr());
    let counted = scrape(sim);
    assert_eq!(told(&once, "output tokens, warm-ups included"), counted.sum("llamacpp:tokens_predicted_total", &[]),);
    assert_eq!(told(&once, "prompt tokens, warm-ups included"), counted.sum("llamacpp:prompt_tokens_total", &[]));
    assert_eq!(told(&once, "samples"), 9.0);
    assert!(once.stdout().contains(", 0 failed\n"), "{}", once.stdout());
    let stdout = once.stdout();
    let report = stdout.lines().find_map(|line| line.strip_prefix("report: ")).expect("the path of a report");
    assert!(std::fs::read_to_string(report).expect("a report").contains("tiny:1m"));
    assert!(Path::new(report).parent().expect("a folder").join("charts").is_dir());
    assert_eq!(stage.history().one::<u32>("SELECT COUNT(*) FROM cycle WHERE completed_at IS NOT NULL"), 3);
}

#[test]
fn at_level_debug_each_request_and_each_judgement_has_a_line() {
    let (_sim, sim) = simulator(&["--slots", "4"]);
    let stage = Stage::new();
    let config = stage.configure(&[Target::at(sim)]);
    let storage = stage.storage().display().to_string();
    let flags = ["--cycles", "1", "--log.level", "debug"];
    let mut once =
        Process::start(&[&["once", "--config.file", &config, "--storage.path", &storage], &flags[..]].concat());
    assert_eq!(once.code(), Some(0), "{}", once.stderr());
    let stderr = once.stderr();
    let lines = |message: &str| stderr.lines().filter(|line| line.contains(message)).collect::<Vec<_>>();
    let requests = lines(" message=request ");
    assert_eq!(requests.len() as f64, told(&once, "requests, warm-ups included"), "{stderr}");
    for told in [" wait_ms=", " sent_ms=", " ttft_ms=", " duration_ms=", " tokens=", " chunks=", " token_source=usage"]
    {
        assert!(requests.iter().all(|line| line.contains(told)), "{told} in {requests:#?}");
    }
    let judgements = lines(" message=\"sample judged\" ");
    assert_eq!(judgements.len() as f64, told(&once, "samples"), "{stderr}");
    for told in [" slots=4 ", " parallelism=", " cpu=", " cached=0 ", " short=0 ", " reasons="] {
        assert!(judgements.iter().all(|line| line.contains(told)), "{told} in {judgements:#?}");
    }
}

#[test]
fn without_a_valid_sample_it_says_so() {
    let (_sim, sim) = simulator(&[]);
    let stage = Stage::new();
    stage.write("prompts.txt", &format!("{}\n", ["story"; 96].join(" ")));
    let request = "{output_tokens: 8, prefix_cache: allow, prompts_file: prompts.txt}";
    let mut once = stage.once(&[Target { request, ..Target::at(sim) }], 1);
    assert_eq!(once.code(), Some(2), "{}", once.stderr());
    assert!(once.stdout().contains("samples: 3, 0 valid\n"), "{}", once.stdout());
    let reasons: Vec<String> = stage.history().column("SELECT invalid_reason FROM sample");
    assert!(reasons.iter().all(|reason| reason.contains("prefix_cache")), "{reasons:?}");
}

#[test]
fn it_gives_up_on_a_server_that_answers_nothing_of_use() {
    let (_sim, broken) = simulator(&["--fault.http-500", "1"]);
    // Side by side, for each is patient for half a minute.
    let stages = [broken, free_address()].map(|address| (Stage::new(), Target::at(address)));
    let runs = stages.each_ref().map(|(stage, target)| stage.once(std::slice::from_ref(target), 1));
    for mut once in runs {
        assert_eq!(once.code(), Some(2), "{}", once.stderr());
        assert!(once.stderr().contains("given up"), "{}", once.stderr());
        assert_eq!(told(&once, "samples"), 0.0);
    }
}

#[test]
fn interrupted_it_says_so() {
    let (_sim, sim) = simulator(&["--speed", "0.1"]);
    for signal in [Signal::INT, Signal::TERM] {
        let stage = Stage::new();
        let mut once = stage.once(&[Target::at(sim)], 100);
        eventually("a sample in the history", || once.stderr().contains("message=sample ").then_some(()));
        once.signal(signal);
        assert_eq!(once.code(), Some(3), "{}", once.stderr());
        assert!(!once.stderr().contains("not stopped in time"), "{}", once.stderr());
        assert!(told(&once, "samples") >= 1.0);
        stage.history().check_integrity();
    }
}

#[test]
fn a_report_heeds_the_configuration_beside_a_named_storage_folder() {
    let (_sim, sim) = simulator(&["--slots", "4"]);
    let stage = Stage::new();
    assert_eq!(stage.once(&[Target::at(sim)], 1).code(), Some(0));
    let config = stage.configure(&[Target::at(sim)]);
    let text = std::fs::read_to_string(&config).expect("a file");
    stage.write("llmsoak.yml", &format!("{text}report: {{language: ru, keep: 1}}\n"));
    let reports = || {
        let folder = stage.storage().join("reports/target");
        let names = std::fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").file_name());
        let names = names.filter(|name| name != "latest").count();
        (names, std::fs::read_link(folder.join("latest")).expect("a link"))
    };
    let report = |more: &[&str]| stage.on_history("report", &[&["--config.file", config.as_str()], more].concat());
    let written = report(&[]);
    assert!(std::fs::read_to_string(written.trim_end()).expect("a report").contains("Отчет"), "{written}");
    let (count, latest) = reports();
    assert_eq!(count, 1, "the older ones are not kept");
    report(&["--epoch", "1"]);
    assert_eq!(reports(), (2, latest), "that of an epoch lies beside them");
}
