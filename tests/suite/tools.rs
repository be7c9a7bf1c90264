//! What other programs make of this one: promtool, a browser. What Prometheus makes of it is in
//! `dashboards`.
//!
//! A tool that is missing is no failure here: its test says on stderr that it was skipped,
//! past the harness, which shows nothing of tests that pass. Two variables are for those
//! who want to be sure: `LLMSOAK_REQUIRE_TOOLS`, a comma-separated list of tools whose
//! absence is a failure, and `LLMSOAK_TOOL_LOG`, a file that gets the line `ran NAME` or
//! `skipped NAME` of each test.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::support::{Process, Stage, Target, legacy, simulator, soaked};

/// Writes a line to the process' own stderr, which the harness does not capture.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// A tool to run, where there is one.
pub(crate) fn tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file());
    if let Some(log) = std::env::var_os("LLMSOAK_TOOL_LOG") {
        let mut log = OpenOptions::new().append(true).create(true).open(log).expect("LLMSOAK_TOOL_LOG names a file");
        let what = if found.is_some() { "ran" } else { "skipped" };
        // One write, so that lines of tests at work side by side stay whole.
        log.write_all(format!("{what} {name}\n").as_bytes()).expect("a writable LLMSOAK_TOOL_LOG");
    }
    if found.is_none() {
        say(&format!("skipped: {name} is not installed"));
        let required = std::env::var("LLMSOAK_REQUIRE_TOOLS").unwrap_or_default();
        assert!(!required.split(',').any(|required| required == name), "LLMSOAK_REQUIRE_TOOLS asks for {name}");
    }
    found
}

#[test]
fn promtool_finds_no_fault() {
    let Some(promtool) = tool("promtool") else { return };
    let (_sim, sim) = simulator(&[]);
    let stage = Stage::new();
    let (_daemon, address) = stage.run(&[Target::at(sim)]);
    let page = soaked(address).text;
    let mut command = Command::new(promtool);
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut check = command.spawn().expect("promtool starts");
    // Closed by being dropped.
    check.stdin.take().expect("a pipe").write_all(page.as_bytes()).expect("promtool reads");
    let output = check.wait_with_output().expect("promtool ends");
    let said = [output.stdout, output.stderr].concat();
    assert_eq!(String::from_utf8_lossy(&said), "");
    assert!(output.status.success());
}

#[test]
fn benchstat_compares_epochs() {
    let Some(benchstat) = tool("benchstat") else { return };
    let (stage, figures) = (Stage::new(), legacy::figures());
    let faster: Vec<legacy::Figures> = figures.iter().copied().filter(|f| f.workers == "24").collect();
    for (target, figures) in [("before", &figures[..]), ("after", &faster)] {
        let file = stage.write("old.md", &legacy::report("m", figures));
        stage.on_history("import", &[&file, "--target", target]);
    }
    let file = stage.path().join("bench.txt").display().to_string();
    stage.on_history("export", &["--format", "benchstat", "--output", &file]);
    let mut compare = Process::spawn(
        {
            let mut command = Command::new(benchstat);
            command.args(["-col", "target", "-ignore", "epoch", &file]);
            command
        },
        "benchstat",
    );
    assert_eq!(compare.code(), Some(0), "{}", compare.stderr());
    assert_eq!(compare.stderr(), "");
    let table = compare.stdout();
    for told in ["model: m", "sec/op", "tokens/s", "Batch/workers=24/batch=24"] {
        assert!(table.contains(told), "{told} is not in:\n{table}");
    }
    assert!(table.lines().any(|line| line.contains("Batch/workers=24/batch=24") && line.contains("345.4")), "{table}");
}

#[test]
fn a_browser_shows_it() {
    let Some(chromium) = tool("chromium") else { return };
    let (_sim, sim) = simulator(&[]);
    let stage = Stage::new();
    // One cell: its place is the optimum, whatever the rates.
    let (_daemon, address) = stage.run(&[Target { grid: "{workers: [2], batch: [4]}", ..Target::at(sim) }]);
    soaked(address);
    for (path, optimum) in [("", "2 workers × batch 4"), ("report", "Best configuration")] {
        let mut command = Command::new(&chromium);
        command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]);
        command.args(["--enable-logging=stderr", "--dump-dom"]);
        command.arg(format!("--user-data-dir={}", stage.path().join("browser").display()));
        command.arg(format!("http://{address}/{path}"));
        let mut browser = Process::spawn(command, "chromium");
        assert_eq!(browser.code(), Some(0), "/{path}");
        let (document, log) = (browser.stdout(), browser.stderr());
        assert!(document.contains(optimum), "/{path}: {optimum} is not in:\n{document}");
        let complaints: Vec<&str> = log.lines().filter(|line| line.contains("CONSOLE")).collect();
        assert!(complaints.is_empty(), "/{path}: {complaints:#?}");
    }
}
