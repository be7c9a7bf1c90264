//! The laws of the house, as far as a machine can see them: floors, sizes, prologues.

use std::path::{Path, PathBuf};

use crate::support::root;

/// Each folder of `src` with the folders that it may import, beside itself.
const FLOORS: [(&str, &[&str]); 15] = [
    ("domain", &[]),
    ("analysis", &["domain"]),
    ("client", LOW),
    ("environment", LOW),
    ("process", &["domain"]),
    ("store", LOW),
    ("exchange", LOW),
    ("sim", LOW),
    ("soak", MIDDLE),
    ("metrics", HIGH),
    ("report", HIGH),
    ("notify", &["domain"]),
    (
        "web",
        &[
            "domain",
            "analysis",
            "client",
            "environment",
            "process",
            "store",
            "exchange",
            "sim",
            "soak",
            "metrics",
            "report",
        ],
    ),
    ("config", &["domain"]),
    (
        "cli",
        &[
            "domain",
            "analysis",
            "client",
            "environment",
            "process",
            "store",
            "exchange",
            "sim",
            "soak",
            "metrics",
            "report",
            "notify",
            "web",
            "config",
        ],
    ),
];
const LOW: &[&str] = &["domain", "analysis"];
const MIDDLE: &[&str] = &["domain", "analysis", "client", "environment", "process", "store", "exchange", "sim"];
const HIGH: &[&str] = &["domain", "analysis", "client", "environment", "process", "store", "exchange", "sim", "soak"];

/// Lines that a file may have without a reason.
const MOST_LINES: usize = 500;

/// All files below a folder whose names end in `.rs`, with their texts.
fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("a source");
                found.push((path, text));
            }
        }
    }
    found.sort();
    found
}

/// Every source of the package.
fn all_sources() -> Vec<(PathBuf, String)> {
    let build = root().join("build.rs");
    let text = std::fs::read_to_string(&build).expect("a source");
    let folders = ["src", "tests", "benches", "fuzz/checks", "fuzz/targets"].map(|folder| root().join(folder));
    folders.iter().filter(|folder| folder.is_dir()).flat_map(|folder| sources(folder)).chain([(build, text)]).collect()
}

/// A source without its comments.
fn code(text: &str) -> String {
    text.lines().map(|line| line.split_once("//").map_or(line, |(code, _)| code)).collect::<Vec<_>>().join("\n")
}

/// The first names of all paths that start at the crate's root: `crate::x`, `crate::{x, y}`,
/// and as many `super::` as lead there from a module that deep.
fn imports(code: &str, depth: usize) -> Vec<String> {
    let from_crate = code.match_indices("crate::").filter(|(at, _)| !code[..*at].ends_with(is_word)).flat_map(
        |(at, path)| match code[at + path.len()..].strip_prefix('{') {
            Some(group) => heads(group),
            None => vec![word(&code[at + path.len()..])],
        },
    );
    let climb = "super::".repeat(depth);
    let from_super = code.match_indices(&climb).map(|(at, path)| word(&code[at + path.len()..]));
    from_crate.chain(from_super).collect()
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_' || character == '$'
}

fn word(text: &str) -> String {
    text.chars().take_while(|&character| is_word(character)).collect()
}

/// The first names of the items of a group, which begins after its brace.
fn heads(group: &str) -> Vec<String> {
    let mut heads = Vec::new();
    let (mut depth, mut item) = (1, String::new());
    for character in group.chars() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 || (depth == 1 && character == ',') {
            heads.push(word(item.trim()));
            item.clear();
        } else {
            item.push(character);
        }
        if depth == 0 {
            break;
        }
    }
    heads
}

#[test]
fn imports_are_found_however_they_are_written() {
    let code = "use crate::store::Reader;\nuse crate::{web::{App, router},\n sim, soak};\nlet x = crate::cli::main();\n\
                use mycrate::report::a; super::super::metrics::X";
    assert_eq!(imports(code, 2), ["store", "web", "sim", "soak", "cli", "metrics"]);
}

#[test]
fn floors_import_lower_floors_only() {
    let floor = |name: &str| FLOORS.iter().find(|(known, _)| *known == name);
    let mut faults = Vec::new();
    let src = root().join("src");
    for (path, text) in sources(&src) {
        let inside = path.strip_prefix(&src).expect("below src");
        let parts: Vec<&str> = inside.iter().filter_map(|part| part.to_str()).collect();
        // lib.rs and main.rs stand on no floor: they name all of them.
        let [folder, .., file] = parts.as_slice() else { continue };
        let Some((_, allowed)) = floor(folder) else {
            faults.push(format!("src/{folder} has no floor: give it one in tests/suite/tidy.rs and in src/lib.rs"));
            continue;
        };
        let depth = if *file == "mod.rs" { parts.len() - 1 } else { parts.len() };
        for import in imports(&code(&text), depth) {
            if floor(&import).is_some() && import != *folder && !allowed.contains(&import.as_str()) {
                faults.push(format!("{} imports {import}: {folder} may not", inside.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn every_floor_is_in_the_library() {
    let library = std::fs::read_to_string(root().join("src/lib.rs")).expect("a source");
    for (folder, _) in FLOORS.iter().filter(|(folder, _)| root().join("src").join(folder).is_dir()) {
        assert!(library.contains(&format!("pub mod {folder};")), "src/lib.rs does not name {folder}");
    }
}

#[test]
fn files_are_of_a_size_that_can_be_read() {
    let is_excused = |text: &str| {
        text.lines().take_while(|line| line.starts_with("//!")).any(|line| line.starts_with("//! Long because"))
    };
    let long: Vec<_> = all_sources()
        .into_iter()
        .filter(|(_, text)| text.lines().count() > MOST_LINES && !is_excused(text))
        .map(|(path, text)| (path, text.lines().count()))
        .collect();
    assert!(long.is_empty(), "more than {MOST_LINES} lines without a reason in the prologue: {long:#?}");
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent: Vec<_> =
        all_sources().into_iter().filter(|(_, text)| !text.starts_with("//! ")).map(|(path, _)| path).collect();
    assert!(silent.is_empty(), "no prologue: {silent:#?}");
}

#[test]
fn no_lint_is_silenced_without_a_reason() {
    // Put together here, so that this file does not hold it.
    let silencers = ["#[", "#!["].map(|start| format!("{start}allow("));
    let silenced: Vec<_> = all_sources()
        .into_iter()
        .filter(|(_, text)| silencers.iter().any(|silencer| text.contains(silencer)))
        .map(|(path, _)| path)
        .collect();
    assert!(silenced.is_empty(), "use #[expect(lint, reason = …)]: {silenced:#?}");
}
