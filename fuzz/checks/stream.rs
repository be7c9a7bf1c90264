//! Whatever a server streams: it is read, in bounds, and the same however it is cut.

use std::time::Duration;

use llmsoak::client::answer::Answer;
use llmsoak::client::decode::{self, StreamEvent};
use llmsoak::client::framing::{Decoder, Framing};
use llmsoak::client::reader::PayloadReader;

/// Asked of the server.
const TOKENS: u32 = 16;
/// A server is believed four times as many, and some more.
const MOST_TOKENS: u64 = 4 * TOKENS as u64 + 1024;

pub(crate) fn hold(body: &[u8]) {
    for framing in [Framing::ServerSentEvents, Framing::JsonLines] {
        let payloads = read(framing, body, body.len().max(1));
        for size in [1, 7] {
            assert_eq!(payloads, read(framing, body, size), "in pieces of {size}");
        }
        answer(framing, &payloads);
    }
}

/// The payloads of a body that comes in pieces of that size. None is too long here.
fn read(framing: Framing, body: &[u8], size: usize) -> Vec<Vec<u8>> {
    let mut payloads = Vec::new();
    let mut decoder = Decoder::new(framing);
    let mut keep = |payload: &[u8]| payloads.push(payload.to_vec());
    for piece in body.chunks(size) {
        decoder.push(piece, &mut keep).expect("is short");
    }
    decoder.finish(&mut keep).expect("is short");
    payloads
}

/// Adds up what is sound, as far as it goes.
fn answer(framing: Framing, payloads: &[Vec<u8>]) {
    let (mut answer, mut reader) = (Answer::new(TOKENS, 0), PayloadReader::new(framing));
    for (at, payload) in (1..).zip(payloads) {
        let event = reader.read(payload).ok();
        assert_eq!(event, parse(framing, payload), "what came before changes nothing");
        let Some(event) = event else { break };
        answer.take(event, Duration::from_micros(at));
    }
    answer.note_end();
    let (chunks, tokens, ..) = answer.into_parts();
    assert!(tokens.output <= MOST_TOKENS && chunks.len() as u64 <= MOST_TOKENS, "{tokens:?}");
}

/// What a payload says by itself, parsed whole.
fn parse(framing: Framing, payload: &[u8]) -> Option<StreamEvent> {
    match framing {
        Framing::ServerSentEvents => decode::openai(payload).ok(),
        Framing::JsonLines => decode::ollama(payload).ok(),
    }
}
