//! Kinds of values that belong to one key each.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::json;

use crate::domain::plan::Secret;
use crate::domain::{Cell, Grid, ReferenceCell};

use super::keys::MOST_WORDS;
use super::kind::{Kind, duration, number_in, seen, text, whole};
use super::problem::Fault;
use super::tree::{Node, Value};

/// The most characters of a name that labels series and names folders.
const NAME_CHARACTERS: usize = 64;
/// The most numbers on one axis of a grid.
const AXIS_NUMBERS: usize = 256;
/// The most bytes of a word of a command line.
const WORD_BYTES: usize = 4096;
/// The most buckets of a histogram. Each is a series for every set of labels.
const BUCKETS: usize = 100;

/// A name that can label a series and name a folder. Two dots would name the wrong one.
pub(super) fn name() -> Kind<'static, String> {
    let form = json!({"maxLength": NAME_CHARACTERS, "pattern": r"^\.*[A-Za-z0-9_-][A-Za-z0-9._-]*$"});
    text().with(form).and_then(|name| {
        let sound = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if name.len() > NAME_CHARACTERS || !name.chars().all(sound) {
            return Err(Fault::new(format!("must be 1 to {NAME_CHARACTERS} characters of A-Z a-z 0-9 . _ -")));
        }
        if name.chars().all(|c| c == '.') {
            return Err(Fault::new("must not be dots alone").hint("reports are kept in a folder of this name"));
        }
        Ok(name)
    })
}

/// One axis of the grid.
pub(super) fn axis() -> Kind<'static, Vec<u32>> {
    let schema = json!({
        "type": "array",
        "items": {"type": "integer", "minimum": 1, "maximum": Grid::LARGEST},
        "minItems": 1,
        "maxItems": AXIS_NUMBERS,
    });
    Kind::new(schema, |node| {
        let form = || Fault::new(format!("must be numbers from 1 to {}", Grid::LARGEST)).hint("such as [1, 2, 4, 8]");
        let Value::List(items) = &node.value else { return Err(form()) };
        if items.len() > AXIS_NUMBERS {
            return Err(Fault::new(format!("must be at most {AXIS_NUMBERS} numbers")));
        }
        let whole = |item: &Node| if let Value::Whole(number) = item.value { u32::try_from(number).ok() } else { None };
        let numbers: Option<Vec<u32>> = items.iter().map(whole).collect();
        Grid::axis(&numbers.ok_or_else(form)?)
            .map_err(|error| Fault::new(error.to_string()).hint("such as [1, 2, 4, 8]"))
    })
}

/// Upper bounds of a histogram's buckets, seconds.
pub(super) fn buckets() -> Kind<'static, Vec<f64>> {
    let schema = json!({
        "type": "array",
        "items": {"type": "number", "exclusiveMinimum": 0},
        "minItems": 1,
        "maxItems": BUCKETS,
        "uniqueItems": true,
    });
    Kind::new(schema, |node| {
        let form = || {
            Fault::new(format!("must be 1 to {BUCKETS} ascending numbers of seconds, each above 0"))
                .hint("such as [0.1, 0.5, 1, 5]")
        };
        let Value::List(items) = &node.value else { return Err(form()) };
        let bounds: Vec<f64> = items.iter().filter_map(|item| number_in(&item.value)).collect();
        let are_sound = bounds.len() == items.len() && bounds.iter().all(|bound| bound.is_finite() && *bound > 0.0);
        let ascend = bounds.iter().zip(bounds.iter().skip(1)).all(|(lower, upper)| lower < upper);
        let is_fit = are_sound && ascend && (1..=BUCKETS).contains(&bounds.len());
        is_fit.then_some(bounds).ok_or_else(form)
    })
}

/// The lists of words that a key takes, and what they mean.
pub(super) type Lists<T> = &'static [(&'static [&'static str], T)];

/// The lists of a choice in a row.
pub(super) fn lists<T>(choices: Lists<T>) -> String {
    choices.iter().map(|(words, _)| format!("[{}]", words.join(", "))).collect::<Vec<_>>().join(" or ")
}

/// One of a few lists of words.
pub(super) fn one_list_of<T: Copy>(choices: Lists<T>) -> Kind<'static, T> {
    let all: Vec<_> = choices.iter().map(|(list, _)| list).collect();
    Kind::new(json!({"enum": all}), move |node| {
        let word = |item: &Node| if let Value::Text(word) = &item.value { Some(word.clone()) } else { None };
        let given: Option<Vec<String>> = match &node.value {
            Value::List(items) => items.iter().map(word).collect(),
            _ => None,
        };
        let meaning = given.and_then(|given| choices.iter().find(|(list, _)| given == *list));
        meaning
            .map(|&(_, meaning)| meaning)
            .ok_or_else(|| Fault::new(format!("must be {}, not {}", lists(choices), seen(&node.value))))
    })
}

/// A number, or `None` for one that is drawn.
pub(super) fn seed(bounds: RangeInclusive<u64>) -> Kind<'static, Option<u64>> {
    const RANDOM: &str = "random";
    let given = whole(bounds);
    Kind::new(json!({"anyOf": [{"const": RANDOM}, given.schema()]}), move |node| match &node.value {
        Value::Text(word) if word == RANDOM => Ok(None),
        Value::Whole(_) => given.read(node).map(Some),
        other => Err(Fault::new(format!("must be random or a whole number, not {}", other.kind()))),
    })
}

/// The word for what never happens.
pub(super) const OFF: &str = "off";

/// A duration within bounds, or `None` for what never happens.
pub(super) fn off_or(bounds: RangeInclusive<Duration>) -> Kind<'static, Option<Duration>> {
    let given = duration(bounds);
    Kind::new(json!({"anyOf": [{"const": OFF}, given.schema()]}), move |node| match &node.value {
        Value::Text(word) if word == OFF => Ok(None),
        _ => given.read(node).map(Some).map_err(|fault| match fault.hint {
            None => fault.hint("or off"),
            Some(_) => fault,
        }),
    })
}

/// The word for what the program chooses.
pub(super) const AUTO: &str = "auto";

/// A cell of the grid, workers and batch, or a word in its place.
pub(super) fn reference_cell() -> Kind<'static, ReferenceCell> {
    let number = json!({"type": "integer", "minimum": 1, "maximum": Grid::LARGEST});
    let cell = json!({"type": "array", "items": number, "minItems": 2, "maxItems": 2});
    Kind::new(json!({"anyOf": [{"enum": [AUTO, OFF]}, cell]}), |node| {
        let number = |item: &Node| match item.value {
            Value::Whole(number) => u32::try_from(number).ok().filter(|n| (1..=Grid::LARGEST).contains(n)),
            _ => None,
        };
        let cell = match &node.value {
            Value::Text(word) if word == AUTO => Some(ReferenceCell::Auto),
            Value::Text(word) if word == OFF => Some(ReferenceCell::Off),
            Value::List(items) => match items.as_slice() {
                [workers, batch] => number(workers)
                    .zip(number(batch))
                    .map(|(workers, batch)| ReferenceCell::Of(Cell { workers, batch })),
                _ => None,
            },
            _ => None,
        };
        cell.ok_or_else(|| {
            let form = format!("must be {AUTO}, {OFF}, or workers and batch, not {}", seen(&node.value));
            Fault::new(form).hint("such as [4, 4]")
        })
    })
}

/// A word of a command line, or the value of a variable: text as it is, empty or in many lines.
pub(super) fn word() -> Kind<'static, String> {
    let schema = json!({"type": "string", "maxLength": WORD_BYTES, "pattern": "^[^\\u0000]*$"});
    Kind::new(schema, |node| match &node.value {
        Value::Text(text) if text.len() > WORD_BYTES => {
            Err(Fault::new(format!("must be at most {WORD_BYTES} bytes long")))
        }
        Value::Text(text) if text.contains('\0') => Err(Fault::new("must not hold a NUL character")),
        Value::Text(text) => Ok(text.clone()),
        // `{workers}` without quotes is a map.
        other => Err(Fault::new(format!("must be text, not {}", other.kind())).hint("put it in quotes")),
    })
}

/// A command line: a program and its arguments, without a shell.
pub(super) fn command_line() -> Kind<'static, Vec<String>> {
    let word = word();
    let schema = json!({"type": "array", "items": word.schema(), "minItems": 1, "maxItems": MOST_WORDS});
    Kind::new(schema, move |node| {
        let form = |what: &str| Fault::new(what).hint("such as [cat, /etc/driver-version]");
        let Value::List(items) = &node.value else {
            return Err(form(&format!("must be a list of words, not {}", node.value.kind())));
        };
        let words: Vec<String> = items.iter().map(|item| word.read(item)).collect::<Result<_, _>>()?;
        match words.first() {
            Some(_) if words.len() > MOST_WORDS => Err(Fault::new(format!("must be at most {MOST_WORDS} words"))),
            Some(program) if !program.trim().is_empty() => Ok(words),
            _ => Err(form("must begin with a program")),
        }
    })
}

/// The characters of a fact's name, as a pattern of JSON Schema.
pub(super) const FACT_NAME: &str = "^[a-z][a-z0-9_]{0,63}$";

/// The name of a fact of the identity, written as those that there are.
pub(super) fn fact_name(name: &str) -> Result<String, Fault> {
    let is_sound = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let starts_well = name.starts_with(|c: char| c.is_ascii_lowercase());
    if !starts_well || !name.chars().all(is_sound) || name.len() > NAME_CHARACTERS {
        let form = format!("must have a name of 1 to {NAME_CHARACTERS} characters of a-z 0-9 _, a letter first");
        return Err(Fault::new(form));
    }
    Ok(name.to_owned())
}

/// The characters of a variable's name, as a pattern of JSON Schema.
pub(super) const VARIABLE_NAME: &str = "^[A-Za-z_][A-Za-z0-9_]*$";

/// A variable of a program's environment. No message repeats its value.
pub(super) fn variable(name: &str, value: String) -> Result<(String, String), Fault> {
    let is_sound = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(is_sound) {
        let form = "is not the name of a variable";
        return Err(Fault::new(form).hint("letters, digits and _, not a digit first"));
    }
    Ok((name.to_owned(), value))
}

/// Where a server is, and the host that stands for its hardware.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServerUrl {
    pub(super) url: String,
    /// IPv6 in brackets.
    pub(super) host: String,
    /// The scheme's own where the URL names none.
    pub(super) port: u16,
    pub(super) is_https: bool,
    pub(super) has_path: bool,
}

/// The address of a webhook. It may be a secret, so no message repeats it.
pub(super) fn webhook_url() -> Kind<'static, Secret> {
    text().with(json!({"pattern": "^https?://."})).and_then(|text| checked_webhook(Secret::new(text)))
}

pub(super) fn checked_webhook(url: Secret) -> Result<Secret, Fault> {
    let is_web = reqwest::Url::parse(url.reveal()).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
    let fault = || Fault::new("must lead to an address that starts with http:// or https://");
    is_web.then_some(url).ok_or_else(fault)
}

pub(super) fn server_url() -> Kind<'static, ServerUrl> {
    text().with(json!({"pattern": "^https?://[^?#]+$"})).and_then(|text| checked_url(&text))
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
    Ok(ServerUrl {
        host: url.host_str().unwrap_or_default().to_owned(),
        port: url.port_or_known_default().unwrap_or_default(),
        is_https: url.scheme() == "https",
        has_path: url.path() != "/",
        url: url.as_str().trim_end_matches('/').to_owned(),
    })
}

/// The characters of a header's name, as a pattern of JSON Schema.
pub(super) const HEADER_NAME: &str = "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$";

/// A header that is sent with every request. No message repeats its value.
pub(super) fn header(name: &str, value: &str) -> Result<(String, Secret), Fault> {
    use reqwest::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, TRANSFER_ENCODING};

    let own = [CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING];
    let parsed = HeaderName::try_from(name).map_err(|_| Fault::new("is not the name of an HTTP header"))?;
    if own.contains(&parsed) {
        return Err(Fault::new("is set by the program itself").hint("remove it"));
    }
    HeaderValue::try_from(value).map_err(|_| Fault::new("has characters that a header cannot carry"))?;
    Ok((name.to_owned(), Secret::new(value)))
}
