//! What a draft says, and that any name survives it.

use proptest::prelude::*;

use super::*;
use crate::config::drafted;
use crate::domain::Grid;
use crate::domain::plan::GridPlan;

fn check_scalar(text: &str, expected: &str) {
    assert_eq!(scalar(text), expected);
}

#[test]
fn what_could_be_taken_for_something_else_is_quoted() {
    check_scalar("gemma3:4b", "gemma3:4b");
    check_scalar("http://127.0.0.1:1/v2", "http://127.0.0.1:1/v2");
    check_scalar("/models/a+b.gguf", "/models/a+b.gguf");
    for word in ["1.0", "1e3", "On", "null", "~", "-", "a: b", "a #b", "[a]", "&a", "*a", "x:", ".inf", " a", "a b"] {
        check_scalar(word, &format!("\"{word}\""));
    }
    check_scalar("a\"b\\c", r#""a\"b\\c""#);
    check_scalar("a\u{2028}\u{feff}b", r#""a\U00002028\U0000feffb""#);
}

#[test]
fn remarks_stand_above_their_keys_and_break_no_line() {
    let quoted = "offers\r\n  x: 1\u{85}\u{2028}".to_owned() + &"word ".repeat(30);
    let remarks = vec![("workers", "told: 4 slots".to_owned()), ("model", quoted)];
    let yaml = draft_yaml(&Draft { remarks, ..Draft::default() });
    let lines: Vec<&str> = yaml.lines().collect();
    let place = |start: &str| lines.iter().position(|line| line.starts_with(start)).expect(start);
    assert_eq!(lines[place("      # told: 4 slots") + 1].split(':').next(), Some("      # workers"));
    assert_eq!(lines[place("    # model:") - 2].split("word").next(), Some("    # offers?? x: 1??"));
    assert!(lines[place("    # model:") - 1].starts_with("    # word"));
}

#[test]
fn axes_stand_in_the_place_of_the_preset() {
    let axes = Some((vec![1, 2], vec![1, 2, 4]));
    let config = drafted(&Draft { axes, ..Draft::default() }).expect("is sound");
    let expected = Grid::new(&[1, 2], &[1, 2, 4], true).expect("axes are sound");
    assert_eq!(config.targets[0].grid, GridPlan::Fixed(expected));
}

/// Names as servers may have them, and those that YAML has a meaning for.
fn model() -> impl Strategy<Value = String> {
    let odd = ["true", "NO", "~", "0x1f", "1_000", "1:30", ".nan", "2026-01-01", "- a", "? a", "!!int 1", "<<", "%a"];
    prop_oneof!["\\PC{1,60}", "[ -~]{1,60}", prop::sample::select(odd.to_vec()).prop_map(str::to_owned)]
        .prop_filter("not blank", |name| !name.trim().is_empty())
}

proptest! {
    #[test]
    fn any_model_name_survives(name in model()) {
        let remarks = vec![("model", format!("others: {name}"))];
        let draft = Draft { model: Some(name.clone()), remarks, ..Draft::default() };
        let config = drafted(&draft).map_err(|problems| TestCaseError::fail(problems.to_string()))?;
        prop_assert_eq!(config.targets[0].model.as_deref(), Some(name.as_str()));
        prop_assert_eq!(&config.targets[0].connection.url, &draft.url);
    }
}
