//! YAML text as a tree of values that know their line. It gives no key a meaning.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::{DuplicateKeyPolicy, NonFiniteFloatPolicy};
use serde_saphyr::{MessageFormatter, Spanned, UserMessageFormatter};

use super::problem::Fault;

/// A value and the line on which it is used: for an alias, that of the alias.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) line: u64,
    pub(super) value: Value,
}

#[derive(Debug)]
pub(super) enum Value {
    Null,
    Flag(bool),
    Whole(i128),
    Number(f64),
    Text(String),
    List(Vec<Node>),
    /// In the order of the file, repeated keys included: whether they are wrong is for the
    /// reader to say, together with all else that is.
    Map(Vec<Entry>),
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) line: u64,
    pub(super) node: Node,
}

/// What makes a text no YAML, and on which line.
#[derive(Debug)]
pub(super) struct NotYaml {
    pub(super) line: Option<u64>,
    pub(super) fault: Fault,
}

/// Reads one YAML document.
///
/// Reading recurses, so depth is bounded, and so is what aliases can blow up: a
/// configuration needs six levels and a handful of anchors.
pub(super) fn parse(text: &str) -> Result<Node, NotYaml> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_depth: 16, max_nodes: 50_000 },
        alias_limits: serde_saphyr::alias_limits! { max_replay_stack_depth: 2, max_total_replayed_events: 50_000 },
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        // A target may well be called `on`, and a lane `no`.
        strict_booleans: true,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| NotYaml {
        line: error.location().map(|location| location.line()).filter(|&line| line > 0),
        fault: Fault::new(format!("is not sound YAML: {}", UserMessageFormatter.format_message(&error))),
    })
}

impl Value {
    /// What kind of value it is, in words that fit after "not". Never the value itself,
    /// which may be secret.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Flag(_) => "true or false",
            Self::Whole(_) | Self::Number(_) => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map of keys",
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value, referenced, .. } = Spanned::deserialize(deserializer)?;
        Ok(Self { line: referenced.line(), value })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Flag(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Whole(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Whole(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Number(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Value, A::Error> {
        let mut map = Vec::new();
        while let Some((key, node)) = pairs.next_entry::<Spanned<String>, Node>()? {
            map.push(Entry { line: key.referenced.line(), key: key.value, node });
        }
        Ok(Value::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tree as text: values with their lines.
    fn shown(node: &Node) -> String {
        let value = match &node.value {
            Value::Null => "null".to_owned(),
            Value::Flag(flag) => flag.to_string(),
            Value::Whole(number) => number.to_string(),
            Value::Number(number) => format!("{number:?}"),
            Value::Text(text) => format!("{text:?}"),
            Value::List(list) => format!("[{}]", list.iter().map(shown).collect::<Vec<_>>().join(" ")),
            Value::Map(map) => {
                let pairs = map.iter().map(|Entry { key, line, node }| format!("{key}@{line}={}", shown(node)));
                format!("{{{}}}", pairs.collect::<Vec<_>>().join(" "))
            }
        };
        format!("{value}@{}", node.line)
    }

    fn check(yaml: &str, expected: &str) {
        let tree = match parse(yaml) {
            Ok(node) => shown(&node),
            Err(NotYaml { line, fault }) => format!("{line:?} {fault:?}"),
        };
        assert_eq!(tree, expected, "{yaml}");
    }

    #[test]
    fn every_value_knows_its_line() {
        check("a: 1\nb:\n  - x\n  - -2.5\nc: {d: true}\n", r#"{a@1=1@1 b@2=["x"@3 -2.5@4]@3 c@5={d@5=true@5}@5}@1"#);
    }

    #[test]
    fn a_repeated_key_is_kept() {
        check("a: 1\na: 2\n", "{a@1=1@1 a@2=2@2}@1");
    }

    #[test]
    fn words_that_only_old_yaml_takes_for_flags_are_text() {
        check("[yes, on, true, ~]", r#"["yes"@1 "on"@1 true@1 null@1]@1"#);
    }

    #[test]
    fn an_alias_is_where_it_is_used() {
        check("a: &x {b: 1}\nc: *x\nd:\n  <<: *x\n", "{a@1={b@1=1@1}@1 c@2={b@2=1@2}@2 d@3={b@4=1@4}@4}@1");
    }

    #[test]
    fn what_would_blow_up_is_refused() {
        let deep = "[".repeat(5000);
        let doubling = |n: u32| format!("a{}: &a{} [*a{n}, *a{n}]\n", n + 1, n + 1);
        let wide: String = std::iter::once("a0: &a0 x\n".to_owned()).chain((0..60).map(doubling)).collect();
        for text in [deep, wide] {
            assert!(parse(&text).is_err(), "{text}");
        }
    }
}
