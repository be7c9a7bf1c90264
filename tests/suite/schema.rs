//! What `llmsoak check` says of an example, and the schema that it prints.

use llmsoak::config::json_schema;

use crate::support::{Process, root};

/// What `check` with these flags prints when nothing is wrong.
fn printed(flags: &[&str]) -> String {
    let mut process = Process::start(&[&["check"], flags].concat());
    assert_eq!((process.code(), process.stderr().as_str()), (Some(0), ""), "check {flags:?}");
    process.stdout()
}

#[test]
fn the_schema_is_printed_whether_or_not_there_is_a_file() {
    let schema: serde_json::Value = serde_json::from_str(&printed(&["--schema"])).expect("JSON");
    assert_eq!(schema, json_schema());
    assert_eq!(printed(&["--schema", "--config.file", "no/such.yml"]), printed(&["--schema"]));
}

#[test]
fn an_example_has_its_bill() {
    let file = root().join("docs/examples/vllm.yml").display().to_string();
    let text = printed(&["--config.file", &file]);
    assert!(text.starts_with(&format!("{file}: sound\n")), "{text}");
    assert!(text.contains("25: 15 measured, 10 copies of those"), "{text}");
}
