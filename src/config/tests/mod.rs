//! The file as users see it: what it comes to, and what is said when it is wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;

use crate::domain::plan::{Api, CellOrder, GridPlan, Prompts, Secret};
use crate::domain::slots::CommandLine;
use crate::domain::{Facts, Grid};

use super::files::Surroundings;
use super::load::from_text;
use super::*;

mod examples;
mod files;
mod limits;
mod notify;
mod schedule;
mod schema;
mod slots;
mod sound;
mod unsound;
mod web;

/// A folder without files, and an environment of one variable.
fn around() -> Surroundings<'static> {
    let variable = &|name: &str| (name == "KEY").then(|| "from-env".to_owned());
    Surroundings { folder: Path::new("/nowhere"), variable, ..Surroundings::nowhere() }
}

/// The configuration of a text.
fn read(yaml: &str) -> Result<Config, Problems> {
    from_text(yaml, "f", around())
}

/// A file with one sound target, and `keys` in it.
fn target(keys: &str) -> String {
    format!("targets:\n  - name: a\n    url: http://host:1\n{keys}")
}

/// Every problem of a text, one line each.
#[track_caller]
fn check(yaml: &str, expected: &str) {
    let problems = read(yaml).map_or_else(|problems| problems.to_string(), |_| String::new());
    assert_eq!(problems, expected, "\n{yaml}");
}

/// Every problem of one target's keys.
#[track_caller]
fn check_target(keys: &str, expected: &str) {
    check(&target(keys), expected);
}

/// What `keys` change in a target that has nothing but defaults.
#[track_caller]
fn check_plan(keys: &str, change: impl FnOnce(&mut TargetPlan)) {
    let plan = |keys| read(&target(keys)).unwrap_or_else(|problems| panic!("{problems}\n{keys}")).targets.remove(0);
    let mut expected = plan("");
    change(&mut expected);
    assert_eq!(plan(keys), expected, "\n{keys}");
}

#[test]
fn flags_are_named_when_they_are_wrong() {
    let problems = without_file("host:1", Some(""), Some(Path::new("no/key"))).expect_err("is unsound").to_string();
    let expected = "\
--target.url: must start with http:// or https://; hint: such as http://127.0.0.1:11434
--target.model: must not be empty
--target.api-key-file: cannot be read: no/key: No such file or directory (os error 2)";
    assert_eq!(problems, expected);
}

#[test]
fn flags_stand_in_for_a_file() {
    let key_file = tempfile::NamedTempFile::new().expect("a file can be made");
    std::fs::write(&key_file, "sk-1\n").expect("a file can be written");
    let config = without_file("https://[::1]:8000/llm/", Some("m"), Some(key_file.path())).expect("is sound");
    let target = &config.targets[0];
    assert_eq!(target.connection.url, "https://[::1]:8000/llm");
    assert_eq!(target.connection.api_key.as_ref().map(Secret::reveal), Some("sk-1"));
    assert_eq!(target.connection.api_key_file.as_deref(), Some(key_file.path()));
    assert_eq!(target.lane, "[::1]");
    assert_eq!(target.model.as_deref(), Some("m"));
    assert!(config.seed_was_drawn);
}

/// Every key and a few values, in an order that makes little sense.
fn nonsense() -> impl Strategy<Value = String> {
    let words = default_yaml().split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let marks = [":", "- ", "\n", "\n  ", "{", "}", "[", "]", "&a ", "*a", "<<: *a", "|", "\"", "'", "? ", "!!int "];
    let pieces: Vec<String> = words.into_iter().chain(marks.map(str::to_owned)).collect();
    prop::collection::vec(prop::sample::select(pieces), 0..40).prop_map(|pieces| pieces.join(" "))
}

proptest! {
    #[test]
    fn no_text_panics(text in prop_oneof![any::<String>(), nonsense()]) {
        if let Err(problems) = read(&text) {
            prop_assert!(!problems.0.is_empty());
        }
    }

    #[test]
    fn no_damage_to_a_sound_file_panics(at in any::<prop::sample::Index>(), piece in "\\PC{0,3}") {
        let mut yaml = default_yaml();
        let places: Vec<usize> = yaml.char_indices().map(|(place, _)| place).collect();
        yaml.insert_str(*at.get(&places), &piece);
        if let Err(problems) = read(&yaml) {
            prop_assert!(!problems.0.is_empty());
        }
    }
}
