//! A dashboard's file as questions to Prometheus.

use std::path::PathBuf;

use serde_json::Value;

use crate::support::root;

/// A dashboard.
#[derive(Debug)]
pub(super) struct Board {
    pub(super) file: String,
    pub(super) json: Value,
}

/// An expression of a panel or an annotation, as Grafana asks it.
#[derive(Clone, Debug)]
pub(super) struct Question {
    /// Dashboard, panel, letter.
    pub(super) place: String,
    pub(super) expr: String,
    /// At one time, or over the time that the dashboard shows.
    pub(super) instant: bool,
    /// Words with labels in double braces that name each series.
    pub(super) legend: String,
}

/// What Grafana puts in the places of variables.
#[derive(Clone, Copy, Debug)]
pub(super) struct Values {
    /// Of `$__rate_interval`.
    pub(super) rate_interval: &'static str,
    pub(super) range: &'static str,
    /// Of `$compare`, how far back.
    pub(super) compare: &'static str,
}

pub(super) fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// All dashboards, by file name.
pub(super) fn boards() -> Vec<Board> {
    let folder = std::fs::read_dir(root().join("grafana/dashboards")).expect("a folder");
    let mut files: Vec<PathBuf> = folder.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    let read = |path: PathBuf| {
        let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let text = std::fs::read_to_string(&path).expect("a text");
        let json = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
        Board { file, json }
    };
    files.into_iter().map(read).collect()
}

impl Board {
    pub(super) fn uid(&self) -> &str {
        text(&self.json, "/uid")
    }

    /// All panels, rows and those inside them too.
    pub(super) fn panels(&self) -> Vec<&Value> {
        list(&self.json, "/panels")
            .iter()
            .flat_map(|panel| std::iter::once(panel).chain(list(panel, "/panels")))
            .collect()
    }

    /// The panels that show something.
    pub(super) fn shown(&self) -> Vec<&Value> {
        self.panels().into_iter().filter(|panel| text(panel, "/type") != "row").collect()
    }

    pub(super) fn variables(&self) -> &[Value] {
        list(&self.json, "/templating/list")
    }

    pub(super) fn annotations(&self) -> &[Value] {
        list(&self.json, "/annotations/list")
    }

    /// The questions of all panels and annotations.
    pub(super) fn questions(&self) -> Vec<Question> {
        let of_panel = |panel: &Value| -> Vec<Question> {
            let targets = list(panel, "/targets").iter();
            let question = |target: &Value| Question {
                place: format!("{}: {}: {}", self.file, text(panel, "/title"), text(target, "/refId")),
                expr: text(target, "/expr").to_owned(),
                instant: target["instant"] == true,
                legend: text(target, "/legendFormat").to_owned(),
            };
            targets.map(question).collect()
        };
        let of_annotation = |annotation: &Value| Question {
            place: format!("{}: annotation {}", self.file, text(annotation, "/name")),
            expr: text(annotation, "/expr").to_owned(),
            instant: false,
            legend: text(annotation, "/titleFormat").to_owned() + text(annotation, "/textFormat"),
        };
        let panels = self.shown().into_iter().flat_map(of_panel);
        panels.chain(self.annotations().iter().map(of_annotation)).collect()
    }
}

/// An expression with all variables replaced: all of everything, and one objective.
pub(super) fn filled(expr: &str, values: Values) -> String {
    [
        ("$__rate_interval", values.rate_interval),
        ("$__range", values.range),
        ("$compare", values.compare),
        ("$objective", "throughput"),
        ("$job", "llmsoak"),
        ("$instance", ".+"),
        ("$target", ".+"),
        ("$model", ".*"),
    ]
    .iter()
    .fold(expr.to_owned(), |expr, (variable, value)| expr.replace(variable, value))
}

/// The labels that a legend names.
pub(super) fn legend_labels(legend: &str) -> Vec<&str> {
    legend.split("{{").skip(1).filter_map(|rest| rest.split("}}").next()).map(str::trim).collect()
}

/// The metrics of an expression, each with its matchers.
pub(super) fn selectors(expr: &str) -> Vec<(&str, &str)> {
    let is_name = |character: char| character.is_ascii_alphanumeric() || character == '_' || character == ':';
    expr.match_indices('{')
        .filter_map(|(at, _)| {
            let (before, after) = (&expr[..at], &expr[at + 1..]);
            let start = before.rfind(|character| !is_name(character)).map_or(0, |last| last + 1);
            Some((&before[start..], after.split_once('}')?.0))
        })
        .collect()
}
