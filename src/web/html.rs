//! Pieces of pages: documents, words made harmless, numbers and times.

use jiff::Timestamp;

const STYLE: &str = include_str!("assets/page.css");

/// Text as it may stand between tags and in quoted attributes.
pub(super) fn escaped(text: &str) -> String {
    let mut harmless = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => harmless.push_str("&amp;"),
            '<' => harmless.push_str("&lt;"),
            '>' => harmless.push_str("&gt;"),
            '"' => harmless.push_str("&quot;"),
            '\'' => harmless.push_str("&#39;"),
            other => harmless.push(other),
        }
    }
    harmless
}

/// Text as one segment of a path or one value of a query.
pub(super) fn encoded(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    text.bytes().map(|byte| if is_plain(byte) { char::from(byte).into() } else { format!("%{byte:02X}") }).collect()
}

/// A page without a script. The body comes as HTML, the title as text.
pub(super) fn document(title: &str, body: &str) -> String {
    format!("{}</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n", head(title))
}

/// The beginning of every page; the head is left open.
pub(super) fn head(title: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{}</title>\n<style>\n{STYLE}</style>\n",
        escaped(title)
    )
}

/// A time in UTC, to the second.
pub(super) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// A time for the page, and for what reads pages.
pub(super) fn time_element(at: Timestamp) -> String {
    format!("<time datetime=\"{}\">{}</time>", at.strftime("%Y-%m-%dT%H:%M:%SZ"), time(at))
}

/// A token rate, three digits where they mean something.
pub(super) fn rate(tokens_per_second: f64) -> String {
    let decimals = match tokens_per_second {
        rate if rate < 9.995 => 2,
        rate if rate < 99.95 => 1,
        _ => 0,
    };
    format!("{tokens_per_second:.decimals$}")
}

/// Seconds as people say them.
pub(super) fn span(seconds: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "a cast beyond the range is the range's end")]
    let whole = seconds.round() as i64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

/// A number of things.
pub(super) fn counted(count: u64, thing: &str) -> String {
    if count == 1 { format!("1 {thing}") } else { format!("{count} {thing}s") }
}
