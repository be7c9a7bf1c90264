//! What a section may hold, in the words of JSON Schema.

use serde_json::{Map, Value as Json, json};

/// The keys of a section, as its reader asked for them.
#[derive(Debug, Default)]
pub(super) struct Shape {
    keys: Vec<(&'static str, Json)>,
    required: Vec<&'static str>,
    /// Pairs of which only one may be given.
    exclusions: Vec<[&'static str; 2]>,
    /// Pairs of which neither may be given alone.
    pairs: Vec<[&'static str; 2]>,
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

    pub(super) fn pair(&mut self, one: &'static str, other: &'static str) {
        self.pairs.push([one, other]);
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
        if !self.exclusions.is_empty() {
            let never: Vec<Json> = self.exclusions.iter().map(|pair| json!({"not": {"required": pair}})).collect();
            set("allOf", json!(never));
        }
        if !self.pairs.is_empty() {
            let both = self
                .pairs
                .iter()
                .flat_map(|&[one, other]| [(one.to_owned(), json!([other])), (other.to_owned(), json!([one]))]);
            set("dependentRequired", Json::Object(both.collect()));
        }
        schema
    }
}
