//! Reads one payload of a stream: what it means, whatever server sent it.
//!
//! Typed parsing of the few members that matter; everything else is skipped. Text is
//! looked at, never kept. Sources: OpenAI's API reference (chat and text completion chunk
//! objects), llama.cpp's `tools/server` (`timings`), vLLM's and SGLang's protocol modules
//! (`reasoning`, cumulative usage), Ollama's `docs/api.md`.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::domain::{ServerTimings, checksum};

/// What one payload says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StreamEvent {
    /// A fingerprint of its generated text, content or reasoning; `None` of no text.
    pub text: Option<u64>,
    pub usage: Option<Usage>,
    /// Output tokens by llama.cpp's `timings`.
    pub timed_output_tokens: Option<u64>,
    pub timings: ServerTimings,
    /// Prompt tokens answered from a cache, by llama.cpp's `timings`.
    pub timed_cached_tokens: Option<u64>,
    /// The protocol's terminal marker.
    pub finished: bool,
    /// `[DONE]`: nothing follows. Says nothing about success.
    pub done: bool,
    /// The server's error, in its words.
    pub error: Option<String>,
}

/// A server's token counts; what it does not tell soundly is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub prompt: Option<u64>,
    pub output: Option<u64>,
    pub cached_prompt: Option<u64>,
}

/// Reads a payload of OpenAI's streams: chat or text completions, and their dialects.
pub fn openai(payload: &[u8]) -> Result<StreamEvent, serde_json::Error> {
    if payload.trim_ascii() == b"[DONE]" {
        return Ok(StreamEvent { done: true, ..StreamEvent::default() });
    }
    let chunk: OpenAiChunk = serde_json::from_slice(payload)?;
    let choice = chunk.choices.unwrap_or_default();
    // A null usage in every chunk, or one of zeroes, is no count.
    let usage = chunk
        .usage
        .map(Usage::from)
        .filter(|usage| usage.output.is_some_and(|n| n > 0) || usage.prompt.is_some_and(|n| n > 0));
    let timings = chunk.timings.unwrap_or_default();
    // vLLM and SGLang finish a request that they gave up with one of these.
    let given_up = choice.finish_reason.as_deref().filter(|reason| matches!(*reason, "abort" | "error"));
    let given_up = given_up.map(|reason| format!("finish_reason {reason}"));
    Ok(StreamEvent {
        text: choice.text,
        usage,
        timed_output_tokens: timings.predicted_n.0,
        timed_cached_tokens: timings.cache_n.0,
        timings: ServerTimings {
            load: None,
            prompt: milliseconds(timings.prompt_ms),
            decode: milliseconds(timings.predicted_ms),
        },
        finished: choice.finish_reason.is_some(),
        done: false,
        error: chunk.error.map(|error| error.0).or(given_up),
    })
}

/// Reads a line of Ollama's native streams, `/api/generate` or `/api/chat`.
pub fn ollama(payload: &[u8]) -> Result<StreamEvent, serde_json::Error> {
    let line: OllamaLine = serde_json::from_slice(payload)?;
    let message = line.message.unwrap_or_default();
    let counts = Usage { prompt: line.prompt_eval_count.0, output: line.eval_count.0, cached_prompt: None };
    Ok(StreamEvent {
        // The first of them that holds text: with one of them present the others are empty.
        text: [line.response, line.thinking, message.content, message.thinking].into_iter().find_map(|text| text.0),
        usage: (line.done && counts.output.is_some()).then_some(counts),
        timings: ServerTimings {
            load: line.load_duration.0.map(Duration::from_nanos),
            prompt: line.prompt_eval_duration.0.map(Duration::from_nanos),
            decode: line.eval_duration.0.map(Duration::from_nanos),
        },
        finished: line.done,
        done: line.done,
        error: line.error.map(|error| error.0),
        ..StreamEvent::default()
    })
}

/// The words of an error answer's body, whatever shape it has.
pub fn error_words(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Body {
        error: Option<Words>,
        message: Option<Words>,
        detail: Option<Words>,
    }
    serde_json::from_slice::<Body>(body)
        .ok()
        .and_then(|body| body.error.or(body.message).or(body.detail))
        .map_or_else(|| String::from_utf8_lossy(body).trim().to_owned(), |words| words.0)
}

#[derive(Default, serde::Deserialize)]
struct OpenAiChunk {
    choices: Option<Choices>,
    usage: Option<OpenAiUsage>,
    timings: Option<LlamaTimings>,
    error: Option<Words>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct OpenAiUsage {
    prompt_tokens: Count,
    completion_tokens: Count,
    prompt_tokens_details: Option<PromptDetails>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct PromptDetails {
    cached_tokens: Count,
}

impl From<OpenAiUsage> for Usage {
    fn from(usage: OpenAiUsage) -> Self {
        Self {
            prompt: usage.prompt_tokens.0,
            output: usage.completion_tokens.0,
            cached_prompt: usage.prompt_tokens_details.and_then(|details| details.cached_tokens.0),
        }
    }
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct LlamaTimings {
    cache_n: Count,
    prompt_ms: Option<f64>,
    predicted_n: Count,
    predicted_ms: Option<f64>,
}

/// The longest time that is believed.
const LONGEST_SECONDS: u64 = 1 << 32;

fn milliseconds(value: Option<f64>) -> Option<Duration> {
    Duration::try_from_secs_f64(value? / 1e3).ok().filter(|span| span.as_secs() < LONGEST_SECONDS)
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Delta {
    content: Text,
    reasoning_content: Text,
    reasoning: Text,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Choice {
    text: Text,
    delta: Option<Delta>,
    finish_reason: Option<String>,
}

/// The first choice, the only one that is ever asked for.
#[derive(Default)]
struct Choices {
    text: Option<u64>,
    finish_reason: Option<String>,
}

impl<'de> Deserialize<'de> for Choices {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct First;
        impl<'de> Visitor<'de> for First {
            type Value = Choices;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of choices")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Choices, A::Error> {
                let Some(choice) = list.next_element::<Choice>()? else { return Ok(Choices::default()) };
                while list.next_element::<IgnoredAny>()?.is_some() {}
                let delta = choice.delta.unwrap_or_default();
                let texts = [choice.text, delta.content, delta.reasoning_content, delta.reasoning];
                Ok(Choices { text: texts.into_iter().find_map(|text| text.0), finish_reason: choice.finish_reason })
            }
        }
        deserializer.deserialize_seq(First)
    }
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct OllamaMessage {
    content: Text,
    thinking: Text,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct OllamaLine {
    response: Text,
    thinking: Text,
    message: Option<OllamaMessage>,
    done: bool,
    load_duration: Nanoseconds,
    prompt_eval_count: Count,
    prompt_eval_duration: Nanoseconds,
    eval_count: Count,
    eval_duration: Nanoseconds,
    error: Option<Words>,
}

/// Implements the visits of JSON's scalars that a lenient type does not care about.
macro_rules! indifferent {
    ($value:ty: $($visit:ident($type:ty)),*) => {
        $(fn $visit<E>(self, _: $type) -> Result<$value, E> { Ok(<$value>::default()) })*
        fn visit_unit<E>(self) -> Result<$value, E> { Ok(<$value>::default()) }
        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<$value, A::Error> {
            while list.next_element::<IgnoredAny>()?.is_some() {}
            Ok(<$value>::default())
        }
    };
}

/// A fingerprint of a text, `None` of an empty one or of anything else.
#[derive(Clone, Copy, Default)]
struct Text(Option<u64>);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fingerprint;
        impl<'de> Visitor<'de> for Fingerprint {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_str<E>(self, text: &str) -> Result<Text, E> {
                Ok(Text(fingerprint(text)))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Text, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Text(None))
            }

            indifferent!(Text: visit_bool(bool), visit_i64(i64), visit_u64(u64), visit_f64(f64));
        }
        deserializer.deserialize_any(Fingerprint)
    }
}

/// Ollama compares trimmed texts when it looks for a model that repeats itself.
pub(super) fn fingerprint(text: &str) -> Option<u64> {
    (!text.is_empty()).then(|| checksum(text.trim()))
}

/// A number that a server told soundly: whole, not negative, at most `LARGEST`; else nothing.
#[derive(Clone, Copy, Default)]
struct Whole<const LARGEST: u64>(Option<u64>);

/// The largest count that is believed.
pub(super) const LARGEST_COUNT: u64 = 1 << 32;

type Count = Whole<LARGEST_COUNT>;
type Nanoseconds = Whole<{ LONGEST_SECONDS * 1_000_000_000 }>;

impl<'de, const LARGEST: u64> Deserialize<'de> for Whole<LARGEST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Sound<const LARGEST: u64>;
        impl<'de, const LARGEST: u64> Visitor<'de> for Sound<LARGEST> {
            type Value = Whole<LARGEST>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number")
            }

            fn visit_u64<E>(self, number: u64) -> Result<Whole<LARGEST>, E> {
                Ok(Whole(Some(number).filter(|&n| n <= LARGEST)))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Whole<LARGEST>, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Whole(None))
            }

            indifferent!(Whole<LARGEST>: visit_bool(bool), visit_i64(i64), visit_f64(f64), visit_str(&str));
        }
        deserializer.deserialize_any(Sound)
    }
}

/// An error in words: a string, or the `message` (or the whole) of an object.
struct Words(String);

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        struct Object<'a> {
            #[serde(borrow)]
            message: Option<&'a RawValue>,
        }
        // No tree is built: that of a few megabytes would take hundreds.
        let whole = <&RawValue>::deserialize(deserializer)?.get();
        let text = |json| serde_json::from_str::<String>(json).ok();
        let message = || text(serde_json::from_str::<Object<'_>>(whole).ok()?.message?.get());
        Ok(Self(text(whole).or_else(message).unwrap_or_else(|| whole.to_owned())))
    }
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod bounds;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(payload: &str, expected: &StreamEvent) {
        assert_eq!(&openai(payload.as_bytes()).expect("valid JSON"), expected, "{payload}");
    }

    fn text(text: &str) -> StreamEvent {
        StreamEvent { text: Some(checksum(text.trim())), ..StreamEvent::default() }
    }

    fn usage(prompt: u64, output: u64, cached_prompt: Option<u64>) -> Option<Usage> {
        Some(Usage { prompt: Some(prompt), output: Some(output), cached_prompt })
    }

    #[test]
    fn text_is_found_wherever_a_server_puts_it() {
        check(r#"{"choices":[{"text":" what","index":0,"logprobs":null,"finish_reason":null}]}"#, &text(" what"));
        check(r#"{"choices":[{"delta":{"content":"\u00e9\n"},"finish_reason":null}]}"#, &text("é"));
        check(r#"{"choices":[{"delta":{"content":null,"reasoning_content":"hm"}}]}"#, &text("hm"));
        check(r#"{"choices":[{"delta":{"content":"","reasoning":"hm"}}]}"#, &text("hm"));
    }

    #[test]
    fn roles_empty_texts_and_oddities_are_no_text() {
        for payload in [
            r#"{"choices":[{"delta":{"role":"assistant","content":null}}]}"#,
            r#"{"choices":[{"delta":{"role":"assistant","content":""}}]}"#,
            r#"{"choices":[{"delta":{"content":7,"reasoning":{"a":[1]}}}]}"#,
            r#"{"choices":[{"delta":null}],"usage":null,"prompt_progress":{"total":3}}"#,
            r#"{"choices":[]}"#,
            r#"{"choices":null}"#,
            "{}",
        ] {
            check(payload, &StreamEvent::default());
        }
    }

    #[test]
    fn a_finish_may_carry_text_usage_and_timings() {
        let payload = r#"{"choices":[{"text":"","finish_reason":"length"}],
            "usage":{"completion_tokens":4,"prompt_tokens":7,"total_tokens":11,"prompt_tokens_details":{"cached_tokens":2}},
            "timings":{"cache_n":2,"prompt_n":5,"prompt_ms":37.5,"predicted_n":4,"predicted_ms":30.25}}"#;
        let expected = StreamEvent {
            usage: usage(7, 4, Some(2)),
            timed_output_tokens: Some(4),
            timed_cached_tokens: Some(2),
            timings: ServerTimings {
                load: None,
                prompt: Some(Duration::from_micros(37_500)),
                decode: Some(Duration::from_micros(30_250)),
            },
            finished: true,
            ..StreamEvent::default()
        };
        check(payload, &expected);
    }

    #[test]
    fn unsound_counts_are_no_counts() {
        for count in ["-1", "1.5", "\"7\"", "99999999999999999999", "null", "true", "[]", "{}", "1e400"] {
            let payload = format!(r#"{{"choices":[],"usage":{{"completion_tokens":{count},"prompt_tokens":3}}}}"#);
            // A number that JSON cannot hold is no JSON; both ways nothing is counted.
            let output = openai(payload.as_bytes()).ok().and_then(|event| event.usage?.output);
            assert_eq!(output, None, "{count}");
        }
        check(r#"{"choices":[],"usage":{"completion_tokens":0,"prompt_tokens":0}}"#, &StreamEvent::default());
    }

    #[test]
    fn errors_come_as_objects_and_as_strings() {
        let error = |words: &str| StreamEvent { error: Some(words.to_owned()), ..StreamEvent::default() };
        check(r#"{"error":{"message":"full","code":503}}"#, &error("full"));
        check(r#"{"error":"full"}"#, &error("full"));
        check(r#"{"error":{"code":3}}"#, &error(r#"{"code":3}"#));
        assert_eq!(ollama(br#"{"error":"full"}"#).expect("valid").error.as_deref(), Some("full"));
    }

    #[test]
    fn done_says_that_nothing_follows_and_no_more() {
        check(" [DONE]", &StreamEvent { done: true, ..StreamEvent::default() });
    }

    #[test]
    fn ollamas_lines_are_read() {
        let line = ollama(br#"{"model":"m","created_at":"x","response":" Once","done":false}"#).expect("valid");
        assert_eq!(line, text(" Once"));
        let line =
            ollama(br#"{"message":{"role":"assistant","content":"","thinking":"hm"},"done":false}"#).expect("valid");
        assert_eq!(line, text("hm"));
        let line = ollama(
            br#"{"response":"","done":true,"done_reason":"length","context":[1,2],"total_duration":9,"load_duration":5000000,
                "prompt_eval_count":26,"prompt_eval_duration":3000000,"eval_count":200,"eval_duration":4000000}"#,
        )
        .expect("valid");
        assert_eq!(line.usage, usage(26, 200, None));
        assert_eq!(line.timings.load, Some(Duration::from_millis(5)));
        assert!(line.finished && line.done);
        // A count of zero is left out by the server: unknown, not zero.
        assert_eq!(ollama(br#"{"response":"","done":true}"#).expect("valid").usage, None);
    }

    #[test]
    fn ollamas_times_are_believed_however_long_they_are() {
        let loaded = |nanoseconds: &str| {
            let line = format!(r#"{{"response":"","done":true,"load_duration":{nanoseconds}}}"#);
            ollama(line.as_bytes()).expect("valid").timings.load
        };
        assert_eq!(loaded("5000000"), Some(Duration::from_millis(5)));
        // More nanoseconds than there are believable tokens.
        assert_eq!(loaded("75000000000"), Some(Duration::from_secs(75)));
        for unsound in ["18446744073709551615", "-1", "0.5", "\"5\"", "null", "{}"] {
            assert_eq!(loaded(unsound), None, "{unsound}");
        }
    }

    #[test]
    fn what_a_model_thinks_is_text_at_either_door_of_ollama() {
        for payload in [
            r#"{"model":"m","response":"","thinking":"hm","done":false}"#,
            r#"{"model":"m","message":{"role":"assistant","content":"","thinking":"hm"},"done":false}"#,
        ] {
            assert_eq!(ollama(payload.as_bytes()).expect("valid"), text("hm"), "{payload}");
        }
        // Nothing thought and nothing said: the first token is still to come.
        for payload in [
            r#"{"response":"","thinking":"","done":false}"#,
            r#"{"message":{"role":"assistant","content":"","thinking":""},"done":false}"#,
        ] {
            assert_eq!(ollama(payload.as_bytes()).expect("valid"), StreamEvent::default(), "{payload}");
        }
    }

    #[test]
    fn an_error_body_is_told_in_words() {
        assert_eq!(error_words(br#"{"error":{"message":"no such model"}}"#), "no such model");
        assert_eq!(error_words(br#"{"object":"error","message":"bad"}"#), "bad");
        assert_eq!(error_words(br#"{"detail":"Not Found"}"#), "Not Found");
        assert_eq!(error_words(b" <html>nope</html> "), "<html>nope</html>");
    }
}
