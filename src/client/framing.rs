//! Cuts a stream of bytes into payloads: the data of SSE events, or the lines of NDJSON.
//!
//! Any split of the bytes gives the same payloads. A payload that arrives whole in one
//! piece is handed out without copying. Sources: the WHATWG HTML standard, "Server-sent
//! events", §9.2.5–9.2.6; for NDJSON, one JSON object a line.

/// How a body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    ServerSentEvents,
    JsonLines,
}

/// A line, or an event of several lines, is longer than [`LIMIT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a line or event of more than {LIMIT} bytes")]
pub struct TooLarge;

/// The longest line or event in bytes, the bound of Ollama's own client: its last line may
/// carry the whole context as numbers.
pub const LIMIT: usize = 8 << 20;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Holds what an incomplete line or event left behind.
#[derive(Debug)]
pub struct Decoder {
    framing: Framing,
    /// The beginning of a line whose end has not arrived.
    line: Vec<u8>,
    /// The data of an event whose blank line has not arrived.
    event: Option<Vec<u8>>,
    /// A carriage return ended the last line: a line feed that follows belongs to it.
    after_carriage_return: bool,
    at_start: bool,
}

impl Decoder {
    pub fn new(framing: Framing) -> Self {
        Self { framing, line: Vec::new(), event: None, after_carriage_return: false, at_start: true }
    }

    /// Takes the next bytes and hands every payload that they complete to `emit`.
    pub fn push(&mut self, mut bytes: &[u8], mut emit: impl FnMut(&[u8])) -> Result<(), TooLarge> {
        while let Some(end) = memchr::memchr2(b'\n', b'\r', bytes) {
            let (line, rest) = bytes.split_at(end);
            let (ending, rest) = rest.split_at(1);
            bytes = rest;
            let belongs_to_last =
                self.after_carriage_return && ending == b"\n" && line.is_empty() && self.line.is_empty();
            self.after_carriage_return = ending == b"\r";
            if belongs_to_last {
                continue;
            }
            if self.line.is_empty() {
                self.take_line(line, bytes, &mut emit)?;
            } else {
                self.keep(line)?;
                let line = std::mem::take(&mut self.line);
                self.take_line(&line, bytes, &mut emit)?;
            }
        }
        if !bytes.is_empty() {
            self.after_carriage_return = false;
            self.keep(bytes)?;
        }
        Ok(())
    }

    /// Hands out what the end of the body left without its line end or blank line.
    pub fn finish(mut self, mut emit: impl FnMut(&[u8])) -> Result<(), TooLarge> {
        let line = std::mem::take(&mut self.line);
        if !line.is_empty() {
            self.take_line(&line, &[], &mut emit)?;
        }
        if let Some(event) = self.event {
            emit(&event);
        }
        Ok(())
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), TooLarge> {
        if self.line.len() + bytes.len() > LIMIT {
            return Err(TooLarge);
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    /// Takes a whole line; `following` are the bytes known to come after it.
    fn take_line(&mut self, line: &[u8], following: &[u8], emit: &mut impl FnMut(&[u8])) -> Result<(), TooLarge> {
        let line = if self.at_start { line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line) } else { line };
        self.at_start = false;
        match self.framing {
            Framing::JsonLines => {
                if !line.trim_ascii().is_empty() {
                    emit(line);
                }
                Ok(())
            }
            Framing::ServerSentEvents => self.take_field(line, following, emit),
        }
    }

    fn take_field(&mut self, line: &[u8], following: &[u8], emit: &mut impl FnMut(&[u8])) -> Result<(), TooLarge> {
        if line.is_empty() {
            if let Some(event) = self.event.take() {
                emit(&event);
            }
            return Ok(());
        }
        // Comments, event names, ids and retry times carry no payload.
        let Some(data) = line.strip_prefix(b"data:") else { return Ok(()) };
        let data = data.strip_prefix(b" ").unwrap_or(data);
        match &mut self.event {
            None if blank_line_follows(following, self.after_carriage_return) => emit(data),
            None => self.event = Some(data.to_vec()),
            Some(event) if event.len() + 1 + data.len() > LIMIT => return Err(TooLarge),
            Some(event) => {
                event.push(b'\n');
                event.extend_from_slice(data);
            }
        }
        Ok(())
    }
}

/// Whether an event of one line is complete, so that it need not be kept. The blank line
/// itself is then read as one with nothing before it.
fn blank_line_follows(following: &[u8], after_carriage_return: bool) -> bool {
    let following = if after_carriage_return { following.strip_prefix(b"\n").unwrap_or(following) } else { following };
    matches!(following.first(), Some(b'\n' | b'\r'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn payloads(framing: Framing, pieces: &[&[u8]]) -> Vec<String> {
        let mut seen = Vec::new();
        let mut decoder = Decoder::new(framing);
        let mut emit = |payload: &[u8]| seen.push(String::from_utf8_lossy(payload).into_owned());
        for piece in pieces {
            decoder.push(piece, &mut emit).expect("short");
        }
        decoder.finish(&mut emit).expect("short");
        seen
    }

    /// Checks the payloads of `body` whole, byte by byte, and cut in two anywhere.
    fn check(framing: Framing, body: &str, expected: &[&str]) {
        let bytes = body.as_bytes();
        assert_eq!(payloads(framing, &[bytes]), expected, "whole");
        assert_eq!(payloads(framing, &bytes.chunks(1).collect::<Vec<_>>()), expected, "byte by byte");
        for cut in 0..bytes.len() {
            assert_eq!(payloads(framing, &[&bytes[..cut], &bytes[cut..]]), expected, "cut at {cut}");
        }
    }

    #[test]
    fn events_end_at_a_blank_line_whatever_ends_the_lines() {
        for end in ["\n", "\r\n", "\r"] {
            let body = format!("data: a{end}{end}data:b{end}{end}data: [DONE]{end}{end}");
            check(Framing::ServerSentEvents, &body, &["a", "b", "[DONE]"]);
        }
    }

    #[test]
    fn data_lines_of_one_event_join() {
        check(Framing::ServerSentEvents, "data: {\ndata: }\n\n", &["{\n}"]);
    }

    #[test]
    fn comments_names_and_ids_are_no_payload() {
        let body = "\u{feff}: ping\n\nevent: x\nid: 7\nretry: 9\ndata: a\n\n\n\n:\n\n";
        check(Framing::ServerSentEvents, body, &["a"]);
    }

    #[test]
    fn an_unfinished_last_event_is_handed_out() {
        check(Framing::ServerSentEvents, "data: a\n\ndata: b", &["a", "b"]);
        check(Framing::JsonLines, "{}\n{\"a\":1}", &["{}", "{\"a\":1}"]);
    }

    #[test]
    fn lines_of_json_may_be_apart_by_blank_ones() {
        check(Framing::JsonLines, "{\"é\":1}\r\n\n \n{}\n", &["{\"é\":1}", "{}"]);
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let mut decoder = Decoder::new(Framing::JsonLines);
        let piece = vec![b'x'; 1 << 20];
        let outcomes: Vec<_> = (0..9).map(|_| decoder.push(&piece, |_| ())).collect();
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 8);
        assert_eq!(outcomes.last(), Some(&Err(TooLarge)));
    }

    #[test]
    fn an_event_of_many_lines_is_refused_beyond_the_limit() {
        // Two lines within the limit, joined by a line feed.
        let first = 100;
        for (length, expected) in [(LIMIT, Ok(())), (LIMIT + 1, Err(TooLarge)), (LIMIT + 2, Err(TooLarge))] {
            let mut decoder = Decoder::new(Framing::ServerSentEvents);
            let mut seen = Vec::new();
            let mut emit = |payload: &[u8]| seen.push(payload.len());
            let data = |bytes: usize| [b"data:", vec![b'x'; bytes].as_slice(), b"\n"].concat();
            decoder.push(&data(first), &mut emit).expect("short");
            let body = [data(length - first - 1).as_slice(), b"\n"].concat();
            let pushed = body.chunks(1 << 20).try_for_each(|piece| decoder.push(piece, &mut emit));
            assert_eq!(pushed, expected, "{length}");
            assert_eq!(seen, if expected.is_ok() { vec![length] } else { vec![] });
        }
    }

    proptest! {
        #[test]
        fn any_split_of_the_bytes_gives_the_same_payloads(
            lines in prop::collection::vec("(data: ?)?[a-c{}:\u{e9}]{0,6}(\n|\r\n|\r|\n\n|\r\n\r\n|\r\r)", 0..12),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let body = lines.concat();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len() + 1)).collect();
            cuts.extend([0, body.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &body.as_bytes()[cut[0]..cut[1]]).collect();
            for framing in [Framing::ServerSentEvents, Framing::JsonLines] {
                prop_assert_eq!(payloads(framing, &pieces), payloads(framing, &[body.as_bytes()]));
            }
        }
    }
}
