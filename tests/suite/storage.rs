//! A disk that fails: what is said, and that measuring goes on where it can.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use crate::support::{Process, Stage, Target, eventually, scrape, simulator};

/// Runs the daemon over a storage folder in which something is wrong; what it says.
fn refused(stage: &Stage) -> String {
    let target = Target::at("127.0.0.1:1".parse().expect("an address"));
    let mut process = stage.start("run", &[target], &["--web.listen-address", "127.0.0.1:0"]);
    assert_eq!(process.code(), Some(1));
    let said = process.stderr();
    assert!(!said.contains("panicked"), "{said}");
    said
}

/// A folder with a sound history of a few samples.
fn measured() -> Stage {
    let (_sim, sim) = simulator(&["--speed", "20"]);
    let stage = Stage::new();
    assert_eq!(stage.once(&[Target::at(sim)], 1).code(), Some(0));
    stage
}

#[test]
fn a_history_that_is_none_is_named_with_the_mend() {
    type Damage = fn(&Path);
    let cases: [(&str, Damage, &str); 4] = [
        ("foreign", |file| std::fs::write(file, "Dear diary, ".repeat(1000)).expect("a file"), "not a llmsoak history"),
        (
            "truncated",
            |file| std::fs::File::options().write(true).open(file).expect("a file").set_len(5000).expect("cut"),
            "not a llmsoak history, or damaged",
        ),
        (
            "newer",
            |file| {
                let history = rusqlite::Connection::open(file).expect("a history");
                history.execute_batch("PRAGMA user_version = 999").expect("is written");
            },
            "made by a newer llmsoak (schema 999",
        ),
        (
            "a folder",
            |file| {
                std::fs::remove_file(file).expect("a file");
                std::fs::create_dir(file).expect("a folder");
            },
            "llmsoak.db",
        ),
    ];
    for (name, damage, expected) in cases {
        let stage = measured();
        damage(&stage.storage().join("llmsoak.db"));
        let said = refused(&stage);
        assert!(said.contains(expected) && said.contains("hint: "), "{name}: {said}");
    }
}

#[test]
fn a_storage_path_that_is_no_folder_is_named() {
    let stage = Stage::new();
    std::fs::write(stage.storage(), "").expect("a file");
    let said = refused(&stage);
    assert!(
        said.contains("storage.path") && said.contains("hint: name a folder that this user may write to"),
        "{said}"
    );
}

#[test]
fn a_history_in_use_is_left_alone() {
    let (_sim, sim) = simulator(&[]);
    let stage = Stage::new();
    let (_daemon, address) = stage.run(&[Target::at(sim)]);
    let said = refused(&stage);
    assert!(said.contains("another llmsoak is using this history"), "{said}");
    assert!(scrape(address).has("llmsoak_build_info"));
}

#[test]
fn a_folder_that_cannot_be_written_to_is_named() {
    let stage = measured();
    for entry in std::fs::read_dir(stage.storage()).expect("a folder") {
        let path = entry.expect("an entry").path();
        let mode = if path.is_dir() { 0o555 } else { 0o444 };
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("ours");
    }
    std::fs::set_permissions(stage.storage(), std::fs::Permissions::from_mode(0o555)).expect("ours");
    std::fs::set_permissions(stage.path(), std::fs::Permissions::from_mode(0o755)).expect("ours");
    // Whoever may do everything is not stopped by permissions: run it as nobody.
    let is_root = rustix::process::getuid().is_root();
    let binary = env!("CARGO_BIN_EXE_llmsoak");
    let mut command = Command::new(if is_root { "setpriv" } else { binary });
    if is_root {
        command.args(["--reuid=65534", "--clear-groups", binary]);
    }
    command.args(["run", "--target.url=http://127.0.0.1:1", "--web.listen-address=127.0.0.1:0", "--storage.path"]);
    let mut process = Process::spawn(
        {
            command.arg(stage.storage());
            command
        },
        "run",
    );
    assert_ne!(process.code(), Some(0));
    let said = process.stderr();
    std::fs::set_permissions(stage.storage(), std::fs::Permissions::from_mode(0o755)).expect("ours");
    assert!(said.contains("storage.path") && said.contains("Permission denied"), "{said}");
}

#[test]
fn a_full_disk_is_counted_and_measuring_goes_on() {
    let (_sim, sim) = simulator(&["--speed", "20"]);
    let stage = Stage::new();
    let config = stage.configure(&[Target::at(sim)]);
    // No file may grow beyond 300 KiB, which the program is told as it is of a full disk.
    let script = format!(
        "trap '' XFSZ; ulimit -f 300; exec {} run --config.file={config} --storage.path={} --web.listen-address=127.0.0.1:0",
        env!("CARGO_BIN_EXE_llmsoak"),
        stage.storage().display()
    );
    let mut command = Command::new("bash");
    command.args(["-c", &script]);
    let mut daemon = Process::spawn(command, "run");
    let address = daemon.address();
    let full = eventually("a write that fails", || {
        let seen = scrape(address);
        (seen.sum("llmsoak_storage_write_failures_total", &[]) > 0.0).then_some(seen)
    });
    let samples = full.sum("llmsoak_samples_total", &[]);
    eventually("further samples", || {
        (scrape(address).sum("llmsoak_samples_total", &[]) > samples + 10.0).then_some(())
    });
    let later = scrape(address);
    assert!(
        later.sum("llmsoak_storage_write_failures_total", &[]) > full.sum("llmsoak_storage_write_failures_total", &[])
    );
    assert!(later.has("llmsoak_optimum_tokens_per_second"), "what was measured is still known");
    daemon.signal(rustix::process::Signal::TERM);
    assert_eq!(daemon.code(), Some(0));
    let said = daemon.stderr();
    assert!(said.contains("cannot write to the history; measuring goes on") && !said.contains("panicked"), "{said}");
    stage.history().check_integrity();
}

#[test]
fn lost_reports_come_again_and_a_file_in_their_place_is_counted() {
    let (_sim, sim) = simulator(&["--speed", "20"]);
    let stage = Stage::new();
    let config = stage.configure(&[Target::at(sim)]);
    let text = std::fs::read_to_string(&config).expect("a file");
    stage.write("llmsoak.yml", &format!("{text}report: {{every: 1s}}\n"));
    let storage = stage.storage().display().to_string();
    let flags = ["--config.file", &config, "--storage.path", &storage, "--web.listen-address", "127.0.0.1:0"];
    let mut daemon = Process::start(&[&["run"], &flags[..]].concat());
    let address = daemon.address();
    let count = |name: &str| scrape(address).sum(name, &[]);
    eventually("a report", || (count("llmsoak_reports_written_total") > 0.0).then_some(()));
    let reports = stage.storage().join("reports");
    eventually("the folder is gone", || std::fs::remove_dir_all(&reports).is_ok().then_some(()));
    eventually("another report", || reports.join("target/latest/report.md").exists().then_some(()));
    eventually("a file in the place of the folder", || {
        let _ = std::fs::remove_dir_all(&reports);
        std::fs::write(&reports, "mine").is_ok().then_some(())
    });
    eventually("a failure", || (count("llmsoak_report_failures_total") > 0.0).then_some(()));
    let samples = count("llmsoak_samples_total");
    eventually("further samples", || (count("llmsoak_samples_total") > samples).then_some(()));
    assert_eq!(std::fs::read_to_string(&reports).expect("a file"), "mine");
}

#[test]
fn a_new_history_is_its_owners_alone() {
    let stage = measured();
    let mode = |path: &Path| std::fs::metadata(path).expect("is there").permissions().mode() & 0o777;
    assert_eq!(mode(&stage.storage()), 0o700);
    for name in ["llmsoak.db", "llmsoak.lock"] {
        assert_eq!(mode(&stage.storage().join(name)), 0o600, "{name}");
    }
}
