//! Adds up the events of one stream into what a request's record says of its answer.
//!
//! No I/O: events and times come in, the verdict goes out.

use std::time::Duration;

use super::decode::{StreamEvent, Usage};
use crate::domain::{Chunk, FailureKind, RequestFailure, ServerTimings, TokenCounts, TokenSource};

/// Ollama ends a stream silently when one text comes more often than this in a row
/// (`llm/llama_server.go`).
const REPETITIONS: u32 = 30;
/// More text-bearing chunks than this, per asked token, and the stream is given up.
const CHUNKS_PER_ASKED_TOKEN: u64 = 4;
/// What an answer may hold beyond that, chunks: templates and reasoning preambles.
const SPARE_CHUNKS: u64 = 1024;

/// More prompt tokens than bytes were sent, and these, are not believed: templates and the
/// instructions of a server's own.
const SPARE_PROMPT_TOKENS: u64 = 16_384;

/// An answer as far as it has come.
#[derive(Debug)]
pub struct Answer {
    asked_tokens: u32,
    most_prompt_tokens: u64,
    chunks: Vec<Chunk>,
    usage: Option<Usage>,
    /// The output count that came with the last text-bearing chunk, where each carries one.
    cumulative: Option<u64>,
    timed_output_tokens: Option<u64>,
    timed_cached_tokens: Option<u64>,
    timings: ServerTimings,
    finished: bool,
    done: bool,
    failure: Option<RequestFailure>,
    last_text: u64,
    repetitions: u32,
}

impl Answer {
    /// The answer to a request of so many bytes.
    pub fn new(asked_tokens: u32, request_bytes: usize) -> Self {
        Self {
            asked_tokens,
            // No token is less than a byte.
            most_prompt_tokens: request_bytes as u64 + SPARE_PROMPT_TOKENS,
            chunks: Vec::with_capacity(asked_tokens as usize + 1),
            usage: None,
            cumulative: Some(0),
            timed_output_tokens: None,
            timed_cached_tokens: None,
            timings: ServerTimings::default(),
            finished: false,
            done: false,
            failure: None,
            last_text: 0,
            repetitions: 0,
        }
    }

    /// Takes one event that was read at `at`.
    pub fn take(&mut self, event: StreamEvent, at: Duration) {
        if let Some(words) = event.error {
            self.fail(FailureKind::ServerError, &words);
            return;
        }
        if let Some(text) = event.text {
            self.take_text(text, event.usage.and_then(|usage| usage.output), at);
        }
        self.usage = event.usage.or(self.usage);
        self.timed_output_tokens = event.timed_output_tokens.or(self.timed_output_tokens);
        self.timed_cached_tokens = event.timed_cached_tokens.or(self.timed_cached_tokens);
        self.timings = ServerTimings {
            load: event.timings.load.or(self.timings.load),
            prompt: event.timings.prompt.or(self.timings.prompt),
            decode: event.timings.decode.or(self.timings.decode),
        };
        self.finished |= event.finished;
        self.done |= event.done;
    }

    fn take_text(&mut self, text: u64, cumulative: Option<u64>, at: Duration) {
        if self.chunks.len() as u64 >= self.most_tokens() {
            self.fail(FailureKind::TooLarge, "far more text than was asked for");
            return;
        }
        self.repetitions = if text == self.last_text { self.repetitions + 1 } else { 1 };
        self.last_text = text;
        let most = self.most_tokens();
        let cumulative = cumulative.filter(|&count| count <= most);
        let tokens = cumulative.zip(self.cumulative).and_then(|(now, before)| now.checked_sub(before));
        self.cumulative = cumulative;
        self.chunks.push(Chunk { at, tokens: tokens.and_then(|n| u32::try_from(n).ok()) });
    }

    /// No answer has more chunks or tokens than this; a count beyond it is not believed.
    fn most_tokens(&self) -> u64 {
        u64::from(self.asked_tokens) * CHUNKS_PER_ASKED_TOKEN + SPARE_CHUNKS
    }

    /// Notes a failure; the first one counts.
    pub fn fail(&mut self, kind: FailureKind, detail: &str) {
        self.failure.get_or_insert_with(|| RequestFailure::new(kind, detail));
    }

    pub fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// Whether nothing more is to come: the last marker was seen, or the answer failed.
    pub fn is_over(&self) -> bool {
        self.done || self.has_failed()
    }

    pub fn last_text_at(&self) -> Option<Duration> {
        self.chunks.last().map(|chunk| chunk.at)
    }

    /// Judges a stream that ended, as far as its end was clean.
    pub fn note_end(&mut self) {
        if self.finished || self.has_failed() {
            return;
        }
        if self.repetitions > REPETITIONS {
            self.fail(FailureKind::RepetitionStop, "the stream ended after one text many times in a row");
        } else {
            self.fail(FailureKind::Truncated, "the stream ended without its terminal marker");
        }
    }

    /// The parts of a record: chunks, counts, the server's times, the failure.
    pub fn into_parts(self) -> (Vec<Chunk>, TokenCounts, ServerTimings, Option<RequestFailure>) {
        let most = self.most_tokens();
        let told = self.usage.and_then(|usage| usage.output).filter(|&count| count <= most);
        let (output, source) = match (told, self.timed_output_tokens.filter(|&count| count <= most)) {
            (Some(output), _) => (output, TokenSource::Usage),
            (None, Some(output)) => (output, TokenSource::ServerTimings),
            (None, None) => (self.chunks.len() as u64, TokenSource::Chunks),
        };
        let is_believed = |&count: &u64| count <= self.most_prompt_tokens;
        let cached_prompt = self.usage.and_then(|usage| usage.cached_prompt).or(self.timed_cached_tokens);
        let tokens = TokenCounts {
            output,
            source,
            prompt: self.usage.and_then(|usage| usage.prompt).filter(is_believed),
            cached_prompt: cached_prompt.filter(is_believed),
        };
        (self.chunks, tokens, self.timings, self.failure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::decode;

    fn text(word: u64) -> StreamEvent {
        StreamEvent { text: Some(word), ..StreamEvent::default() }
    }

    fn with_usage(event: StreamEvent, output: u64) -> StreamEvent {
        StreamEvent { usage: Some(Usage { prompt: Some(5), output: Some(output), cached_prompt: None }), ..event }
    }

    fn finish() -> StreamEvent {
        StreamEvent { finished: true, ..StreamEvent::default() }
    }

    /// Takes the events a millisecond apart and ends the stream.
    fn answer(events: Vec<StreamEvent>) -> (Vec<Option<u32>>, TokenCounts, Option<FailureKind>) {
        let mut answer = Answer::new(100, 400);
        for (at, event) in (1..).zip(events) {
            answer.take(event, Duration::from_millis(at));
        }
        answer.note_end();
        let (chunks, tokens, _, failure) = answer.into_parts();
        (chunks.iter().map(|chunk| chunk.tokens).collect(), tokens, failure.map(|failure| failure.kind))
    }

    #[test]
    fn a_role_or_an_empty_delta_is_no_chunk() {
        let (chunks, tokens, failure) = answer(vec![StreamEvent::default(), text(1), with_usage(finish(), 2)]);
        assert_eq!((chunks.len(), tokens.output, tokens.source, failure), (1, 2, TokenSource::Usage, None));
    }

    #[test]
    fn cumulative_usage_tells_the_tokens_of_each_chunk() {
        let events =
            vec![with_usage(text(1), 2), with_usage(text(2), 3), with_usage(text(3), 7), with_usage(finish(), 7)];
        assert_eq!(answer(events).0, [Some(2), Some(1), Some(4)]);
    }

    #[test]
    fn a_usage_that_comes_once_tells_nothing_of_single_chunks() {
        let events = vec![text(1), with_usage(StreamEvent { finished: true, ..text(2) }, 9)];
        assert_eq!(answer(events).0, [None, None]);
    }

    /// The answer of those lines of Ollama's, read a millisecond apart.
    fn check_thinking(lines: &[&str]) {
        let mut answer = Answer::new(100, 400);
        for (at, line) in (1..).zip(lines) {
            answer.take(decode::ollama(line.as_bytes()).expect("valid"), Duration::from_millis(at));
        }
        answer.note_end();
        let (chunks, tokens, _, failure) = answer.into_parts();
        let at: Vec<_> = chunks.iter().map(|chunk| chunk.at.as_millis()).collect();
        assert_eq!((at, failure), (vec![2, 3, 4], None), "{lines:?}");
        assert_eq!((tokens.output, tokens.source), (7, TokenSource::Usage), "{lines:?}");
    }

    #[test]
    fn thoughts_end_the_wait_for_the_first_token_and_are_in_ollamas_count() {
        check_thinking(&[
            r#"{"response":"","thinking":"","done":false}"#,
            r#"{"response":"","thinking":"Let me","done":false}"#,
            r#"{"response":"","thinking":" see.","done":false}"#,
            r#"{"response":"Four.","done":false}"#,
            r#"{"response":"","done":true,"done_reason":"stop","prompt_eval_count":9,"eval_count":7}"#,
        ]);
        check_thinking(&[
            r#"{"message":{"role":"assistant","content":""},"done":false}"#,
            r#"{"message":{"role":"assistant","content":"","thinking":"Let me"},"done":false}"#,
            r#"{"message":{"role":"assistant","content":"","thinking":" see."},"done":false}"#,
            r#"{"message":{"role":"assistant","content":"Four."},"done":false}"#,
            r#"{"message":{"role":"assistant","content":""},"done":true,"prompt_eval_count":9,"eval_count":7}"#,
        ]);
    }

    #[test]
    fn without_a_count_chunks_are_counted_and_labelled() {
        let (_, tokens, failure) = answer(vec![text(1), text(2), finish()]);
        assert_eq!((tokens.output, tokens.source, failure), (2, TokenSource::Chunks, None));
    }

    #[test]
    fn done_alone_is_not_success() {
        let done = StreamEvent { done: true, ..StreamEvent::default() };
        assert_eq!(answer(vec![text(1), done]).2, Some(FailureKind::Truncated));
    }

    #[test]
    fn an_error_in_the_stream_fails_it_even_before_a_finish() {
        let error = StreamEvent { error: Some("full".to_owned()), ..StreamEvent::default() };
        assert_eq!(answer(vec![text(1), error, finish()]).2, Some(FailureKind::ServerError));
    }

    #[test]
    fn a_model_that_repeats_itself_is_told_from_a_cut_stream() {
        assert_eq!(answer(vec![text(1); 31]).2, Some(FailureKind::RepetitionStop));
        assert_eq!(answer(vec![text(1); 30]).2, Some(FailureKind::Truncated));
        let ended = std::iter::repeat_n(text(1), 40).chain([finish()]).collect();
        assert_eq!(answer(ended).2, None);
    }

    #[test]
    fn an_endless_answer_is_given_up_and_what_came_before_is_kept() {
        let most = usize::try_from(100 * CHUNKS_PER_ASKED_TOKEN + SPARE_CHUNKS).expect("few");
        for (chunks, expected) in [(most, FailureKind::Truncated), (most + 1, FailureKind::TooLarge)] {
            let (kept, _, failure) = answer((0..chunks as u64).map(text).collect());
            assert_eq!((kept.len(), failure), (most, Some(expected)));
        }
    }

    #[test]
    fn a_count_beyond_all_belief_is_none() {
        let most = 100 * CHUNKS_PER_ASKED_TOKEN + SPARE_CHUNKS;
        let timed = |count| StreamEvent { timed_output_tokens: Some(count), ..finish() };
        for (event, expected) in [
            (with_usage(finish(), most), (most, TokenSource::Usage)),
            (with_usage(finish(), most + 1), (1, TokenSource::Chunks)),
            (timed(most), (most, TokenSource::ServerTimings)),
            (timed(most + 1), (1, TokenSource::Chunks)),
        ] {
            let tokens = answer(vec![text(1), event]).1;
            assert_eq!((tokens.output, tokens.source), expected);
        }
    }

    #[test]
    fn a_prompt_of_far_more_tokens_than_bytes_is_not_believed() {
        let most = 400 + SPARE_PROMPT_TOKENS;
        let told = |prompt, cached_prompt| {
            let usage = Some(Usage { prompt: Some(prompt), output: Some(1), cached_prompt: Some(cached_prompt) });
            let tokens = answer(vec![text(1), StreamEvent { usage, ..finish() }]).1;
            (tokens.prompt, tokens.cached_prompt)
        };
        assert_eq!(told(most, most), (Some(most), Some(most)));
        assert_eq!(told(most + 1, 7), (None, Some(7)));
        assert_eq!(told(7, most + 1), (Some(7), None));
    }

    #[test]
    fn what_was_told_once_is_kept() {
        let told = StreamEvent {
            usage: Some(Usage { prompt: Some(5), output: Some(2), cached_prompt: None }),
            timed_cached_tokens: Some(3),
            timings: ServerTimings {
                load: Some(Duration::from_secs(1)),
                prompt: Some(Duration::from_secs(2)),
                decode: Some(Duration::from_secs(3)),
            },
            done: true,
            ..finish()
        };
        let mut answer = Answer::new(100, 400);
        answer.take(told.clone(), Duration::ZERO);
        answer.take(StreamEvent::default(), Duration::ZERO);
        assert!(answer.is_over());
        answer.note_end();
        let (_, tokens, timings, failure) = answer.into_parts();
        assert_eq!((timings, failure), (told.timings, None));
        let expected = TokenCounts { output: 2, source: TokenSource::Usage, prompt: Some(5), cached_prompt: Some(3) };
        assert_eq!(tokens, expected);
    }

    #[test]
    fn an_answer_is_over_when_nothing_follows_or_it_failed() {
        let after = |event| {
            let mut answer = Answer::new(100, 400);
            answer.take(event, Duration::ZERO);
            (answer.is_over(), answer.has_failed())
        };
        assert_eq!(after(text(1)), (false, false));
        assert_eq!(after(finish()), (false, false), "counts may follow");
        assert_eq!(after(StreamEvent { done: true, ..StreamEvent::default() }), (true, false));
        assert_eq!(after(StreamEvent { error: Some("full".to_owned()), ..StreamEvent::default() }), (true, true));
    }
}
