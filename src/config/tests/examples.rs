//! The examples for each kind of server, which users copy as they are.

use std::path::PathBuf;

use super::*;

/// Each example by its file's name, with its text.
pub(super) fn examples() -> Vec<(String, String)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/examples");
    let entries = std::fs::read_dir(folder).expect("docs/examples").map(|entry| entry.expect("an entry"));
    let mut examples: Vec<_> = entries
        .map(|entry| {
            let name = entry.file_name().into_string().expect("a plain name");
            (name, std::fs::read_to_string(entry.path()).expect("a text"))
        })
        .collect();
    examples.sort();
    examples
}

/// An example on a machine that has the key and no time zone, as in a container.
fn read_example(name: &str, text: &str) -> Config {
    let variable = &|name: &str| (name == "LLM_API_KEY").then(|| "sk-1".to_owned());
    let around = Surroundings { variable, ..Surroundings::nowhere() };
    from_text(text, name, around).unwrap_or_else(|problems| panic!("{problems}"))
}

#[test]
fn every_example_is_sound() {
    let names: Vec<String> =
        examples().into_iter().map(|(name, text)| (name.clone(), read_example(&name, &text)).0).collect();
    let expected = [
        "hosted-api",
        "llama.cpp-slots",
        "llama.cpp",
        "lm-studio",
        "ollama-slots",
        "ollama",
        "sglang",
        "systemd-slots",
        "tgi",
        "vllm-slots",
        "vllm",
    ]
    .map(|n| format!("{n}.yml"));
    assert_eq!(names, expected);
}

#[test]
fn who_pays_by_the_token_is_bounded() {
    let (name, text) = examples().into_iter().find(|(name, _)| name == "hosted-api.yml").expect("the example");
    let config = read_example(&name, &text);
    let target = &config.targets[0];
    assert!(target.connection.url.starts_with("https://"));
    assert_eq!(target.connection.api_key.as_ref().map(Secret::reveal), Some("sk-1"));
    assert!(target.budget.limits_anything());
    assert!(!config.schedule.yield_to_foreign_load);
}

#[test]
fn a_shared_box_is_left_alone_by_day() {
    let (name, text) = examples().into_iter().find(|(name, _)| name == "vllm.yml").expect("the example");
    let schedule = read_example(&name, &text).schedule;
    let is_open = |at: &str| schedule.windows.is_open(at.parse().expect("a time"));
    assert!(!is_open("2026-11-24T11:00Z"), "Tuesday noon in Berlin");
    assert!(is_open("2026-11-24T22:00Z"), "Tuesday night");
    assert!(is_open("2026-11-22T11:00Z"), "Sunday noon");
    assert_eq!(schedule.max_duty, 0.5);
}
