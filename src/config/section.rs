//! Reads a map key by key: values, defaults, and all that is wrong, in one pass.
//!
//! A section remembers which keys it was asked for. So the code that reads a section is
//! the only list of its keys, and a key that nobody asked for is unknown.

use std::collections::BTreeMap;

use super::problem::{Collector, Fault, nearest};
use super::tree::{Entry, Node, Value};

/// One map of the file while it is read.
#[derive(Debug)]
pub(super) struct Section<'a> {
    /// Empty at the top of the file.
    path: String,
    line: Option<u64>,
    /// The first of each key.
    given: BTreeMap<&'a str, &'a Entry>,
    known: Vec<&'static str>,
    problems: &'a Collector,
}

/// Reads the document as the section at the top of the file; an empty one has no keys.
pub(super) fn read_document<T>(
    document: &Node,
    problems: &Collector,
    read: impl FnOnce(&mut Section<'_>) -> T,
) -> Option<T> {
    Section::over(String::new(), document.line, document, problems).map(|section| section.read(read))
}

impl<'a> Section<'a> {
    fn empty(path: String, line: Option<u64>, problems: &'a Collector) -> Self {
        Self { path, line, given: BTreeMap::new(), known: Vec::new(), problems }
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
    fn read<T>(mut self, read: impl FnOnce(&mut Self) -> T) -> T {
        let value = read(&mut self);
        for (key, entry) in &self.given {
            if !self.known.contains(key) {
                let hint = match nearest(key, &self.known) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => format!("known here: {}", self.known.join(", ")),
                };
                self.problems.add(Some(entry.line), self.path_of(key), Fault::new("unknown key").hint(hint));
            }
        }
        value
    }

    fn path_of(&self, key: &str) -> String {
        let dot = if self.path.is_empty() { "" } else { "." };
        format!("{}{dot}{key}", self.path)
    }

    /// A key that is given. One whose value is null counts as left out.
    fn given(&self, key: &str) -> Option<&'a Entry> {
        self.given.get(key).copied().filter(|entry| !matches!(entry.node.value, Value::Null))
    }

    /// The same, and from now on the key is a known one.
    fn ask(&mut self, key: &'static str) -> Option<&'a Entry> {
        self.known.push(key);
        self.given(key)
    }

    /// Whether a key has a value.
    pub(super) fn has(&self, key: &str) -> bool {
        self.given(key).is_some()
    }

    /// The value of a key, or `None` where it is left out or wrong.
    pub(super) fn take<T>(&mut self, key: &'static str, read: impl FnOnce(&Node) -> Result<T, Fault>) -> Option<T> {
        let entry = self.ask(key)?;
        self.problems.keep(Some(entry.line), self.path_of(key), read(&entry.node))
    }

    /// The value of a key, or its default. A wrong value gets the default too, which is
    /// never used: there is a problem.
    pub(super) fn take_or<T>(
        &mut self,
        key: &'static str,
        default: T,
        read: impl FnOnce(&Node) -> Result<T, Fault>,
    ) -> T {
        self.take(key, read).unwrap_or(default)
    }

    /// The value of a key that has no default.
    pub(super) fn require<T>(
        &mut self,
        key: &'static str,
        example: &str,
        read: impl FnOnce(&Node) -> Result<T, Fault>,
    ) -> Option<T> {
        if !self.has(key) {
            self.complain(key, Fault::new("is missing").hint(format!("add `{key}: {example}`")));
        }
        self.take(key, read)
    }

    /// A section within this one. One that is left out reads as empty, so that the
    /// defaults of its keys are its default.
    pub(super) fn section<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Section<'a>) -> T) -> T {
        let inner = self.ask(key).and_then(|entry| self.within(entry));
        inner.unwrap_or_else(|| Section::empty(self.path_of(key), self.line, self.problems)).read(read)
    }

    fn within(&self, entry: &'a Entry) -> Option<Section<'a>> {
        Section::over(self.path_of(&entry.key), entry.line, &entry.node, self.problems)
    }

    /// A list of at least one section. Items that are no maps are left out of it.
    pub(super) fn require_list<T>(
        &mut self,
        key: &'static str,
        example: &str,
        mut read: impl FnMut(&mut Section<'a>) -> T,
    ) -> Vec<T> {
        let items: &[Node] = match self.ask(key).map(|entry| &entry.node.value) {
            None => &[],
            Some(Value::List(items)) => items,
            Some(other) => {
                self.complain(key, Fault::new(format!("must be a list, not {}", other.kind())));
                return Vec::new();
            }
        };
        if items.is_empty() {
            self.complain(key, Fault::new("must hold at least one item").hint(format!("add `{key}: [{example}]`")));
        }
        let path = self.path_of(key);
        let section =
            |(n, item): (usize, &'a Node)| Section::over(format!("{path}[{n}]"), item.line, item, self.problems);
        items.iter().enumerate().filter_map(section).map(|section| section.read(&mut read)).collect()
    }

    /// The entries of a map whose keys are the user's own.
    pub(super) fn entries<T>(&mut self, key: &'static str, read: impl Fn(&str, &Node) -> Result<T, Fault>) -> Vec<T> {
        let Some(inner) = self.ask(key).and_then(|entry| self.within(entry)) else { return Vec::new() };
        let read = |(key, entry): (&&str, &&Entry)| {
            self.problems.keep(Some(entry.line), inner.path_of(key), read(key, &entry.node))
        };
        inner.given.iter().filter_map(read).collect()
    }

    /// Two keys that say the same thing twice.
    pub(super) fn exclude(&self, one: &str, other: &str) {
        if self.has(one) && self.has(other) {
            self.complain(other, Fault::new(format!("excludes `{one}`")).hint("keep one of them"));
        }
    }

    /// Notes what is wrong with a key beyond its own value.
    pub(super) fn complain(&self, key: &str, fault: Fault) {
        let line = self.given.get(key).map(|entry| entry.line).or(self.line);
        self.problems.add(line, self.path_of(key), fault);
    }
}
