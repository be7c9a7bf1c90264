//! Readers of single values: what a key's value may be, and what is said when it is not.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use crate::domain::Grid;
use crate::domain::plan::Secret;

use crate::domain::duration;
use super::problem::Fault;
use super::tree::{Node, Value};

/// The most bytes of a text value.
const TEXT_BYTES: usize = 4096;
/// The most characters of a name that labels series and names folders.
const NAME_CHARACTERS: usize = 64;
/// The most numbers on one axis of a grid.
const AXIS_NUMBERS: usize = 256;

/// The words that a key takes, and what they mean.
pub(super) type Choices<T> = &'static [(&'static str, T)];

/// Text that is not empty and fits on a line.
pub(super) fn text(node: &Node) -> Result<String, Fault> {
    match &node.value {
        Value::Text(text) => checked_text(text).map(str::to_owned),
        Value::Whole(_) | Value::Number(_) | Value::Flag(_) => {
            Err(Fault::new(format!("must be text, not {}", node.value.kind())).hint("put it in quotes"))
        }
        other => Err(Fault::new(format!("must be text, not {}", other.kind()))),
    }
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

pub(super) fn path(node: &Node) -> Result<PathBuf, Fault> {
    text(node).map(PathBuf::from)
}

/// A name that can label a series and name a folder. Two dots would name the wrong one.
pub(super) fn name(node: &Node) -> Result<String, Fault> {
    let name = text(node)?;
    let sound = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.len() > NAME_CHARACTERS || !name.chars().all(sound) {
        return Err(Fault::new(format!("must be 1 to {NAME_CHARACTERS} characters of A-Z a-z 0-9 . _ -")));
    }
    if name.chars().all(|c| c == '.') {
        return Err(Fault::new("must not be dots alone").hint("reports are kept in a folder of this name"));
    }
    Ok(name)
}

pub(super) fn flag(node: &Node) -> Result<bool, Fault> {
    match &node.value {
        Value::Flag(flag) => Ok(*flag),
        other => Err(Fault::new(format!("must be true or false, not {}", seen(other)))),
    }
}

/// A whole number within bounds.
pub(super) fn whole<T>(bounds: RangeInclusive<T>) -> impl FnOnce(&Node) -> Result<T, Fault>
where
    T: TryFrom<i128> + PartialOrd + Display,
{
    move |node| {
        let number = if let Value::Whole(number) = node.value { T::try_from(number).ok() } else { None };
        number.filter(|number| bounds.contains(number)).ok_or_else(|| {
            let (least, most) = (bounds.start(), bounds.end());
            Fault::new(format!("must be a whole number from {least} to {most}, not {}", seen(&node.value)))
        })
    }
}

/// A number within bounds, with or without a fraction.
pub(super) fn number(bounds: RangeInclusive<f64>) -> impl FnOnce(&Node) -> Result<f64, Fault> {
    move |node| {
        let number = match node.value {
            Value::Number(number) => Some(number),
            Value::Whole(number) => i32::try_from(number).ok().map(f64::from),
            _ => None,
        };
        number.filter(|number| bounds.contains(number)).ok_or_else(|| {
            let (least, most) = (bounds.start(), bounds.end());
            Fault::new(format!("must be a number from {least} to {most}, not {}", seen(&node.value)))
        })
    }
}

/// A duration within bounds.
pub(super) fn duration(bounds: RangeInclusive<Duration>) -> impl FnOnce(&Node) -> Result<Duration, Fault> {
    move |node| {
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
            let (least, most) = (duration::show(*bounds.start()), duration::show(*bounds.end()));
            return Err(Fault::new(format!("must be from {least} to {most}, not {}", seen(&node.value))));
        }
        Ok(duration)
    }
}

/// One of a few words.
pub(super) fn one_of<T: Copy>(choices: Choices<T>) -> impl FnOnce(&Node) -> Result<T, Fault> {
    move |node| {
        let meant = |word: &str| choices.iter().find(|(choice, _)| *choice == word).map(|&(_, meaning)| meaning);
        let meaning = if let Value::Text(word) = &node.value { meant(word) } else { None };
        meaning.ok_or_else(|| Fault::new(format!("must be {}, not {}", words(choices, " or "), seen(&node.value))))
    }
}

/// The words of a choice in a row.
pub(super) fn words<T>(choices: Choices<T>, separator: &str) -> String {
    choices.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(separator)
}

/// One axis of the grid.
pub(super) fn axis(node: &Node) -> Result<Vec<u32>, Fault> {
    let form = || Fault::new(format!("must be numbers from 1 to {}", Grid::LARGEST)).hint("such as [1, 2, 4, 8]");
    let Value::List(items) = &node.value else { return Err(form()) };
    if items.len() > AXIS_NUMBERS {
        return Err(Fault::new(format!("must be at most {AXIS_NUMBERS} numbers")));
    }
    let whole = |item: &Node| if let Value::Whole(number) = item.value { u32::try_from(number).ok() } else { None };
    let numbers: Option<Vec<u32>> = items.iter().map(whole).collect();
    Grid::axis(&numbers.ok_or_else(form)?).map_err(|error| Fault::new(error.to_string()).hint("such as [1, 2, 4, 8]"))
}

/// Where a server is, and the host that stands for its hardware.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ServerUrl {
    pub(super) url: String,
    pub(super) host: String,
}

pub(super) fn server_url(node: &Node) -> Result<ServerUrl, Fault> {
    checked_url(&text(node)?)
}

/// No message repeats the URL: it may hold a password.
pub(super) fn checked_url(text: &str) -> Result<ServerUrl, Fault> {
    let example = "such as http://127.0.0.1:11434";
    if !["http://", "https://"].iter().any(|scheme| text.starts_with(scheme)) {
        return Err(Fault::new("must start with http:// or https://").hint(example));
    }
    let url = reqwest::Url::parse(text).map_err(|error| Fault::new(format!("is not a URL: {error}")).hint(example))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Fault::new("must not hold credentials").hint("use api_key_file or api_key_env"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(Fault::new("must end with the host, the port or a path").hint("drop what follows `?` or `#`"));
    }
    let host = url.host_str().unwrap_or_default().to_owned();
    Ok(ServerUrl { url: url.as_str().trim_end_matches('/').to_owned(), host })
}

/// A header that is sent with every request. No message repeats its value.
pub(super) fn header(name: &str, node: &Node) -> Result<(String, Secret), Fault> {
    use reqwest::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, TRANSFER_ENCODING};

    let own = [CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING];
    let parsed = HeaderName::try_from(name).map_err(|_| Fault::new("is not the name of an HTTP header"))?;
    if own.contains(&parsed) {
        return Err(Fault::new("is set by the program itself").hint("remove it"));
    }
    let value = text(node)?;
    HeaderValue::try_from(&value).map_err(|_| Fault::new("has characters that a header cannot carry"))?;
    Ok((name.to_owned(), Secret::new(value)))
}

/// A value as it is quoted in a message.
fn seen(value: &Value) -> String {
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
