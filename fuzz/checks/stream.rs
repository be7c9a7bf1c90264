//! Whatever a server streams: it is read, in bounds, and the same however it is cut.

use std::time::Duration;

use llmsoak::client::answer::Answer;
use llmsoak::client::decode::{self, StreamEvent};
use llmsoak::client::framing::{Decoder, Framing};

/// Asked of the server.
const TOKENS: u32 = 16;
/// A server is believed so many times as many, and some more.
const MOST_TOKENS: u64 = 4 * TOKENS as u64 + 1024;

/// The first byte says which API is spoken and how the rest is cut.
pub fn hold(data: &[u8]) {
    let Some((&how, body)) = data.split_first() else { return };
    let framing = if how & 1 == 0 { Framing::ServerSentEvents } else { Framing::JsonLines };
    let whole = read(framing, &[body]);
    let size = usize::from(how >> 1).max(1);
    assert_eq!(whole, read(framing, &body.chunks(size).collect::<Vec<_>>()), "in pieces of {size}");
    let mut answer = Answer::new(TOKENS);
    for (at, payload) in (1..).zip(whole.into_iter().flatten()) {
        match parse(framing, &payload) {
            Some(event) => answer.take(event, Duration::from_micros(at)),
            None => break,
        }
    }
    answer.note_end();
    let (chunks, tokens, ..) = answer.into_parts();
    assert!(tokens.output <= MOST_TOKENS && chunks.len() as u64 <= MOST_TOKENS, "{tokens:?}");
}

/// The payloads of a body that comes in those pieces, where none is too long.
fn read(framing: Framing, pieces: &[&[u8]]) -> Option<Vec<Vec<u8>>> {
    let mut payloads = Vec::new();
    let mut decoder = Decoder::new(framing);
    for piece in pieces {
        decoder.push(piece, |payload| payloads.push(payload.to_vec())).ok()?;
    }
    decoder.finish(|payload| payloads.push(payload.to_vec())).ok()?;
    Some(payloads)
}

fn parse(framing: Framing, payload: &[u8]) -> Option<StreamEvent> {
    // A member that says nothing, but that keeps a payload from being read at a glance.
    let (parse, nothing): (fn(&[u8]) -> _, &[u8]) = match framing {
        Framing::ServerSentEvents => (decode::openai, br#""timings":null,"#),
        Framing::JsonLines => (decode::ollama, br#""load_duration":null,"#),
    };
    let event = parse(payload).ok();
    if let (Some(event), Some(members)) = (&event, payload.trim_ascii().strip_prefix(b"{")) {
        let with_nothing = parse(&[b"{", nothing, members].concat());
        // It is refused where it was there already, or is the only one.
        assert!(with_nothing.is_err() || with_nothing.is_ok_and(|other| other == *event), "{event:?}");
    }
    event
}
