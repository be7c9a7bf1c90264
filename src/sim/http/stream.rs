//! From the events of an answer to the bytes of a response body. Knows no wire format:
//! a [`Render`] does.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http_body::Frame;

use super::super::server::{Answer, Chunk, SimEvent};
use super::typed;

/// Writes a chunk as a server would; all that follows the last one belongs to it.
pub(super) trait Render: Send + Unpin + 'static {
    fn chunk(&mut self, chunk: &Chunk, out: &mut String);
}

/// When a server sends the head of a streamed response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Headers {
    AtOnce,
    /// A queue before the first token is a silent one.
    WithTheFirstToken,
}

/// Answers with a stream.
pub(super) async fn respond<R: Render>(
    mut answer: Answer,
    headers: Headers,
    content_type: &'static str,
    render: R,
) -> Response {
    let first = match headers {
        Headers::AtOnce => None,
        Headers::WithTheFirstToken => answer.next().await,
    };
    typed(content_type, Body::new(EventBody { answer, first, render, ending: Ending::Open }))
}

/// The whole answer's text and its last chunk; `None` where it was cut short.
pub(super) async fn collect(mut answer: Answer) -> Option<(String, Chunk)> {
    let mut text = String::new();
    while let Some(SimEvent::Chunk(chunk)) = answer.next().await {
        text.push_str(&chunk.text);
        if chunk.finish.is_some() {
            return Some((text, chunk));
        }
    }
    None
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Open,
    /// The connection is yet to break.
    Broken,
    Ended,
}

struct EventBody<R> {
    answer: Answer,
    /// An event that was awaited before the headers.
    first: Option<SimEvent>,
    render: R,
    ending: Ending,
}

impl<R: Render> EventBody<R> {
    /// Renders all that is there: tokens that are due together share a write.
    fn render_ready(&mut self, context: &mut Context<'_>) -> String {
        let mut out = String::new();
        while self.ending == Ending::Open {
            let event =
                self.first.take().map_or_else(|| self.answer.poll_next(context), |event| Poll::Ready(Some(event)));
            match event {
                Poll::Pending => break,
                Poll::Ready(Some(SimEvent::Chunk(chunk))) => {
                    self.render.chunk(&chunk, &mut out);
                    if chunk.finish.is_some() {
                        self.ending = Ending::Ended;
                    }
                }
                Poll::Ready(Some(SimEvent::Reset)) => self.ending = Ending::Broken,
                Poll::Ready(None) => self.ending = Ending::Ended,
            }
        }
        out
    }
}

impl<R: Render> http_body::Body for EventBody<R> {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = self.get_mut();
        let out = this.render_ready(context);
        if !out.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(Bytes::from(out)))));
        }
        match this.ending {
            Ending::Open => Poll::Pending,
            Ending::Broken => {
                this.ending = Ending::Ended;
                Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into())))
            }
            Ending::Ended => Poll::Ready(None),
        }
    }
}
