//! What is plain enough to be read at a glance, and what is left to a whole parse.

use super::*;
use crate::client::decode;

/// A payload that is read, as a whole parse reads it, and where its text was found.
fn check_read(payload: &str, text: &str) {
    let (glance, whole) = match payload.contains("choices") {
        true => (openai(payload.as_bytes()), decode::openai(payload.as_bytes())),
        false => (ollama(payload.as_bytes()), decode::ollama(payload.as_bytes())),
    };
    let glance = glance.unwrap_or_else(|| panic!("{payload} is plain"));
    assert_eq!(&payload[glance.text], text, "{payload}");
    assert_eq!(glance.event, whole.expect("is sound"), "{payload}");
}

fn check_left(payload: &str) {
    let glance = if payload.contains("choices") { openai(payload.as_bytes()) } else { ollama(payload.as_bytes()) };
    assert_eq!(glance, None, "{payload}");
}

#[test]
fn what_says_nothing_is_passed_over() {
    check_read(r#"{"a":true,"b":false,"c":null,"d":"s","e":[],"f":12,"g":0,"choices":[{"text":"one"}]}"#, "one");
    check_read(r#"{"response":"one","a":true,"b":false,"c":null,"d":"s","e":[ ],"f":12,"done":false}"#, "one");
    check_read(r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":"one"},"finish_reason":null}]}"#, "one");
    check_read("{\"choices\":[{}]}", "");
    check_read("{\t\"choices\" :\r\n[ { \"text\" : \"one\" } ] } ", "one");
    for value in ["{}", "{\"a\":1}", "[1]", "-1", "1.5", "01", "\"é\"", "\"\\n\"", "tru", "nul", "x"] {
        check_left(&format!(r#"{{"a":{value},"choices":[{{"text":"one"}}]}}"#));
    }
}

#[test]
fn a_text_is_found_where_it_lies() {
    check_read(r#"{"choices":[{"text":" é "}]}"#, " é ");
    check_read(r#"{"choices":[{"delta":{"content":"","reasoning":"hm"}}]}"#, "hm");
    check_read(r#"{"choices":[{"delta":{"reasoning_content":"hm","content":null}}]}"#, "hm");
    check_read(r#"{"response":"","thinking":"hm","done":false}"#, "hm");
    check_read(r#"{"message":{"content":"","thinking":"hm"},"done":false}"#, "hm");
    check_read(r#"{"response":"","done":false}"#, "");
}

#[test]
fn counts_are_read_beside_a_text() {
    check_read(r#"{"choices":[{"text":"one"}],"usage":{"prompt_tokens":0,"completion_tokens":3}}"#, "one");
    check_read(r#"{"choices":[{"text":"one"}],"usage":{"completion_tokens":4294967296,"total":7}}"#, "one");
    check_read(r#"{"choices":[{"text":"one"}],"usage":{"completion_tokens":3,"prompt_tokens_details":null}}"#, "one");
    check_read(r#"{"choices":[{"text":"one"}],"usage":null}"#, "one");
    for usage in [
        "{}",
        r#"{"completion_tokens":0}"#,
        r#"{"prompt_tokens":3}"#,
        r#"{"completion_tokens":4294967297}"#,
        r#"{"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":1}}"#,
        r#"{"completion_tokens":3,"prompt_tokens_details":7}"#,
        r#"{"completion_tokens":3.0}"#,
        r#"{"completion_tokens":"3"}"#,
        "7",
    ] {
        check_left(&format!(r#"{{"choices":[{{"text":"one"}}],"usage":{usage}}}"#));
    }
}

#[test]
fn a_member_that_comes_twice_is_left_alone() {
    for choice in [
        r#""text":"","text":"""#,
        r#""text":"one","delta":{},"text":"""#,
        r#""delta":{},"delta":{}"#,
        r#""finish_reason":null,"finish_reason":null"#,
        r#""delta":{"content":"","content":""}"#,
        r#""delta":{"reasoning":"","reasoning":""}"#,
    ] {
        check_left(&format!(r#"{{"choices":[{{{choice}}}]}}"#));
    }
    check_left(r#"{"choices":[{}],"choices":[{}]}"#);
    check_left(r#"{"choices":[{}],"usage":null,"usage":null}"#);
    for usage in [
        r#""completion_tokens":1,"completion_tokens":1"#,
        r#""completion_tokens":1,"prompt_tokens":1,"prompt_tokens":1"#,
    ] {
        check_left(&format!(r#"{{"choices":[{{"text":"one"}}],"usage":{{{usage}}}}}"#));
    }
    let twice = r#""completion_tokens":1,"prompt_tokens_details":null,"prompt_tokens_details":null"#;
    check_left(&format!(r#"{{"choices":[{{"text":"one"}}],"usage":{{{twice}}}}}"#));
    for line in [
        r#"{"response":"","response":"","done":false}"#,
        r#"{"thinking":"","thinking":"","done":false}"#,
        r#"{"message":{},"message":{},"done":false}"#,
        r#"{"response":"","done":false,"done":false}"#,
    ] {
        check_left(line);
    }
}

#[test]
fn an_end_an_error_or_several_texts_are_left_alone() {
    for payload in [
        r#"{"choices":[{"text":"one","finish_reason":"stop"}]}"#,
        r#"{"choices":[{"text":"one","delta":{"content":"two"}}]}"#,
        r#"{"choices":[{"delta":{"content":"one","reasoning":"two"}}]}"#,
        r#"{"choices":[{"text":"one"},{"text":"two"}]}"#,
        r#"{"choices":[{"text":"one"}],"error":null}"#,
        r#"{"choices":[{"text":"one"}],"timings":{}}"#,
        r#"{"choices":[{"text":7}]}"#,
        r#"{"choices":[{"text":"one"}]}}"#,
        r#"{"choices":[{"text":"one"}]"#,
        r#"{"choices":[{"text":"one"}],}"#,
        r#"{"choices":[]}"#,
        r#"{"response":"one","done":true}"#,
        r#"{"response":"one","thinking":"two","done":false}"#,
        r#"{"response":"one","error":"full","done":false}"#,
        r#"{"response":"one","eval_count":3,"done":false}"#,
        "",
        "{",
    ] {
        check_left(payload);
    }
}

#[test]
fn a_string_is_plain_up_to_what_ends_it() {
    assert_eq!(plain_text(b""), Some(None));
    assert_eq!(plain_text(b" one "), Some(fingerprint("one")));
    for string in [&b"a\"b"[..], b"a\\nb", b"a\nb", b"\xff", b"12345678\x1f"] {
        assert_eq!(plain_text(string), None, "{string:?}");
    }
    assert_eq!(plain_text(b"12345678 ~\x7f"), Some(fingerprint("12345678 ~\x7f")));
}
