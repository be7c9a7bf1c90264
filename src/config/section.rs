//! Reads a map key by key: values, defaults, and all that is wrong, in one pass.
//!
//! A section remembers which keys it was asked for, and of what kind. So the code that
//! reads a section is the only list of its keys: a key that nobody asked for is unknown,
//! and what was asked for is the schema.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use serde_json::json;

use super::kind::Kind;
use super::problem::{Collector, Fault, nearest};
use super::shape::{Choice, Shape};
use super::tree::{Entry, Node, Value};

/// One map of the file while it is read.
#[derive(Debug)]
pub(super) struct Section<'a> {
    /// Empty at the top of the file.
    path: String,
    line: Option<u64>,
    /// The first of each key.
    given: BTreeMap<&'a str, &'a Entry>,
    shape: Shape,
    problems: &'a Collector,
}

/// Reads the document as the section at the top of the file; an empty one has no keys.
pub(super) fn read_document<T>(
    document: &Node,
    problems: &Collector,
    read: impl FnOnce(&mut Section<'_>) -> T,
) -> Option<T> {
    Section::over(String::new(), document.line, document, problems).map(|section| section.read(read).0)
}

/// What `read` asks a section for: found out by letting it read an empty one.
pub(super) fn shape_of<T>(read: impl FnOnce(&mut Section<'_>) -> T) -> Shape {
    let unheard = Collector::new(None);
    Section::empty(String::new(), None, &unheard).read(read).1
}

impl<'a> Section<'a> {
    fn empty(path: String, line: Option<u64>, problems: &'a Collector) -> Self {
        Self { path, line, given: BTreeMap::new(), shape: Shape::default(), problems }
    }

    /// The section over a map. A null is a map that nobody has filled yet.
    fn over(path: String, line: u64, node: &'a Node, problems: &'a Collector) -> Option<Self> {
        let mut section = Self::empty(path, Some(line), problems);
        match &node.value {
            Value::Null => {}
            Value::Map(entries) => entries.iter().for_each(|entry| section.admit(entry)),
            other => {
                let fault = Fault::new(format!("must be a map of keys, not {}", other.kind()));
                problems.add(section.line, section.path, fault);
                return None;
            }
        }
        Some(section)
    }

    fn admit(&mut self, entry: &'a Entry) {
        if let Some(first) = self.given.get(entry.key.as_str()) {
            let fault = Fault::new(format!("is given twice, first on line {}", first.line)).hint("remove one of them");
            self.problems.add(Some(entry.line), self.path_of(&entry.key), fault);
        } else {
            self.given.insert(&entry.key, entry);
        }
    }

    /// Reads the section, then turns on the keys that were not asked for.
    fn read<T>(mut self, read: impl FnOnce(&mut Self) -> T) -> (T, Shape) {
        let value = read(&mut self);
        let known = self.shape.names();
        for (key, entry) in self.given.iter().filter(|(key, _)| !known.contains(key)) {
            let hint = match nearest(key, &known) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("known here: {}", known.join(", ")),
            };
            self.problems.add(Some(entry.line), self.path_of(key), Fault::new("unknown key").hint(hint));
        }
        (value, self.shape)
    }

    fn path_of(&self, key: &str) -> String {
        let dot = if self.path.is_empty() { "" } else { "." };
        format!("{}{dot}{key}", self.path)
    }

    /// A key that is given. One whose value is null counts as left out.
    fn given(&self, key: &str) -> Option<&'a Entry> {
        self.given.get(key).copied().filter(|entry| !matches!(entry.node.value, Value::Null))
    }

    /// Whether a key has a value.
    pub(super) fn has(&self, key: &str) -> bool {
        self.given(key).is_some()
    }

    /// The value of a key, or `None` where it is left out or wrong.
    pub(super) fn take<T>(&mut self, key: &'static str, kind: Kind<'_, T>) -> Option<T> {
        let read = self.given(key).map(|entry| (entry.line, kind.read(&entry.node)));
        self.shape.add(key, kind.into_schema());
        let (line, value) = read?;
        self.problems.keep(Some(line), self.path_of(key), value)
    }

    /// The value of a key, or its default. A wrong value gets the default too, which is
    /// never used: there is a problem.
    pub(super) fn take_or<T>(&mut self, key: &'static str, default: T, kind: Kind<'_, T>) -> T {
        self.take(key, kind).unwrap_or(default)
    }

    /// The value of a key that has no default.
    pub(super) fn require<T>(&mut self, key: &'static str, example: &str, kind: Kind<'_, T>) -> Option<T> {
        if !self.has(key) {
            self.complain(key, Fault::new("is missing").hint(format!("add `{key}: {example}`")));
        }
        self.shape.require(key);
        self.take(key, kind)
    }

    /// A section within this one. One that is left out reads as empty, so that the
    /// defaults of its keys are its default.
    pub(super) fn section<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Section<'_>) -> T) -> T {
        let inner = self.given(key).and_then(|entry| self.within(entry));
        let inner = inner.unwrap_or_else(|| Section::empty(self.path_of(key), self.line, self.problems));
        let (value, shape) = inner.read(read);
        self.shape.add(key, shape.schema());
        value
    }

    /// A section that is there for a reason: `None` where it is left out or is no map.
    pub(super) fn section_if_given<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Section<'_>) -> T,
    ) -> Option<T> {
        let (value, shape) = match self.given(key).and_then(|entry| self.within(entry)) {
            Some(inner) => {
                let (value, shape) = inner.read(read);
                (Some(value), shape)
            }
            None => (None, shape_of(read)),
        };
        self.shape.add(key, shape.schema());
        value
    }

    fn within(&self, entry: &'a Entry) -> Option<Section<'a>> {
        Section::over(self.path_of(&entry.key), entry.line, &entry.node, self.problems)
    }

    /// A list of so many values of one kind; empty where it is left out. Wrong items are left
    /// out of it.
    pub(super) fn list<T>(&mut self, key: &'static str, count: RangeInclusive<usize>, kind: Kind<'_, T>) -> Vec<T> {
        let (least, most) = (*count.start(), *count.end());
        let items = self.items(key, most);
        if self.has(key) && items.is_some_and(|items| items.len() < least) {
            self.complain(key, Fault::new(format!("must hold at least {least}")));
        }
        let items = items.unwrap_or_default();
        let path = self.path_of(key);
        let read =
            |(n, item): (usize, &Node)| self.problems.keep(Some(item.line), format!("{path}[{n}]"), kind.read(item));
        let values = items.iter().enumerate().filter_map(read).collect();
        let schema = json!({"type": "array", "items": kind.into_schema(), "minItems": least, "maxItems": most});
        self.shape.add(key, schema);
        values
    }

    /// A list of one section or more, at most `most`. Items that are no maps are left out of it.
    pub(super) fn require_list<T>(
        &mut self,
        key: &'static str,
        most: usize,
        example: &str,
        mut read: impl FnMut(&mut Section<'_>) -> T,
    ) -> Vec<T> {
        let item = shape_of(&mut read).schema();
        self.shape.add(key, json!({"type": "array", "items": item, "minItems": 1, "maxItems": most}));
        self.shape.require(key);
        let Some(items) = self.items(key, most) else { return Vec::new() };
        if items.is_empty() {
            self.complain(key, Fault::new("must hold at least one item").hint(format!("add `{key}: [{example}]`")));
        }
        let path = self.path_of(key);
        let section =
            |(n, item): (usize, &'a Node)| Section::over(format!("{path}[{n}]"), item.line, item, self.problems);
        items.iter().enumerate().filter_map(section).map(|section| section.read(&mut read).0).collect()
    }

    /// The items of a list; none of one that is left out, and `None` where it is no list.
    fn items(&self, key: &str, most: usize) -> Option<&'a [Node]> {
        match self.given(key).map(|entry| &entry.node.value) {
            None => Some(&[]),
            Some(Value::List(items)) => {
                if items.len() > most {
                    self.complain(key, Fault::new(format!("must hold at most {most} items")));
                }
                Some(items)
            }
            Some(other) => {
                self.complain(key, Fault::new(format!("must be a list, not {}", other.kind())));
                None
            }
        }
    }

    /// The entries of a map whose keys are the user's own: values of one kind, and what
    /// `read` makes of them. `names` is the pattern of the keys.
    pub(super) fn entries<V, T>(
        &mut self,
        key: &'static str,
        names: &str,
        kind: Kind<'_, V>,
        read: impl Fn(&str, V) -> Result<T, Fault>,
    ) -> Vec<T> {
        let inner = self.given(key).and_then(|entry| self.within(entry));
        let read = |inner: &Section<'_>, key: &str, entry: &Entry| {
            let value = kind.read(&entry.node).and_then(|value| read(key, value));
            self.problems.keep(Some(entry.line), inner.path_of(key), value)
        };
        let values = inner.map_or_else(Vec::new, |inner| {
            inner.given.iter().filter_map(|(key, entry)| read(&inner, key, entry)).collect()
        });
        let schema = json!({
            "type": ["object", "null"],
            "propertyNames": {"pattern": names},
            "additionalProperties": kind.into_schema(),
        });
        self.shape.add(key, schema);
        values
    }

    /// Two keys that say the same thing twice.
    pub(super) fn exclude(&mut self, one: &'static str, other: &'static str) {
        self.shape.exclude(one, other);
        if self.has(one) && self.has(other) {
            self.complain(other, Fault::new(format!("excludes `{one}`")).hint("keep one of them"));
        }
    }

    /// Two keys that mean nothing without each other.
    pub(super) fn pair(&mut self, one: &'static str, other: &'static str) {
        self.need(one, other, "give both, or neither");
        self.need(other, one, "give both, or neither");
    }

    /// A key that means nothing without another one.
    pub(super) fn need(&mut self, given: &'static str, needed: &'static str, hint: &str) {
        self.shape.need(given, needed);
        if self.has(given) && !self.has(needed) {
            self.complain(needed, Fault::new(format!("is missing beside `{given}`")).hint(hint));
        }
    }

    /// Two keys of which exactly one is given.
    pub(super) fn require_one_of(&mut self, keys: [&'static str; 2], hint: &str) {
        let [one, other] = keys;
        self.exclude(one, other);
        self.shape.require_one_of(keys);
        if !self.has(one) && !self.has(other) {
            self.complain(one, Fault::new(format!("is missing, and so is `{other}`")).hint(hint));
        }
    }

    /// Two keys of which exactly one is given where another key holds a certain word
    /// (`holds`), and neither where it holds another.
    pub(super) fn choose(&mut self, choice: Choice, holds: bool, hint: &str) {
        let Choice { key, word, one_of: [one, other] } = choice;
        let given: Vec<&str> = [one, other].into_iter().filter(|key| self.has(key)).collect();
        match (holds, given.as_slice()) {
            (true, [_]) => {}
            (true, []) => self.complain(key, Fault::new(format!("needs `{one}` or `{other}`")).hint(hint)),
            (true, _) => self.complain(other, Fault::new(format!("excludes `{one}`")).hint("keep one of them")),
            (false, given) => {
                for key_given in given {
                    let fault = Fault::new(format!("is only for `{key}: {word}`"));
                    self.complain(key_given, fault.hint(format!("add `{key}: {word}`, or remove it")));
                }
            }
        }
        self.shape.choose(choice);
    }

    /// Notes what is wrong with a key beyond its own value.
    pub(super) fn complain(&self, key: &str, fault: Fault) {
        let line = self.given.get(key).map(|entry| entry.line).or(self.line);
        self.problems.add(line, self.path_of(key), fault);
    }
}
