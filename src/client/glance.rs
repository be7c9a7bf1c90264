//! Reads the payload that comes most, a token and nothing else, in one pass.
//!
//! Only what is plain is read here: objects of strings without escapes, whole numbers and
//! literals. Of anything else nothing is said. Where something is said it is what
//! [`super::decode`] would say: a property test holds them together.

use std::ops::Range;

use super::decode::{LARGEST_COUNT, StreamEvent, Usage, fingerprint};

/// What a payload says that was read at a glance.
#[derive(Debug, PartialEq)]
pub(super) struct Glance {
    pub(super) event: StreamEvent,
    /// Where in the payload the text lies, where there is any.
    pub(super) text: Range<usize>,
}

/// A payload of OpenAI's streams that holds text, or text and counts.
pub(super) fn openai(payload: &[u8]) -> Option<Glance> {
    let mut scanner = Scanner::new(payload);
    let (mut text, mut usage, mut once) = (None, None, Once(0));
    scanner.members(|value, key| match key {
        b"choices" => {
            once.note(1)?;
            value.eat(b'[')?;
            text = value.choice()?;
            value.eat(b']')
        }
        b"usage" => {
            once.note(2)?;
            usage = if value.is_next(b'{') { Some(value.usage()?) } else { value.null().map(|()| None)? };
            Some(())
        }
        b"timings" | b"error" => None,
        _ => value.skip(),
    })?;
    // A count of nothing is judged elsewhere.
    let is_whole = scanner.is_over() && usage.is_none_or(|usage| usage.output.is_some_and(|n| n > 0));
    is_whole.then(|| Glance { event: StreamEvent { text, usage, ..StreamEvent::default() }, text: scanner.text })
}

/// A line of Ollama's native streams that holds text.
pub(super) fn ollama(payload: &[u8]) -> Option<Glance> {
    let mut scanner = Scanner::new(payload);
    let (mut texts, mut once) = ([None; 3], Once(0));
    let [response, thinking, message] = &mut texts;
    scanner.members(|value, key| match key {
        b"response" => once.note(1).and_then(|()| value.text(response)),
        b"thinking" => once.note(2).and_then(|()| value.text(thinking)),
        b"message" => {
            once.note(4)?;
            *message = value.message(&[b"content", b"thinking"])?;
            Some(())
        }
        b"done" => once.note(8).and_then(|()| value.literal(b"false")),
        b"load_duration"
        | b"prompt_eval_count"
        | b"prompt_eval_duration"
        | b"eval_count"
        | b"eval_duration"
        | b"error" => None,
        _ => value.skip(),
    })?;
    let text = the_one(texts)?;
    scanner.is_over().then(|| Glance { event: StreamEvent { text, ..StreamEvent::default() }, text: scanner.text })
}

/// The fingerprint of a string, given what stands between its quotation marks; of one with
/// escapes nothing is said. Of an empty one it is none.
pub(super) fn plain_text(string: &[u8]) -> Option<Option<u64>> {
    let is_plain = plain_length(string) == string.len();
    is_plain.then(|| std::str::from_utf8(string).ok().map(fingerprint)).flatten()
}

/// The only text there is; which of several counts is judged elsewhere.
fn the_one(texts: [Option<u64>; 3]) -> Option<Option<u64>> {
    let mut found = texts.into_iter().flatten();
    let text = found.next();
    found.next().is_none().then_some(text)
}

/// How many bytes there are before the first that ends a string or is not plain in one: a
/// quotation mark, a backslash, a control character.
fn plain_length(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const TOPS: u64 = ONES << 7;
    // Eight bytes at once. A byte that is less than n borrows when n is taken from it; bytes
    // after the first that does may be wrong, and are not asked for.
    let less = |word: u64, than: u64| word.wrapping_sub(ONES * than) & !word & TOPS;
    let (mut length, mut rest) = (0, bytes);
    while let Some((word, after)) = rest.split_first_chunk::<8>() {
        let word = u64::from_le_bytes(*word);
        let ends =
            less(word, 32) | less(word ^ (ONES * u64::from(b'"')), 1) | less(word ^ (ONES * u64::from(b'\\')), 1);
        if ends != 0 {
            return length + ends.trailing_zeros() as usize / 8;
        }
        (length, rest) = (length + 8, after);
    }
    let is_end = |&byte: &u8| byte == b'"' || byte == b'\\' || byte < b' ';
    length + rest.iter().position(is_end).unwrap_or(rest.len())
}

/// The members of an object that were there: one that comes twice is judged elsewhere.
struct Once(u8);

impl Once {
    fn note(&mut self, member: u8) -> Option<()> {
        let is_new = self.0 & member == 0;
        self.0 |= member;
        is_new.then_some(())
    }
}

/// Goes through a payload. A method that returns `None` has met what is not plain.
struct Scanner<'a> {
    rest: &'a [u8],
    /// Bytes of the whole payload.
    length: usize,
    text: Range<usize>,
}

impl<'a> Scanner<'a> {
    fn new(payload: &'a [u8]) -> Self {
        Self { rest: payload, length: payload.len(), text: 0..0 }
    }

    fn skip_space(&mut self) {
        while let [b' ' | b'\t' | b'\n' | b'\r', rest @ ..] = self.rest {
            self.rest = rest;
        }
    }

    fn is_over(&mut self) -> bool {
        self.skip_space();
        self.rest.is_empty()
    }

    fn is_next(&mut self, byte: u8) -> bool {
        self.skip_space();
        self.rest.first() == Some(&byte)
    }

    fn eat(&mut self, byte: u8) -> Option<()> {
        self.skip_space();
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        (*first == byte).then_some(())
    }

    fn literal(&mut self, word: &[u8]) -> Option<()> {
        self.skip_space();
        self.rest = self.rest.strip_prefix(word)?;
        Some(())
    }

    fn null(&mut self) -> Option<()> {
        self.literal(b"null")
    }

    /// A string without escapes.
    fn string(&mut self) -> Option<&'a [u8]> {
        self.eat(b'"')?;
        let (string, rest) = self.rest.split_at(plain_length(self.rest));
        // No space is skipped: it would be part of the string.
        self.rest = rest.strip_prefix(b"\"")?;
        Some(string)
    }

    /// A whole number.
    fn number(&mut self) -> Option<&'a [u8]> {
        self.skip_space();
        let end = self.rest.iter().position(|byte| !byte.is_ascii_digit())?;
        let (digits, rest) = self.rest.split_at(end);
        self.rest = rest;
        let is_plain = matches!(digits, [b'0'] | [b'1'..=b'9', ..]);
        is_plain.then_some(digits)
    }

    fn count(&mut self) -> Option<u64> {
        let number = std::str::from_utf8(self.number()?).ok()?.parse().ok()?;
        (number <= LARGEST_COUNT).then_some(number)
    }

    /// Passes over a value that says nothing.
    fn skip(&mut self) -> Option<()> {
        self.skip_space();
        match self.rest.first()? {
            b'"' => self.string().filter(|string| string.is_ascii()).map(drop),
            b'n' => self.null(),
            b't' => self.literal(b"true"),
            b'f' => self.literal(b"false"),
            b'[' => self.eat(b'[').and_then(|()| self.eat(b']')),
            b'0'..=b'9' => self.number().map(drop),
            _ => None,
        }
    }

    /// Hands every member of an object to `each`, which has to read its value.
    fn members(&mut self, mut each: impl FnMut(&mut Self, &[u8]) -> Option<()>) -> Option<()> {
        self.eat(b'{')?;
        if self.is_next(b'}') {
            return self.eat(b'}');
        }
        loop {
            let key = self.string().filter(|key| key.is_ascii())?;
            self.eat(b':')?;
            each(self, key)?;
            if !self.is_next(b',') {
                return self.eat(b'}');
            }
            self.eat(b',')?;
        }
    }

    /// The fingerprint of a text into its place; nothing of an empty one, or of none.
    fn text(&mut self, place: &mut Option<u64>) -> Option<()> {
        if self.is_next(b'"') {
            let string = self.string()?;
            *place = fingerprint(std::str::from_utf8(string).ok()?);
            if place.is_some() {
                let end = self.length - self.rest.len() - 1;
                self.text = end - string.len()..end;
            }
            return Some(());
        }
        self.null()
    }

    /// The only text of an object whose members of those names, three at most, hold text.
    fn message(&mut self, names: &[&[u8]]) -> Option<Option<u64>> {
        let (mut texts, mut once) = ([None; 3], Once(0));
        self.members(|value, key| {
            let mut places = names.iter().zip(&mut texts).zip([1, 2, 4]);
            match places.find(|((name, _), _)| **name == key) {
                Some(((_, place), member)) => once.note(member).and_then(|()| value.text(place)),
                None => value.skip(),
            }
        })?;
        the_one(texts)
    }

    /// A choice that goes on: its text.
    fn choice(&mut self) -> Option<Option<u64>> {
        let (mut text, mut of_delta, mut once) = (None, None, Once(0));
        self.members(|value, key| match key {
            b"text" => once.note(1).and_then(|()| value.text(&mut text)),
            b"delta" => {
                once.note(2)?;
                of_delta = value.message(&[b"content", b"reasoning_content", b"reasoning"])?;
                Some(())
            }
            b"finish_reason" => once.note(4).and_then(|()| value.null()),
            _ => value.skip(),
        })?;
        the_one([text, of_delta, None])
    }

    fn usage(&mut self) -> Option<Usage> {
        let (mut usage, mut once) = (Usage::default(), Once(0));
        self.members(|value, key| match key {
            b"prompt_tokens" => {
                once.note(1)?;
                usage.prompt = Some(value.count()?);
                Some(())
            }
            b"completion_tokens" => {
                once.note(2)?;
                usage.output = Some(value.count()?);
                Some(())
            }
            b"prompt_tokens_details" => once.note(4).and_then(|()| value.null()),
            _ => value.skip(),
        })?;
        Some(usage)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::client::decode;

    const OPENAI: [&str; 8] = [
        r#"{"id":"chatcmpl-7f6b","object":"chat.completion.chunk","created":1780000000,"model":"m","choices":[{"index":0,"delta":{"content":" token"},"logprobs":null,"finish_reason":null}]}"#,
        r#"{"choices":[{"text":" é","index":0,"logprobs":null,"finish_reason":null}],"created":1780000000,"model":"m","system_fingerprint":"b1-x","object":"text_completion","id":"a"}"#,
        r#"{"id":"c","choices":[{"index":0,"text":"x","stop_reason":null,"token_ids":null}],"usage":{"prompt_tokens":64,"total_tokens":66,"completion_tokens":2}}"#,
        r#"{ "choices" : [ { "delta" : { "role" : "assistant" , "content" : "" , "tool_calls" : [] } } ] , "usage" : null }"#,
        r#"{"choices":[{"delta":{"reasoning_content":"hm","content":null},"finish_reason":null}],"usage":{"prompt_tokens":0,"completion_tokens":0,"prompt_tokens_details":null}}"#,
        r#"{"choices":[{"text":"a","delta":{"content":"b"},"finish_reason":"stop"}],"error":null,"timings":{"predicted_n":3}}"#,
        r#"{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":4294967296,"prompt_tokens_details":{"cached_tokens":3}}}"#,
        r#"{"choices":[{"text":"a\"b"},{"text":"c"}],"x":{"y":[1,-2.5e3,true,false]}}"#,
    ];

    const OLLAMA: [&str; 4] = [
        r#"{"model":"m","created_at":"2026-10-01T10:00:00.1Z","response":" token","done":false}"#,
        r#"{"model":"m","message":{"role":"assistant","content":"","thinking":"Let me"},"done":false}"#,
        r#"{"response":"","thinking":"a","message":{"content":"b"},"done":false}"#,
        r#"{"response":"","done":true,"done_reason":"stop","prompt_eval_count":9,"eval_count":7,"eval_duration":5}"#,
    ];

    #[test]
    fn what_comes_most_is_read_at_a_glance() {
        for (index, payload) in OPENAI.iter().enumerate() {
            let expected = decode::openai(payload.as_bytes()).expect("is sound");
            assert_eq!(
                openai(payload.as_bytes()).map(|glance| glance.event),
                (index < 4).then_some(expected),
                "{payload}"
            );
        }
        for (index, payload) in OLLAMA.iter().enumerate() {
            let expected = decode::ollama(payload.as_bytes()).expect("is sound");
            assert_eq!(
                ollama(payload.as_bytes()).map(|glance| glance.event),
                (index < 2).then_some(expected),
                "{payload}"
            );
        }
    }

    /// A payload with a few of its bytes taken out, and something put in their place.
    fn spoiled(payloads: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            any::<u8>().prop_map(|byte| vec![byte]),
            "[{}\\[\\],:\"\\\\0-9.eE+-]{0,3}".prop_map(String::into_bytes),
            prop_oneof![
                Just("null"),
                Just("\"text\":\"z\""),
                Just("\"usage\":null,"),
                Just("00"),
                Just("\"finish_reason\":"),
                Just("\\u0041"),
                Just("\"error\":\"e\","),
                Just("\"done\":"),
                Just("{}"),
                Just("  "),
                Just("true")
            ]
            .prop_map(|text| text.as_bytes().to_vec()),
            Just(Vec::new()),
        ];
        let edits = prop::collection::vec((any::<prop::sample::Index>(), 0_usize..12, piece), 0..3);
        (prop::sample::select(payloads), edits).prop_map(|(payload, edits)| {
            let mut bytes = payload.as_bytes().to_vec();
            for (at, length, piece) in edits {
                let at = at.index(bytes.len() + 1);
                let end = (at + length).min(bytes.len());
                bytes.splice(at..end, piece);
            }
            bytes
        })
    }

    #[test]
    fn a_control_character_before_the_end_of_a_string_is_not_passed_over() {
        for line in ["{\"response\":\"a\t\",\"done\":false}", "{\"message\":{\"content\":\"\n\"},\"done\":false}"] {
            assert!(decode::ollama(line.as_bytes()).is_err(), "{line:?}");
            assert_eq!(ollama(line.as_bytes()), None, "{line:?}");
        }
    }

    #[test]
    fn a_member_without_a_name_holds_no_text() {
        let line = br#"{"message":{"content":"","":"x"},"done":false}"#;
        assert_eq!(ollama(line).map(|glance| glance.event), decode::ollama(line).ok());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn what_is_said_is_what_a_whole_parse_says(chunk in spoiled(&OPENAI), line in spoiled(&OLLAMA)) {
            if let Some(Glance { event, .. }) = openai(&chunk) {
                prop_assert_eq!(Some(event), decode::openai(&chunk).ok());
            }
            if let Some(Glance { event, .. }) = ollama(&line) {
                prop_assert_eq!(Some(event), decode::ollama(&line).ok());
            }
        }

        #[test]
        fn plain_bytes_are_counted_as_one_by_one(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let expected = bytes.iter().position(|&byte| byte < 32 || byte == b'"' || byte == b'\\');
            prop_assert_eq!(plain_length(&bytes), expected.unwrap_or(bytes.len()));
        }
    }
}

#[cfg(test)]
#[path = "glance_tests.rs"]
mod plain;
