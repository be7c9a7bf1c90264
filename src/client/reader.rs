//! Reads the payloads of one stream, each at the least cost that does.
//!
//! Most are the last one with another text in it: then only the text is read. Else
//! [`super::glance`] goes through it once, and what is not plain to it is parsed by
//! [`super::decode`]. All three say the same: property tests hold them together.

use std::ops::Range;

use super::decode::{self, StreamEvent};
use super::framing::Framing;
use super::glance::{self, Glance};

/// Longer payloads are not kept for comparison, bytes.
const MOST_KEPT: usize = 4 << 10;

/// Reads payload after payload of one stream.
#[derive(Debug)]
pub struct PayloadReader {
    framing: Framing,
    /// The last payload that held text and no counts; empty before.
    last: Vec<u8>,
    /// Where its text lies.
    text: Range<usize>,
}

impl PayloadReader {
    /// A reader of OpenAI's streams where they come as events, of Ollama's where as lines.
    pub fn new(framing: Framing) -> Self {
        Self { framing, last: Vec::new(), text: 0..0 }
    }

    /// What the next payload says.
    pub fn read(&mut self, payload: &[u8]) -> Result<StreamEvent, serde_json::Error> {
        if let Some(text) = self.other_text(payload) {
            return Ok(StreamEvent { text, ..StreamEvent::default() });
        }
        let glance = match self.framing {
            Framing::ServerSentEvents => glance::openai(payload),
            Framing::JsonLines => glance::ollama(payload),
        };
        match (glance, self.framing) {
            (Some(glance), _) => {
                self.keep(payload, &glance);
                Ok(glance.event)
            }
            (None, Framing::ServerSentEvents) => decode::openai(payload),
            (None, Framing::JsonLines) => decode::ollama(payload),
        }
    }

    /// The fingerprint of the text of a payload that is the last one but for its text.
    fn other_text(&self, payload: &[u8]) -> Option<Option<u64>> {
        let (before, after) = (self.last.get(..self.text.start)?, self.last.get(self.text.end..)?);
        if before.is_empty() {
            return None;
        }
        glance::plain_text(payload.strip_prefix(before)?.strip_suffix(after)?)
    }

    fn keep(&mut self, payload: &[u8], glance: &Glance) {
        if glance.event.text.is_some() && glance.event.usage.is_none() && payload.len() <= MOST_KEPT {
            self.last.clear();
            self.last.extend_from_slice(payload);
            self.text = glance.text.clone();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a reader that goes from one to the next says of each.
    fn read(framing: Framing, payloads: &[String]) -> Vec<Option<StreamEvent>> {
        let mut reader = PayloadReader::new(framing);
        payloads.iter().map(|payload| reader.read(payload.as_bytes()).ok()).collect()
    }

    /// Payloads that differ in little but their texts.
    fn alike(forms: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
        let text = prop_oneof!["[ a-zé]{0,12}", r#"[ab\\"u0{},:\n]{0,6}"#];
        let payload = (prop::sample::select(forms), text).prop_map(|(form, text)| form.replace("TEXT", &text));
        prop::collection::vec(payload, 1..12)
    }

    const OPENAI: [&str; 5] = [
        r#"{"id":"c","choices":[{"index":0,"delta":{"content":"TEXT"},"finish_reason":null}]}"#,
        r#"{"id":"c","choices":[{"index":0,"delta":{"content":"","reasoning":"TEXT"},"finish_reason":null}]}"#,
        r#"{"id":"TEXT","choices":[{"index":0,"text":"a"}]}"#,
        r#"{"id":"c","choices":[{"index":0,"text":"TEXT"}],"usage":{"completion_tokens":3}}"#,
        r#"{"id":"c","choices":[{"index":0,"delta":{"content":"TEXT"},"finish_reason":"stop"}]}"#,
    ];

    const OLLAMA: [&str; 3] = [
        r#"{"model":"m","response":"TEXT","done":false}"#,
        r#"{"model":"m","response":"TEXT","done":true,"eval_count":3}"#,
        r#"{"model":"m","message":{"content":"TEXT","thinking":""},"done":false}"#,
    ];

    proptest! {
        #[test]
        fn what_came_before_changes_nothing(chunks in alike(&OPENAI), lines in alike(&OLLAMA)) {
            let whole: Vec<_> = chunks.iter().map(|chunk| decode::openai(chunk.as_bytes()).ok()).collect();
            prop_assert_eq!(read(Framing::ServerSentEvents, &chunks), whole);
            let whole: Vec<_> = lines.iter().map(|line| decode::ollama(line.as_bytes()).ok()).collect();
            prop_assert_eq!(read(Framing::JsonLines, &lines), whole);
        }
    }

    #[test]
    fn a_payload_is_recognised_by_all_that_is_around_its_text() {
        let mut reader = PayloadReader::new(Framing::JsonLines);
        let recognised = |reader: &PayloadReader, line: &str| reader.other_text(line.as_bytes()).is_some();
        assert!(!recognised(&reader, ""));
        reader.read(br#"{"response":"one","done":false}"#).expect("is sound");
        assert!(recognised(&reader, r#"{"response":" another","done":false}"#));
        assert!(recognised(&reader, r#"{"response":"","done":false}"#));
        for line in [
            r#"{"response":"one","done":true}"#,
            r#"{"response":"a\"b","done":false}"#,
            r#"{"response":"","done":false,"response":"x","done":false}"#,
            r#"{"response":"#,
        ] {
            assert!(!recognised(&reader, line), "{line}");
        }
    }
}
