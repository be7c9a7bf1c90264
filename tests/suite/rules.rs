//! The rules for Prometheus: sound, tested, and explained.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::root;
use crate::tools::tool;

fn read(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// The YAML files of a folder, by name.
fn files(folder: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join(folder)).expect("a folder");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yml"));
    files.sort();
    files
}

pub(crate) fn yaml(file: &Path) -> Value {
    serde_saphyr::from_str(&read(file)).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// All rules, recording and alerting.
pub(crate) fn rules() -> Vec<Value> {
    let groups = files("prometheus/rules").into_iter().flat_map(|file| list(&yaml(&file), "groups").to_vec());
    groups.flat_map(|group| list(&group, "rules").to_vec()).collect()
}

fn alerts() -> Vec<Value> {
    rules().into_iter().filter(|rule| rule.get("alert").is_some()).collect()
}

#[test]
fn promtool_finds_no_fault_in_configuration_and_rules() {
    let Some(promtool) = tool("promtool") else { return };
    let tests = files("prometheus/rules/tests");
    for (arguments, files) in [
        (&["check", "config"][..], vec![root().join("prometheus/prometheus.yml")]),
        (&["check", "rules", "--lint-fatal"], files("prometheus/rules")),
        (&["test", "rules"], tests),
    ] {
        let output = Command::new(&promtool).args(arguments).args(&files).output().expect("promtool starts");
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success() && !files.is_empty(), "{arguments:?}: {said}");
    }
}

#[test]
fn every_alert_has_words_and_a_place_in_the_runbook() {
    let runbook = read(&root().join("docs/runbook.md"));
    let headings: Vec<String> =
        runbook.lines().filter_map(|line| line.strip_prefix("## ")).map(str::to_lowercase).collect();
    let alerts = alerts();
    assert!(alerts.len() > 12);
    for alert in &alerts {
        let (name, annotations) = (text(alert, "alert"), &alert["annotations"]);
        assert!(name.starts_with("LlmSoak"), "{name}");
        assert!(["critical", "warning", "info"].contains(&text(&alert["labels"], "severity")), "{name}");
        assert!(!text(annotations, "summary").is_empty() && !text(annotations, "description").is_empty(), "{name}");
        let anchor = text(annotations, "runbook_url").strip_prefix("docs/runbook.md#").unwrap_or_default();
        assert_eq!(anchor, name.to_lowercase());
        assert!(headings.iter().any(|heading| heading == anchor), "{name} is not in docs/runbook.md");
    }
    let is_alert = |heading: &&String| alerts.iter().any(|alert| text(alert, "alert").to_lowercase() == **heading);
    assert_eq!(headings.iter().find(|heading| heading.starts_with("llmsoak") && !is_alert(heading)), None);
}

#[test]
fn every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_is_silent() {
    let cases: Vec<Value> =
        files("prometheus/rules/tests").iter().flat_map(|file| list(&yaml(file), "tests").to_vec()).collect();
    let looks: Vec<&Value> = cases.iter().flat_map(|case| list(case, "alert_rule_test")).collect();
    for alert in alerts() {
        let (name, severity) = (text(&alert, "alert"), text(&alert["labels"], "severity"));
        let fires = |look: &&&Value| {
            list(look, "exp_alerts").iter().any(|fired| text(&fired["exp_labels"], "severity") == severity)
        };
        let of_it = || looks.iter().filter(|look| text(look, "alertname") == name);
        assert!(of_it().any(|look| fires(&look)), "{name}, {severity}, never fires in a test");
        assert!(of_it().any(|look| list(look, "exp_alerts").is_empty()), "{name} is never silent in a test");
    }
}
