//! What is believed of a server's numbers, and by what texts are compared.

use super::*;

/// What a payload of OpenAI's streams says.
fn said(payload: &str) -> StreamEvent {
    openai(payload.as_bytes()).expect("valid")
}

#[test]
fn a_count_of_either_side_makes_a_usage() {
    for (prompt, output, is_told) in [(0, 0, false), (3, 0, true), (0, 4, true)] {
        let payload = format!(r#"{{"choices":[],"usage":{{"prompt_tokens":{prompt},"completion_tokens":{output}}}}}"#);
        let usage = Usage { prompt: Some(prompt), output: Some(output), cached_prompt: None };
        assert_eq!(said(&payload).usage, is_told.then_some(usage), "{payload}");
    }
}

#[test]
fn counts_are_believed_up_to_a_bound() {
    for (count, expected) in [(LARGEST_COUNT, Some(LARGEST_COUNT)), (LARGEST_COUNT + 1, None)] {
        let payload = format!(r#"{{"usage":{{"prompt_tokens":3,"completion_tokens":{count}}}}}"#);
        assert_eq!(said(&payload).usage.and_then(|usage| usage.output), expected);
    }
}

#[test]
fn times_are_believed_up_to_a_bound() {
    let prompt = |milliseconds: &str| said(&format!(r#"{{"timings":{{"prompt_ms":{milliseconds}}}}}"#)).timings.prompt;
    assert_eq!(prompt("4294967295000"), Some(Duration::from_secs(LONGEST_SECONDS - 1)));
    assert_eq!(prompt("4294967296000"), None);
    assert_eq!(prompt("-1"), None);
    let loaded = |nanoseconds: u64| {
        let line = format!(r#"{{"done":true,"load_duration":{nanoseconds}}}"#);
        ollama(line.as_bytes()).expect("valid").timings.load
    };
    let longest = LONGEST_SECONDS * 1_000_000_000;
    assert_eq!(loaded(longest), Some(Duration::from_secs(LONGEST_SECONDS)));
    assert_eq!(loaded(longest + 1), None);
}

#[test]
fn an_object_in_the_place_of_a_count_or_a_text_is_passed_over() {
    let payload =
        r#"{"choices":[{"text":{"a":{"b":[1]}}}],"usage":{"prompt_tokens":{"n":{"m":[1]}},"completion_tokens":2}}"#;
    let usage = Usage { prompt: None, output: Some(2), cached_prompt: None };
    assert_eq!(said(payload), StreamEvent { usage: Some(usage), ..StreamEvent::default() });
}

#[test]
fn a_payload_of_another_form_says_which_was_expected() {
    let error = openai(br#"{"choices":7}"#).expect_err("no list").to_string();
    assert!(error.contains("expected a list of choices"), "{error}");
}

#[test]
fn texts_are_compared_by_a_known_hash_of_what_is_in_them() {
    // Test vectors of draft-eastlake-fnv.
    for (text, expected) in [
        ("a", 0xaf63_dc4c_8601_ec8c),
        ("foobar", 0x8594_4171_f739_67e8),
        (" foobar\n", 0x8594_4171_f739_67e8),
        // A text of blanks is one.
        (" ", 0xcbf2_9ce4_8422_2325),
    ] {
        assert_eq!(fingerprint(text), Some(expected), "{text:?}");
    }
    assert_eq!(fingerprint(""), None);
}
