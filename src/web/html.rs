//! Pieces of pages: documents, words made harmless, numbers and times.

use jiff::Timestamp;

use crate::analysis::estimate::RateEstimate;

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

/// A model's name, which is not known before the server was asked.
pub(super) fn model_element(model: &str) -> String {
    if model.is_empty() { String::new() } else { format!("<code>{}</code>", escaped(model)) }
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

/// A time for a page of `now`: today's goes without its date.
pub(super) fn time_element(at: Timestamp, now: Timestamp) -> String {
    let date = |at: Timestamp| at.strftime("%Y-%m-%d").to_string();
    let text = if date(at) == date(now) { at.strftime("%H:%M:%S UTC").to_string() } else { time(at) };
    format!("<time datetime=\"{}\">{text}</time>", at.strftime("%Y-%m-%dT%H:%M:%SZ"))
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

/// How often a rate was measured, and how near to each other the repeats are.
pub(super) fn repeats(estimate: &RateEstimate) -> String {
    let samples = counted(estimate.samples as u64, "sample");
    if estimate.samples < 2 {
        return samples;
    }
    format!("{samples}, half of them {} to {}", rate(estimate.lower_quartile), rate(estimate.upper_quartile))
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

/// A time span as a cell of a table has place for it.
pub(super) fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 0.009_95 => format!("{:.1} ms", s * 1e3),
        s if s < 0.9995 => format!("{:.0} ms", s * 1e3),
        s if s < 9.95 => format!("{s:.1} s"),
        s if s < 59.5 => format!("{s:.0} s"),
        s if s < 3570.0 => format!("{:.0} min", s / 60.0),
        s if s < 84_600.0 => format!("{:.0} h", s / 3600.0),
        s => format!("{:.0} d", s / 86_400.0),
    }
}

/// A ratio in percent; what is not nothing is not shown as nothing.
pub(super) fn percent(ratio: f64) -> String {
    let percent = ratio * 100.0;
    if percent > 0.0 && percent < 1.0 { "< 1 %".to_owned() } else { format!("{percent:.0} %") }
}

/// A number of things.
pub(super) fn counted(count: u64, thing: &str) -> String {
    if count == 1 { format!("1 {thing}") } else { format!("{count} {thing}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_three_digits_where_they_mean_something() {
        let check = |value: f64, expected: &str| assert_eq!(rate(value), expected, "{value}");
        check(0.0, "0.00");
        check(9.994, "9.99");
        check(9.996, "10.0");
        check(99.96, "100");
        check(345.392, "345");
        check(12_345.6, "12346");
    }

    #[test]
    fn spans_are_said_in_two_units() {
        let check = |seconds: f64, expected: &str| assert_eq!(span(seconds), expected, "{seconds}");
        check(0.4, "0 s");
        check(59.6, "1 min 0 s");
        check(2407.0, "40 min 7 s");
        check(7265.0, "2 h 1 min");
    }

    #[test]
    fn durations_are_said_in_one_unit() {
        let check = |value: f64, expected: &str| assert_eq!(duration(value), expected, "{value}");
        check(0.0, "0.0 ms");
        check(0.00214, "2.1 ms");
        check(0.0523, "52 ms");
        check(1.26, "1.3 s");
        check(59.0, "59 s");
        check(90.0, "2 min");
        check(7200.0, "2 h");
        check(172_800.0, "2 d");
        assert_eq!([0.0, 0.001, 0.125, 1.0].map(percent), ["0 %", "< 1 %", "12 %", "100 %"]);
    }

    #[test]
    fn todays_times_go_without_their_date() {
        let now: Timestamp = "2026-11-24T00:00:05Z".parse().expect("is a time");
        let check = |at: &str, expected: &str| {
            let at = at.parse().expect("is a time");
            assert!(time_element(at, now).contains(&format!(">{expected}<")), "{at}");
        };
        check("2026-11-24T00:00:01Z", "00:00:01 UTC");
        check("2026-11-23T23:59:59Z", "2026-11-23 23:59:59 UTC");
    }

    #[test]
    fn words_lose_their_power() {
        assert_eq!(escaped("a<b>&\"'é"), "a&lt;b&gt;&amp;&quot;&#39;é");
        assert_eq!(encoded("a b/é?&"), "a%20b%2F%C3%A9%3F%26");
    }
}
