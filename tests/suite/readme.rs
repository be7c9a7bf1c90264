//! README.md, documents, dashboards and rules say what the program does, no more and no less.

use std::collections::BTreeSet;
use std::path::Path;

use clap::{Arg, Command, CommandFactory as _};
use llmsoak::cli::args::Args;
use llmsoak::config::default_yaml;
use llmsoak::domain::{FailureKind, InvalidReason, SchedulerState};

use crate::support::{Stage, Target, root, simulator, soaked};

const PREFIX: &str = "llmsoak_";
/// The suffixes of the series of a histogram.
const PARTS: [&str; 3] = ["_bucket", "_sum", "_count"];

fn readme() -> String {
    std::fs::read_to_string(root().join("README.md")).expect("README.md")
}

/// All texts below a folder; none where it is not there.
fn texts(folder: &Path) -> Vec<(String, String)> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .flat_map(|path| {
            if path.is_dir() {
                return texts(&path);
            }
            let text = std::fs::read_to_string(&path);
            text.map_or_else(|_| Vec::new(), |text| vec![(path.display().to_string(), text)])
        })
        .collect()
}

/// The names of metrics that a text holds. One that breaks off at an underscore, as in
/// `llmsoak_cell_…`, stands for many and is none; nor is what a rule records, with its colons.
pub(crate) fn names(text: &str) -> BTreeSet<&str> {
    let is_part = |character: char| character.is_ascii_lowercase() || character.is_ascii_digit() || character == '_';
    text.split(|character: char| !is_part(character) && !character.is_ascii_uppercase() && character != ':')
        .map(|name| name.trim_matches(':'))
        .filter(|name| name.starts_with(PREFIX) && name.chars().all(is_part) && !name.ends_with('_'))
        .collect()
}

/// The words of a text's code, in spans and blocks. A name that is only part of a longer one
/// is no word, nor is one in prose, where `reset` and `connect` are English.
fn code_words(text: &str) -> BTreeSet<&str> {
    let is_part = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.');
    text.split('`').skip(1).step_by(2).flat_map(|code| code.split(|character| !is_part(character))).collect()
}

/// README.md has each of these names in its code.
fn check_named(names: impl IntoIterator<Item = String>) {
    let readme = readme();
    let words = code_words(&readme);
    let (known, missing): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| words.contains(name.as_str()));
    assert!(missing.is_empty(), "not in README.md: {missing:#?}");
    assert!(!known.is_empty(), "there is nothing to look for");
}

/// What a command's arguments, and those of the commands below it, have to say.
fn of_arguments(command: &Command, read: fn(&Arg) -> Option<String>) -> Vec<String> {
    let below = command.get_subcommands().flat_map(|command| of_arguments(command, read));
    command.get_arguments().filter_map(read).chain(below).collect()
}

/// Whether the source makes a metric of that name: it has the name whole, or without the
/// beginning that a helper puts before it.
fn is_made(name: &str, source: &str) -> bool {
    let literal = |name: &str| source.contains(&format!("\"{name}\""));
    let shortened = ["llmsoak_cell_", PREFIX].iter().filter_map(|start| name.strip_prefix(start));
    literal(name) || shortened.into_iter().any(literal)
}

#[test]
fn every_metric_that_is_named_exists() {
    let source: String = texts(&root().join("src/metrics")).into_iter().map(|(_, text)| text).collect();
    let named = ["docs", "grafana", "prometheus"].into_iter().flat_map(|folder| texts(&root().join(folder)));
    let mut unknown = Vec::new();
    for (file, text) in named.chain([("README.md".to_owned(), readme())]) {
        for name in names(&text) {
            let family = PARTS.iter().find_map(|part| name.strip_suffix(part));
            let is_known = is_made(name, &source) || family.is_some_and(|family| is_made(family, &source));
            if !is_known {
                unknown.push(format!("{file}: {name}"));
            }
        }
    }
    assert!(unknown.is_empty(), "{unknown:#?}");
}

#[test]
fn every_exposed_metric_is_documented() {
    let (_sim, sim) = simulator(&[]);
    let stage = Stage::new();
    let (_daemon, address) = stage.run(&[Target::at(sim)]);
    let seen = soaked(address);
    let readme = readme();
    let rows: String = readme.lines().filter(|line| line.trim_start().starts_with('|')).collect();
    let documented: BTreeSet<&str> = rows.split('`').flat_map(names).collect();
    let exposed: BTreeSet<&str> = seen.families().into_iter().filter(|name| name.starts_with(PREFIX)).collect();
    let missing: Vec<_> = exposed.difference(&documented).collect();
    assert!(missing.is_empty(), "no row in README.md's table of metrics: {missing:#?}");
}

#[test]
fn the_configuration_is_the_default_one() {
    let yaml = default_yaml();
    let first = yaml.lines().next().expect("a configuration");
    let readme = readme();
    let opening = format!("```yaml\n{first}\n");
    let start = readme.find(&opening).unwrap_or_else(|| panic!("README.md has no block that starts with {first}"));
    let block = readme[start..].trim_start_matches("```yaml\n").split("\n```").next().unwrap_or_default();
    assert_eq!(block, yaml.trim_end(), "README.md's configuration is not the default one");
}

#[test]
fn every_command_is_there() {
    let readme = readme();
    let missing: Vec<String> = Args::command()
        .get_subcommands()
        .map(|command| format!("llmsoak {}", command.get_name()))
        .filter(|command| !command.ends_with(" help") && !readme.contains(command))
        .collect();
    assert!(missing.is_empty(), "not in README.md: {missing:?}");
}

#[test]
fn every_flag_is_there() {
    check_named(of_arguments(&Args::command(), |flag| Some(format!("--{}", flag.get_long()?))));
}

#[test]
fn every_environment_variable_is_there() {
    check_named(of_arguments(&Args::command(), |flag| Some(flag.get_env()?.to_string_lossy().into_owned())));
}

#[test]
fn every_reason_and_state_is_there() {
    check_named(FailureKind::ALL.iter().map(ToString::to_string));
    check_named(InvalidReason::ALL.iter().map(ToString::to_string));
    check_named(SchedulerState::ALL.iter().map(ToString::to_string));
}

#[test]
fn every_table_of_the_history_is_there() {
    let migrations = texts(&root().join("src/store/migrations"));
    let tables = migrations.iter().flat_map(|(_, text)| text.split("CREATE TABLE ").skip(1));
    check_named(tables.filter_map(|table| table.split_whitespace().next().map(str::to_owned)));
}

#[test]
fn every_example_is_there() {
    let readme = readme();
    let examples = std::fs::read_dir(root().join("docs/examples")).expect("docs/examples");
    let names = examples.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    let missing: Vec<String> = names.filter(|name| !readme.contains(&format!("(docs/examples/{name})"))).collect();
    assert!(missing.is_empty(), "not linked from README.md: {missing:?}");
}
