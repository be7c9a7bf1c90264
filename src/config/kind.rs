//! Kinds of values: how each is read, and the same in the words of JSON Schema.
//!
//! The two stand side by side, so that `llmsoak check --schema` cannot tell of other
//! values than those that are read.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::problem::Fault;
use super::tree::{Node, Value};
use crate::domain::duration;

/// Durations of at least one unit, in the words of JSON Schema.
const DURATION: &str = "^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$";
/// The most bytes of a text value.
const TEXT_BYTES: usize = 4096;

type Reader<'a, T> = dyn Fn(&Node) -> Result<T, Fault> + 'a;

/// What the value of a key may be.
pub(super) struct Kind<'a, T> {
    schema: Json,
    read: Box<Reader<'a, T>>,
}

impl<'a, T: 'a> Kind<'a, T> {
    pub(super) fn new(schema: Json, read: impl Fn(&Node) -> Result<T, Fault> + 'a) -> Self {
        Self { schema, read: Box::new(read) }
    }

    pub(super) fn schema(&self) -> &Json {
        &self.schema
    }

    pub(super) fn into_schema(self) -> Json {
        self.schema
    }

    pub(super) fn read(&self, node: &Node) -> Result<T, Fault> {
        (self.read)(node)
    }

    /// The same values, turned into something else.
    pub(super) fn map<U: 'a>(self, turn: impl Fn(T) -> U + 'a) -> Kind<'a, U> {
        self.and_then(move |value| Ok(turn(value)))
    }

    /// The same values, but for those that `turn` refuses.
    pub(super) fn and_then<U: 'a>(self, turn: impl Fn(T) -> Result<U, Fault> + 'a) -> Kind<'a, U> {
        let Self { schema, read } = self;
        Kind::new(schema, move |node| turn(read(node)?))
    }

    /// Says of these values what `keywords` of JSON Schema say.
    pub(super) fn with(mut self, keywords: Json) -> Self {
        if let (Json::Object(schema), Json::Object(keywords)) = (&mut self.schema, keywords) {
            schema.extend(keywords);
        }
        self
    }
}

/// Text that is not empty and fits on a line.
pub(super) fn text() -> Kind<'static, String> {
    Kind::new(json!({"type": "string", "minLength": 1, "maxLength": TEXT_BYTES}), |node| match &node.value {
        Value::Text(text) => checked_text(text).map(str::to_owned),
        Value::Whole(_) | Value::Number(_) | Value::Flag(_) => {
            Err(Fault::new(format!("must be text, not {}", node.value.kind())).hint("put it in quotes"))
        }
        other => Err(Fault::new(format!("must be text, not {}", other.kind()))),
    })
}

pub(super) fn checked_text(text: &str) -> Result<&str, Fault> {
    if text.trim().is_empty() {
        return Err(Fault::new("must not be empty"));
    }
    if text.len() > TEXT_BYTES {
        return Err(Fault::new(format!("must be at most {TEXT_BYTES} bytes long")));
    }
    if text.contains(char::is_control) {
        return Err(Fault::new("must be one line without control characters"));
    }
    Ok(text)
}

pub(super) fn path() -> Kind<'static, PathBuf> {
    text().map(PathBuf::from)
}

pub(super) fn flag() -> Kind<'static, bool> {
    Kind::new(json!({"type": "boolean"}), |node| match &node.value {
        Value::Flag(flag) => Ok(*flag),
        other => Err(Fault::new(format!("must be true or false, not {}", seen(other)))),
    })
}

/// A whole number within bounds.
pub(super) fn whole<T>(bounds: RangeInclusive<T>) -> Kind<'static, T>
where
    T: TryFrom<i128> + TryInto<u64> + Copy + PartialOrd + Display + 'static,
{
    let bound = |bound: &T| (*bound).try_into().ok();
    let schema = json!({"type": "integer", "minimum": bound(bounds.start()), "maximum": bound(bounds.end())});
    Kind::new(schema, move |node| {
        let number = if let Value::Whole(number) = node.value { T::try_from(number).ok() } else { None };
        number.filter(|number| bounds.contains(number)).ok_or_else(|| {
            let (least, most) = (bounds.start(), bounds.end());
            Fault::new(format!("must be a whole number from {least} to {most}, not {}", seen(&node.value)))
        })
    })
}

/// The number that a value is, with or without a fraction.
pub(super) fn number_in(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => Some(*number),
        Value::Whole(number) => i32::try_from(*number).ok().map(f64::from),
        _ => None,
    }
}

/// A number within bounds, with or without a fraction.
pub(super) fn number(bounds: RangeInclusive<f64>) -> Kind<'static, f64> {
    let schema = json!({"type": "number", "minimum": bounds.start(), "maximum": bounds.end()});
    Kind::new(schema, move |node| {
        number_in(&node.value).filter(|number| bounds.contains(number)).ok_or_else(|| {
            let (least, most) = (bounds.start(), bounds.end());
            Fault::new(format!("must be a number from {least} to {most}, not {}", seen(&node.value)))
        })
    })
}

/// A part of a whole, as a percentage or as a number: `50%` and `0.5` are the same.
///
/// A whole number other than 1 is more likely a percentage without its sign than a slip in
/// the bounds.
pub(super) fn share(bounds: RangeInclusive<f64>) -> Kind<'static, f64> {
    let (least, most) = (*bounds.start(), *bounds.end());
    let schema = json!({
        "anyOf": [
            {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?%$"},
            {"type": "number", "minimum": least, "maximum": most},
        ],
        "description": format!("{} to {}", percent(least), percent(most)),
    });
    Kind::new(schema, move |node| {
        let share = match &node.value {
            Value::Text(text) => percentage(text),
            other => number_in(other),
        };
        share.filter(|share| bounds.contains(share)).ok_or_else(|| {
            let form = format!("must be from {} to {}, not {}", percent(least), percent(most), seen(&node.value));
            match node.value {
                Value::Whole(number) if number > 1 => Fault::new(form).hint(format!("write `{number}%`")),
                _ => Fault::new(form).hint("such as 50%, or 0.5"),
            }
        })
    })
}

/// The share that a percentage names.
fn percentage(text: &str) -> Option<f64> {
    let number = text.strip_suffix('%')?;
    // Nothing but digits and a point: `parse` would take `inf` and `1e1` as well.
    let is_plain = number.chars().all(|c| c.is_ascii_digit() || c == '.');
    let starts_and_ends_well = number.starts_with(is_digit) && number.ends_with(is_digit);
    (is_plain && starts_and_ends_well).then(|| number.parse().ok().map(|percent: f64| percent / 100.0)).flatten()
}

fn is_digit(character: char) -> bool {
    character.is_ascii_digit()
}

/// A share as a percentage, to a hundredth of one.
pub(super) fn percent(share: f64) -> String {
    format!("{}%", (share * 1e4).round() / 1e2)
}

/// A duration within bounds.
pub(super) fn duration(bounds: RangeInclusive<Duration>) -> Kind<'static, Duration> {
    let (least, most) = (duration::show(*bounds.start()), duration::show(*bounds.end()));
    let schema = json!({
        "type": "string",
        "minLength": 2,
        "pattern": DURATION,
        "description": format!("{least} to {most}"),
    });
    Kind::new(schema, move |node| {
        let duration = match &node.value {
            Value::Whole(number) if *number >= 0 => {
                return Err(Fault::new("needs a unit").hint(format!("write `{number}s` for seconds")));
            }
            Value::Text(text) => duration::parse(text),
            _ => None,
        };
        let duration = duration.ok_or_else(|| {
            Fault::new(format!("must be a duration such as 5s, 300ms or 1h30m, not {}", seen(&node.value)))
        })?;
        if !bounds.contains(&duration) {
            return Err(Fault::new(format!("must be from {least} to {most}, not {}", seen(&node.value))));
        }
        Ok(duration)
    })
}

/// The words that a key takes, and what they mean.
pub(super) type Choices<T> = &'static [(&'static str, T)];

/// One of a few words.
pub(super) fn one_of<T: Copy>(choices: Choices<T>) -> Kind<'static, T> {
    let all: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
    Kind::new(json!({"enum": all}), move |node| {
        let meant = |word: &str| choices.iter().find(|(choice, _)| *choice == word).map(|&(_, meaning)| meaning);
        let meaning = if let Value::Text(word) = &node.value { meant(word) } else { None };
        meaning.ok_or_else(|| Fault::new(format!("must be {}, not {}", words(choices, " or "), seen(&node.value))))
    })
}

/// The words of a choice in a row.
pub(super) fn words<T>(choices: Choices<T>, separator: &str) -> String {
    choices.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(separator)
}

/// A value as it is quoted in a message.
pub(super) fn seen(value: &Value) -> String {
    /// The most characters of a quotation.
    const QUOTED: usize = 40;
    match value {
        Value::Text(text) if text.chars().count() <= QUOTED => format!("`{text}`"),
        Value::Whole(number) => number.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Flag(flag) => flag.to_string(),
        other => other.kind().to_owned(),
    }
}
