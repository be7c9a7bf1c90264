//! What a section may hold, in the words of JSON Schema.

use serde_json::{Map, Value as Json, json};

/// The keys of a section, as its reader asked for them.
#[derive(Debug, Default)]
pub(super) struct Shape {
    keys: Vec<(&'static str, Json)>,
    required: Vec<&'static str>,
    /// Pairs of which only one may be given.
    exclusions: Vec<[&'static str; 2]>,
    /// Pairs of which the first may not be given without the second.
    needs: Vec<[&'static str; 2]>,
    /// Keys of which one must be given.
    one_of: Vec<[&'static str; 2]>,
    choice: Option<Choice>,
}

/// A word that a key may hold, and two keys that depend on it: exactly one of them is given
/// beside that word, and neither beside another.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) key: &'static str,
    pub(super) word: &'static str,
    pub(super) one_of: [&'static str; 2],
}

impl Shape {
    pub(super) fn add(&mut self, key: &'static str, schema: Json) {
        self.keys.push((key, schema));
    }

    pub(super) fn require(&mut self, key: &'static str) {
        self.required.push(key);
    }

    pub(super) fn exclude(&mut self, one: &'static str, other: &'static str) {
        self.exclusions.push([one, other]);
    }

    pub(super) fn need(&mut self, one: &'static str, other: &'static str) {
        self.needs.push([one, other]);
    }

    pub(super) fn require_one_of(&mut self, keys: [&'static str; 2]) {
        self.one_of.push(keys);
    }

    pub(super) fn choose(&mut self, choice: Choice) {
        self.choice = Some(choice);
    }

    pub(super) fn names(&self) -> Vec<&'static str> {
        self.keys.iter().map(|(key, _)| *key).collect()
    }

    /// The schema of the section. One that needs no key may be left empty.
    pub(super) fn schema(self) -> Json {
        let properties: Map<String, Json> =
            self.keys.into_iter().map(|(key, schema)| (key.to_owned(), schema)).collect();
        let mut schema = json!({"properties": properties, "additionalProperties": false});
        let mut set =
            |keyword: &str, value: Json| schema.as_object_mut().map(|schema| schema.insert(keyword.to_owned(), value));
        if self.required.is_empty() {
            set("type", json!(["object", "null"]));
        } else {
            set("type", json!("object"));
            set("required", json!(self.required));
        }
        let never = self.exclusions.iter().map(|pair| json!({"not": {"type": "object", "required": pair}}));
        let some = self.one_of.iter().map(|keys| json!({"anyOf": keys.map(|key| json!({"required": [key]}))}));
        let all: Vec<Json> = never.chain(some).collect();
        if !all.is_empty() {
            set("allOf", json!(all));
        }
        if !self.needs.is_empty() {
            let needs = self.needs.iter().map(|&[one, other]| (one.to_owned(), json!([other])));
            set("dependentRequired", Json::Object(needs.collect()));
        }
        if let Some(Choice { key, word, one_of }) = self.choice {
            // A key without a value counts as left out.
            let given = |key: &str| json!({"required": [key], "properties": {key: {"not": {"type": "null"}}}});
            let left_out = one_of.map(|key| (key.to_owned(), json!({"type": "null"})));
            set("if", json!({"required": [key], "properties": {key: {"const": word}}}));
            set("then", json!({"oneOf": one_of.map(given)}));
            set("else", json!({"properties": left_out.into_iter().collect::<Map<_, _>>()}));
        }
        schema
    }
}
