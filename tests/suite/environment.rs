//! What surrounds a server: commands, labels and the machine become the identity of an epoch.

use std::path::Path;
use std::process::Command;

use crate::support::{History, Process, Scrape, Stage, Target, eventually, root, scrape, simulator};

const INFO: &str = "llmsoak_environment_info";
const CHANGES: &str = "llmsoak_environment_changes_total";
const CHANGED_AT: &str = "llmsoak_environment_changed_timestamp_seconds";

/// The value of a label of the one info series.
fn fact(seen: &Scrape, label: &str) -> String {
    assert_eq!(seen.sum(INFO, &[]), 1.0, "one series at any time");
    seen.not_zero(INFO, label).into_iter().next().unwrap_or_default()
}

fn changes(seen: &Scrape, component: &str) -> f64 {
    seen.sum(CHANGES, &[("component", component)])
}

fn cycles(seen: &Scrape) -> f64 {
    seen.sum("llmsoak_cycles_completed_total", &[])
}

/// Returns when two more cycles are complete: the second began after this was called.
fn await_cycles(address: std::net::SocketAddr) -> Scrape {
    let before = cycles(&scrape(address));
    eventually("two more cycles", || {
        let seen = scrape(address);
        (cycles(&seen) >= before + 2.0).then_some(seen)
    })
}

fn identity(history: &History, key: &str) -> Option<String> {
    history.one(&format!("SELECT json_extract(identity, '$.{key}') FROM epoch ORDER BY id DESC LIMIT 1"))
}

#[test]
fn a_command_that_answers_otherwise_begins_an_epoch_and_one_that_is_silent_does_not() {
    let (mut sim, place) = simulator(&[]);
    let stage = Stage::new();
    let file = stage.path().join("driver").display().to_string();
    let environment = format!("{{gpu: off, commands: {{driver: [cat, {file}]}}, labels: {{rack: r12}}}}");
    let target = Target { environment: &environment, ..Target::at(place) };
    let (daemon, address) = stage.run(std::slice::from_ref(&target));
    // Unknown at first: what is learned later is no change.
    assert_eq!(fact(&await_cycles(address), "driver_version"), "");
    stage.write("driver", "580.65.06\n");
    eventually("the driver", || (fact(&scrape(address), "driver_version") == "580.65.06").then_some(()));
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("a kernel");
    assert_eq!(fact(&scrape(address), "kernel"), kernel.trim());

    // Gone for a while, and back.
    std::fs::remove_file(&file).expect("a file");
    await_cycles(address);
    stage.write("driver", "580.65.06\n");
    let seen = await_cycles(address);
    assert_eq!(fact(&seen, "driver_version"), "580.65.06");
    assert_eq!(seen.sum(CHANGES, &[]), 0.0);
    assert!(!seen.has(CHANGED_AT));
    let log = daemon.stderr();
    assert_eq!(log.matches("the command fails; its last answer stays").count(), 2, "once each time: {log}");
    assert_eq!(log.matches("the command answers again").count(), 2, "{log}");
    assert_eq!(stage.history().one::<u32>("SELECT COUNT(*) FROM epoch"), 1);

    // Another driver.
    stage.write("driver", "580.95.05\n");
    let seen = eventually("the other driver", || {
        let seen = scrape(address);
        (fact(&seen, "driver_version") == "580.95.05").then_some(seen)
    });
    assert_eq!((changes(&seen, "driver"), seen.sum(CHANGES, &[])), (1.0, 1.0));
    let changed_at = seen.sum(CHANGED_AT, &[("component", "driver")]);
    assert!(changed_at > 1e9, "{changed_at}");
    let history = stage.history();
    let events = "SELECT detail FROM event WHERE kind = 'epoch'";
    eventually("the event", || {
        (history.column::<String>(events) == ["driver_version: 580.65.06 → 580.95.05"]).then_some(())
    });
    assert_eq!(identity(&history, "rack").as_deref(), Some("r12"));
    drop((daemon, history));

    // In another life, the history says it all before the server answers.
    sim.kill();
    let (_daemon, address) = stage.run(std::slice::from_ref(&target));
    let restored = scrape(address);
    assert_eq!(fact(&restored, "driver_version"), "580.95.05");
    assert_eq!((changes(&restored, "driver"), restored.sum(CHANGES, &[])), (1.0, 1.0));
    assert_eq!(restored.sum(CHANGED_AT, &[("component", "driver")]), changed_at);
}

#[test]
fn a_sample_in_which_the_driver_changed_is_rejected() {
    let (_sim, place) = simulator(&[]);
    let stage = Stage::new();
    let file = stage.write("driver", "1\n");
    let environment = format!("{{commands: {{driver: [cat, {file}]}}}}");
    // A sample of the large batch takes most of a cycle, and comes last.
    let target = Target {
        environment: &environment,
        grid: "{workers: [1], batch: [1, 40]}",
        request: "{output_tokens: 24}",
        ..Target::at(place)
    };
    let config = stage.configure(&[target]).replace("llmsoak.yml", "ordered.yml");
    let ordered = std::fs::read_to_string(stage.path().join("llmsoak.yml")).expect("a file");
    stage.write("ordered.yml", &ordered.replace("schedule: {", "schedule: {order: ascending, "));
    let storage = stage.storage().display().to_string();
    let flags = ["run", "--config.file", &config, "--storage.path", &storage, "--web.listen-address", "127.0.0.1:0"];
    let mut daemon = Process::start(&flags);
    let address = daemon.address();
    eventually("the large sample on its way", || {
        let seen = scrape(address);
        let is_running = seen.sum("llmsoak_scheduler_state", &[("state", "running")]) == 1.0;
        (is_running && seen.sum("llmsoak_current_batch", &[]) == 40.0).then_some(())
    });
    stage.write("driver", "2\n");
    let rejected = "llmsoak_sample_failures_total";
    let seen = eventually("the other driver", || {
        let seen = scrape(address);
        (fact(&seen, "driver_version") == "2").then_some(seen)
    });
    assert_eq!(seen.sum(rejected, &[("reason", "environment_changed")]), 1.0, "{}", seen.text);
    let seen = await_cycles(address);
    assert_eq!(seen.sum(rejected, &[("reason", "environment_changed")]), 1.0);
    assert_eq!(seen.sum(CHANGES, &[]), 1.0);
}

#[test]
fn commands_that_hang_fail_or_write_garbage_stop_nothing() {
    let (_sim, place) = simulator(&[]);
    let stage = Stage::new();
    let environment = "{labels: {rack: r12}, commands: {
        hangs: [sleep, '600'], floods: [yes], fails: [sh, -c, echo no >&2; exit 3], missing: [./no-such-program],
        silent: ['true'], garbage: [printf, '\\n \\033[31mred\\000\\377\\n\\tsecond'], long: [sh, -c, 'printf %05000d 7']}}";
    let target = Target { environment, ..Target::at(place) };
    let mut once = stage.once(&[target], 1);
    assert_eq!(once.code(), Some(0), "{}", once.stderr());
    let history = stage.history();
    assert_eq!(history.one::<u32>("SELECT COUNT(*) FROM epoch"), 1);
    assert!(history.one::<u32>("SELECT COUNT(*) FROM sample WHERE valid") >= 1);
    for unknown in ["hangs", "floods", "fails", "missing", "silent"] {
        assert_eq!(identity(&history, unknown), None, "{unknown}");
    }
    assert_eq!(identity(&history, "garbage").as_deref(), Some("red\u{fffd}"));
    assert_eq!(identity(&history, "long").map(|value| value.chars().count()), Some(501));
    assert_eq!(identity(&history, "rack").as_deref(), Some("r12"));
    let log = once.stderr();
    assert_eq!(log.matches("the command fails; its last answer stays").count(), 5, "{log}");
    assert!(log.contains("sh ended with exit code 3; it said last: no"), "{log}");
}

#[test]
fn a_driver_that_hangs_stops_nothing() {
    let (_sim, place) = simulator(&[]);
    let stage = Stage::new();
    nvidia_library(stage.path());
    // Who opens it waits for somebody who writes.
    let driver = stage.path().join("version");
    let made = Command::new("mkfifo").arg(&driver).status().expect("a program of every system");
    assert!(made.success());
    let (config, storage) = (stage.configure(&[Target::at(place)]), stage.storage().display().to_string());
    let flags = ["once", "--cycles", "1", "--config.file", &config, "--storage.path", &storage];
    let paths = [stage.path(), &driver].map(|path| path.to_str().expect("is text"));
    let mut once = Process::start_with(&flags, &[("LD_LIBRARY_PATH", paths[0]), ("NVML_DRIVER", paths[1])]);
    assert_eq!(once.code(), Some(0), "{}", once.stderr());
    let history = stage.history();
    assert!(history.one::<u32>("SELECT COUNT(*) FROM sample WHERE valid") >= 1);
    assert_eq!(identity(&history, "gpu"), None);
    assert_eq!(identity(&history, "server").as_deref(), Some("llama.cpp"));
}

/// Compiles the library that stands in for that of NVIDIA's driver.
fn nvidia_library(folder: &Path) {
    let source = root().join("tests/suite/data/nvml.c");
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-o"]).arg(folder.join("libnvidia-ml.so.1")).arg(source);
    let compiled = cc.output().expect("a C compiler, which the program itself needs");
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
}

#[test]
fn a_gpu_is_identity_and_conditions() {
    let (_sim, place) = simulator(&[]);
    let stage = Stage::new();
    nvidia_library(stage.path());
    let driver = stage.write("version", "580.65.06\n");
    let target = Target { grid: "{workers: [1], batch: [16]}", request: "{output_tokens: 24}", ..Target::at(place) };
    let (config, storage) = (stage.configure(&[target]), stage.storage().display().to_string());
    let flags = ["run", "--config.file", &config, "--storage.path", &storage, "--web.listen-address", "127.0.0.1:0"];
    let variables = [("LD_LIBRARY_PATH", stage.path().to_str().expect("is text")), ("NVML_DRIVER", &driver)];
    let mut daemon = Process::start_with(&flags, &variables);
    let address = daemon.address();
    let seen = eventually("a measured cell", || {
        let seen = scrape(address);
        seen.has("llmsoak_cell_joules_per_output_token").then_some(seen)
    });
    for (label, expected) in
        [("gpu", "NVIDIA H100 80GB HBM3"), ("driver_version", "580.65.06"), ("cuda_version", "12.4")]
    {
        assert_eq!(fact(&seen, label), expected);
    }
    let history = stage.history();
    for (key, expected) in [("gpu_count", "1"), ("power_limit", "700"), ("gpu_vbios", "96.00.99.00.01")] {
        assert_eq!(identity(&history, key).as_deref(), Some(expected), "{key}");
    }
    let of_sample =
        |column: &str| history.one::<f64>(&format!("SELECT {column} FROM sample WHERE energy_joules > 0 LIMIT 1"));
    for (column, expected) in [
        ("gpu_temperature_celsius", 61.0),
        ("sm_clock_megahertz", 1980.0),
        ("memory_clock_megahertz", 2619.0),
        ("gpu_utilization", 0.97),
        ("gpu_memory_used_bytes", 72_318_189_568.0),
    ] {
        assert_eq!(of_sample(column), expected, "{column}");
    }
    assert_eq!(history.one::<String>("SELECT DISTINCT throttle_reasons FROM sample"), "power_cap");
    // The counter says 250 W, to the millisecond.
    assert!((of_sample("power_watts") - 250.0).abs() < 5.0, "{}", of_sample("power_watts"));
    let by_hand = of_sample("power_watts * total_seconds / output_tokens");
    let joules = of_sample("joules_per_output_token");
    assert!((joules / by_hand - 1.0).abs() < 0.1, "{joules} and {by_hand}");

    // Without a driver for a while nothing is known, and nothing has changed.
    std::fs::remove_file(&driver).expect("a file");
    await_cycles(address);
    let seen = scrape(address);
    assert_eq!((fact(&seen, "driver_version"), seen.sum(CHANGES, &[])), ("580.65.06".to_owned(), 0.0));
    stage.write("version", "580.95.05\n");
    let seen = eventually("the other driver", || {
        let seen = scrape(address);
        (fact(&seen, "driver_version") == "580.95.05").then_some(seen)
    });
    assert_eq!((changes(&seen, "driver"), seen.sum(CHANGES, &[])), (1.0, 1.0));
}
