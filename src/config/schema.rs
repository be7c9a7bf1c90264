//! The JSON Schema of the configuration, for editors and whoever writes such files.
//!
//! Keys, types and bounds are what the reader asked for when it was shown an empty file;
//! descriptions, defaults and examples are those of the generated configuration. So there
//! is no list here that could differ from either.

use serde_json::{Map, Value as Json, json};

use super::files::Surroundings;
use super::tree::{self, Node, Value};
use super::{default_yaml, keys, section};

/// The schema, draft 2020-12.
///
/// It is a little stricter than the reader, which takes a key without a value for one that
/// is left out, and looser where a key depends on another one's value or on the machine.
pub fn json_schema() -> Json {
    let mut schema = section::shape_of(|root| keys::config(root, Surroundings::nowhere())).schema();
    let mut path: Vec<(usize, &str)> = Vec::new();
    let yaml = default_yaml();
    for line in yaml.lines().filter_map(Line::read) {
        path.retain(|&(indent, _)| indent < line.indent);
        if let Some(section) = descend(&mut schema, path.iter().map(|&(_, key)| key)) {
            line.annotate(section);
        }
        path.push((line.indent, line.key));
    }
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        schema.insert("title".to_owned(), json!("llmsoak configuration"));
    }
    schema
}

/// The schema of the section at a path; that of its items, for a list.
fn descend<'s, 'k>(schema: &'s mut Json, path: impl Iterator<Item = &'k str>) -> Option<&'s mut Json> {
    let mut section = schema;
    for key in path {
        section = section.get_mut("properties")?.get_mut(key)?;
        if section.get("items").is_some() {
            section = section.get_mut("items")?;
        }
    }
    Some(section)
}

/// A line of the generated configuration: `key: value # comment`.
struct Line<'a> {
    indent: usize,
    key: &'a str,
    /// `None` for the head of a section.
    value: Option<Json>,
    comment: Option<&'a str>,
    /// Whether the value is an example, for it is commented out.
    is_commented_out: bool,
}

impl<'a> Line<'a> {
    /// `None` for what is no key: a remark.
    fn read(line: &'a str) -> Option<Self> {
        let (text, comment) = match line.rsplit_once(" # ") {
            Some((text, comment)) => (text, Some(comment)),
            None => (line, None),
        };
        // The mark of an item indents its keys like spaces.
        let rest = text.trim_start_matches([' ', '-']);
        let (key, value) = rest.trim_start_matches("# ").split_once(':')?;
        let value = value.trim();
        Some(Self {
            indent: text.len() - rest.len(),
            key,
            value: tree::parse(value).ok().filter(|_| !value.is_empty()).map(|node| to_json(&node)),
            comment,
            is_commented_out: rest.starts_with('#'),
        })
    }

    /// Adds what the line says of its key to the schema of the section around it.
    fn annotate(&self, section: &mut Json) {
        let required = section.get("required").and_then(Json::as_array);
        let is_required = required.is_some_and(|required| required.iter().any(|key| key == self.key));
        let Some(Json::Object(schema)) = section.get_mut("properties").and_then(|keys| keys.get_mut(self.key)) else {
            return;
        };
        if let Some(comment) = self.comment {
            let description = match schema.get("description").and_then(Json::as_str) {
                Some(bounds) if !comment.contains(bounds) => format!("{comment}; {bounds}"),
                _ => comment.to_owned(),
            };
            schema.insert("description".to_owned(), json!(description));
        }
        if let Some(value) = &self.value {
            let is_example = self.is_commented_out || is_required;
            let (keyword, value) = if is_example { ("examples", json!([value])) } else { ("default", value.clone()) };
            schema.insert(keyword.to_owned(), value);
        }
    }
}

/// A value of the file as JSON.
pub(super) fn to_json(node: &Node) -> Json {
    match &node.value {
        Value::Null => Json::Null,
        Value::Flag(flag) => json!(flag),
        // Null beyond what an integer of JSON holds: no bound is as high.
        Value::Whole(number) => json!(i64::try_from(*number).ok()),
        Value::Number(number) => json!(number),
        Value::Text(text) => json!(text),
        Value::List(items) => items.iter().map(to_json).collect(),
        Value::Map(entries) => {
            let entries = entries.iter().map(|entry| (entry.key.clone(), to_json(&entry.node)));
            Json::Object(entries.collect::<Map<_, _>>())
        }
    }
}
