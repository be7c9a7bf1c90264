//! What one history exports another one imports, once, beside whatever is measured there.

use std::collections::BTreeSet;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{History, Process, Stage, Target, eventually, legacy, scrape, simulator, soaked};

/// A history of two cycles, and an event in the words of the history.
fn measured() -> Stage {
    let (_sim, sim) = simulator(&["--slots", "4"]);
    let stage = Stage::new();
    let mut once = stage.once(&[Target::at(sim)], 2);
    assert_eq!(once.code(), Some(0), "{}", once.stderr());
    stage.history().execute(
        "INSERT INTO event (target_id, at, kind, detail) VALUES (1, '2026-01-01T00:00:00.000Z', 'away', 'a, \"b\"')",
    );
    stage
}

fn export(stage: &Stage, arguments: &[&str]) -> String {
    stage.on_history("export", arguments)
}

/// What an export holds, but for where it says that its epochs come from.
fn without_sources(export: &str) -> Vec<Value> {
    let line = |line: &str| {
        let mut entry: Value = serde_json::from_str(line).expect("JSON");
        if let Some(load) = entry.pointer_mut("/load").and_then(Value::as_object_mut) {
            load.remove("source");
        }
        entry
    };
    export.lines().map(line).collect()
}

#[test]
fn an_export_as_json_lines_is_the_whole_history() {
    let (from, to) = (measured(), Stage::new());
    let exported = export(&from, &[]);
    let file = to.write("export.jsonl", &exported);
    let told = to.on_history("import", &[&file]);
    assert_eq!(told, "epoch 1: target target, model tiny:1m: 6 samples\n");
    let again = to.on_history("import", &[&file]);
    assert_eq!(again, "epoch 1: target target, model tiny:1m: was there already\n");
    assert_eq!(without_sources(&export(&to, &[])), without_sources(&exported));
    // The history's own export brings nothing new to it.
    let own = from.on_history("import", &[&file]);
    assert_eq!(own, "epoch 1: target target, model tiny:1m: was there already\n");
    assert_eq!(export(&from, &[]), exported);
    to.history().check_integrity();
}

#[test]
fn what_was_measured_since_an_import_is_added_by_the_next_one() {
    let (_sim, sim) = simulator(&["--slots", "4"]);
    let (from, to) = (Stage::new(), Stage::new());
    for (cycles, told) in [(1, "3 samples"), (2, "was there already, 6 samples added")] {
        assert_eq!(from.once(&[Target::at(sim)], cycles).code(), Some(0));
        let file = to.write("export.jsonl", &export(&from, &[]));
        assert_eq!(to.on_history("import", &[&file]), format!("epoch 1: target target, model tiny:1m: {told}\n"));
    }
    assert_eq!(without_sources(&export(&to, &[])), without_sources(&export(&from, &[])));
}

#[test]
fn a_table_of_samples_comes_back_with_all_its_figures() {
    let (from, to) = (measured(), Stage::new());
    let table = export(&from, &["--format", "csv"]);
    let file = to.write("samples.csv", &table);
    for told in ["6 samples", "was there already"] {
        assert_eq!(to.on_history("import", &[&file]), format!("epoch 1: target target, model tiny:1m: {told}\n"));
    }
    assert_eq!(export(&to, &["--format", "csv", "--table", "samples"]), table);
    assert_eq!(to.history().one::<u32>("SELECT COUNT(*) FROM cycle WHERE completed_at IS NOT NULL"), 2);
    let own = from.on_history("import", &[&file]);
    assert_eq!(own, "epoch 1: target target, model tiny:1m: was there already\n");
}

#[test]
fn every_table_has_its_names_and_a_row_an_entry() {
    let stage = measured();
    for (table, first_names, rows) in [
        ("epochs", "epoch,target,model,url,first_seen,last_seen,identity,load", 1),
        ("cycles", "epoch,cycle,seed,started_at,completed_at,grid", 2),
        ("samples", "target,model,epoch,cycle,workers,batch,started_at,completed_at,total_seconds", 6),
        ("cells", "epoch,workers,batch,attempts,first_at,last_at,valid_samples", 3),
        ("events", "target,model,at,kind,detail", 1),
    ] {
        let text = export(&stage, &["--format", "csv", "--table", table]);
        assert!(text.starts_with(first_names), "{text}");
        assert_eq!(text.lines().count(), rows + 1, "{text}");
    }
    assert!(export(&stage, &["--format=csv", "--table=events"]).contains("\"a, \"\"b\"\"\""));
}

/// Runs a command that fails; what it says.
fn refused(stage: &Stage, arguments: &[&str]) -> String {
    let storage = stage.storage().display().to_string();
    let mut process = Process::start(&[arguments, &["--storage.path", &storage]].concat());
    assert_eq!(process.code(), Some(1), "{arguments:?}");
    process.stderr()
}

#[test]
fn a_file_that_is_wrong_somewhere_leaves_the_history_as_it_was() {
    let (from, to) = (measured(), Stage::new());
    let (exported, table) = (export(&from, &[]), export(&from, &["--format=csv"]));
    let old = to.write("old.md", &legacy::report("m", &legacy::figures()));
    to.on_history("import", &[&old]);
    let before = export(&to, &[]);
    let line = |text: &str, part: &str| text.lines().position(|line| line.contains(part)).expect("a line") + 1;
    let (sample, single) = (line(&exported, "\"record\":\"sample\""), line(&exported, "\"workers\":1,"));
    let last = exported.lines().count();
    let cases = [
        (
            "a.jsonl",
            exported.replacen("\"workers\":1,", "\"workers\":0,", 1),
            single,
            "workers: must be from 1 to 65536",
        ),
        (
            "b.jsonl",
            exported.replacen("\"valid\":true", "\"valid\":false", 1),
            sample,
            "valid and invalid_reason contradict each other",
        ),
        ("c.jsonl", exported.replacen("\"seed\":", "\"sed\":", 1), 3, "unknown field `sed`"),
        ("d.jsonl", exported.replacen("\"schema\":1", "\"schema\":9", 1), 1, "schema 9, written by llmsoak"),
        ("e.jsonl", exported[..exported.len() - 9].to_owned(), last, "EOF while parsing"),
        (
            "f.jsonl",
            exported.lines().skip(1).map(|line| format!("{line}\n")).collect(),
            1,
            "must be an export's first line",
        ),
        (
            "g.jsonl",
            exported.replacen("\"record\":\"cycle\",\"epoch\":1", "\"record\":\"cycle\",\"epoch\":7", 1),
            3,
            "epoch 7: no line before",
        ),
        ("h.csv", table.replacen(",usage,", ",guess,", 1), 2, "token_source: no such source: guess"),
        ("i.csv", table.lines().map(|line| format!("{line},more\n")).collect(), 2, "unknown field `more`"),
        ("j.csv", format!("{table}target,short\n"), 8, "2 columns where the first line has"),
        ("k.txt", "hello\n".to_owned(), 1, "neither the title of a legacy report"),
        ("l.txt", "\n".to_owned(), 1, "the file is empty"),
    ];
    for (name, text, line, what) in cases {
        let file = to.write(name, &text);
        let said = refused(&to, &["import", &file]);
        assert!(said.starts_with(&format!("llmsoak: {file}:{line}: ")) && said.contains(what), "{said}");
    }
    let file = to.write("fine.jsonl", &exported);
    let said = refused(&to, &["import", &file, "--time", "2025-03-31"]);
    assert!(said.starts_with("llmsoak: --time: "), "{said}");
    assert_eq!(export(&to, &[]), before);
}

#[test]
fn an_import_beside_a_daemon_changes_nothing_of_what_it_measures() {
    let (_sim, sim) = simulator(&["--slots", "4"]);
    let other = measured();
    let stage = Stage::new();
    let (mut daemon, address) = stage.run(&[Target::at(sim)]);
    soaked(address);
    let optimum = || scrape(address).sum("llmsoak_optimum_tokens_per_second", &[]);
    let before = optimum();
    // Of the very same target and model, and newer than the running epoch: it is measured later.
    let file =
        stage.write("export.jsonl", &export(&other, &[]).replace("\"2026-", "\"2036-").replace("\"2025-", "\"2036-"));
    let old = stage.write("old.md", &legacy::report("tiny:1m", &legacy::figures()));
    assert!(stage.on_history("import", &[&file]).starts_with("epoch 2: target target, model tiny:1m: 6 samples"));
    assert!(stage.on_history("import", &[&old, "--target", "target"]).starts_with("epoch 3: "));
    let cycles = |history: &History| {
        history.one::<u32>("SELECT COUNT(*) FROM cycle WHERE epoch_id = 1 AND completed_at IS NOT NULL")
    };
    let so_far = cycles(&stage.history());
    eventually("two more cycles of the running epoch", || (cycles(&stage.history()) >= so_far + 2).then_some(()));
    assert!((0.2..5.0).contains(&(optimum() / before)), "the optimum is another epoch's");
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.code(), Some(0));
    assert!(!daemon.stderr().contains("level=error"), "{}", daemon.stderr());
    // After a restart too the running epoch goes on.
    let (mut daemon, address) = stage.run(&[Target::at(sim)]);
    soaked(address);
    let so_far = cycles(&stage.history());
    eventually("another cycle of the same epoch", || (cycles(&stage.history()) > so_far).then_some(()));
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.code(), Some(0));
    let history = stage.history();
    assert_eq!(history.one::<u32>("SELECT COUNT(*) FROM epoch"), 3);
    let counts: Vec<u32> =
        history.column("SELECT COUNT(*) FROM sample WHERE epoch_id > 1 GROUP BY epoch_id ORDER BY epoch_id");
    assert_eq!(counts, [6, 126]);
    assert_eq!(
        history.column::<u32>("SELECT COUNT(*) FROM cycle WHERE epoch_id > 1 GROUP BY epoch_id ORDER BY epoch_id"),
        [2, 1]
    );
    history.check_integrity();
    // Reports are of what is measured, unless an epoch is asked for.
    let report =
        |arguments: &[&str]| std::fs::read_to_string(stage.on_history("report", arguments).trim()).expect("a report");
    assert!(report(&[]).contains("epoch 1."));
    assert!(report(&["--epoch", "3"]).contains("345.392"));
}

#[test]
fn a_file_of_several_targets_has_their_names() {
    let stage = Stage::new();
    let old = stage.write("old.md", &legacy::report("m", &legacy::figures()));
    for target in ["a", "b"] {
        stage.on_history("import", &[&old, "--target", target]);
    }
    let all = stage.write("all.jsonl", &export(&stage, &[]));
    let said = refused(&stage, &["import", &all, "--target", "c"]);
    assert!(said.starts_with("llmsoak: --target: the file has several targets: a, b\n"), "{said}");
    let one = stage.write("one.jsonl", &export(&stage, &["--target", "b"]));
    assert_eq!(stage.on_history("import", &[&one, "--target", "c"]), "epoch 3: target c, model m: 126 samples\n");
    let names: BTreeSet<String> = stage.history().column("SELECT DISTINCT name FROM target").into_iter().collect();
    assert_eq!(names, ["a", "b", "c"].map(str::to_owned).into());
    assert!(refused(&stage, &["export", "--target", "d"]).contains("the history has no target d"));
}

#[test]
fn an_export_to_a_file_is_there_whole_or_not_at_all() {
    let stage = measured();
    let place = stage.path().join("out.jsonl");
    let told = export(&stage, &["--output", &place.display().to_string()]);
    assert_eq!(told, "");
    assert_eq!(std::fs::read_to_string(&place).expect("an export"), export(&stage, &[]));
    let nowhere = stage.path().join("no/such/folder").display().to_string();
    assert!(refused(&stage, &["export", "--output", &nowhere]).starts_with(&format!("llmsoak: {nowhere}: ")));
    let left: Vec<String> = std::fs::read_dir(stage.path())
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter(|name| name.contains("unfinished"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}
