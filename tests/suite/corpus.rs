//! What the fuzzers began with and what they found, replayed: the same checks without a fuzzer.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::root;

#[path = "../../fuzz/checks/configuration.rs"]
mod configuration;
#[path = "../../fuzz/checks/exposition.rs"]
mod exposition;
#[path = "../../fuzz/checks/files.rs"]
mod files;
#[path = "../../fuzz/checks/import.rs"]
mod import;
#[path = "../../fuzz/checks/stream.rs"]
mod stream;
#[path = "../../fuzz/checks/web_configuration.rs"]
mod web_configuration;

/// A folder of the corpus with its check.
type Target = (&'static str, fn(&[u8]));

/// In the order of their names.
const TARGETS: [Target; 5] = [
    ("configuration", configuration::hold),
    ("exposition", exposition::hold),
    ("import", import::hold),
    ("stream", stream::hold),
    ("web_configuration", web_configuration::hold),
];

fn sorted(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths
}

#[test]
fn every_input_of_the_corpus_holds() {
    let corpus = root().join("fuzz/corpus");
    for (target, hold) in TARGETS {
        let inputs = sorted(&corpus.join(target));
        assert!(!inputs.is_empty(), "no input for {target}");
        for input in inputs {
            // Shown where the check fails.
            println!("{}", input.display());
            hold(&fs::read(&input).expect("an input"));
        }
    }
    let folders = sorted(&corpus);
    let names = folders.iter().filter_map(|folder| folder.file_name()?.to_str());
    assert!(names.eq(TARGETS.map(|(target, _)| target)), "a folder without a check: {folders:?}");
}
