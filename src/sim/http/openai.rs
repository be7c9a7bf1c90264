//! `/v1/completions` and `/v1/chat/completions` as llama.cpp, vLLM and bare servers have
//! them: requests in, server-sent events out.

use std::fmt::Write;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::post;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::answer::{Finish, Tally};
use super::super::profile::ModelCard;
use super::super::server::{Answer, Chunk, GenerateSpec};
use super::stream::{Headers, Render, collect, respond};
use super::{Desk, SimApi, error, refused};

/// The fields of OpenAI's own API; a bare server knows no others.
const KNOWN_FIELDS: [&str; 19] = [
    "best_of",
    "echo",
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "model",
    "n",
    "presence_penalty",
    "prompt",
    "seed",
    "stop",
    "stream",
    "stream_options",
    "temperature",
    "top_p",
    "user",
];
/// What a completion is long where nothing is asked, in OpenAI's API and in vLLM's.
const DEFAULT_COMPLETION_TOKENS: i64 = 16;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Ask {
    model: Option<String>,
    prompt: Option<String>,
    messages: Vec<Message>,
    max_tokens: Option<i64>,
    max_completion_tokens: Option<i64>,
    n_predict: Option<i64>,
    min_tokens: u32,
    ignore_eos: bool,
    seed: Option<i64>,
    stream: bool,
    stream_options: StreamOptions,
    cache_prompt: Option<bool>,
    cache_salt: String,
    timings_per_token: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct Message {
    role: String,
    content: String,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct StreamOptions {
    include_usage: bool,
    continuous_usage_stats: bool,
}

pub(super) fn routes() -> Router<Desk> {
    Router::new()
        .route("/v1/completions", post(|State(desk): State<Desk>, body: Bytes| generate(desk, body, false)))
        .route("/v1/chat/completions", post(|State(desk): State<Desk>, body: Bytes| generate(desk, body, true)))
}

async fn generate(desk: Desk, body: Bytes, chat: bool) -> Response {
    let bad_request = |message: &str| error(desk.api, StatusCode::BAD_REQUEST, "invalid_request_error", message);
    let ask = match parse(desk.api, &body) {
        Ok(ask) => ask,
        Err(message) => return bad_request(&message),
    };
    let card = desk.server.card();
    // llama.cpp with one model answers with it, whatever is asked for.
    if desk.api != SimApi::LlamaCpp && ask.model.as_ref().is_some_and(|model| *model != card.name) {
        let message = format!("The model `{}` does not exist.", ask.model.unwrap_or_default());
        return error(desk.api, StatusCode::NOT_FOUND, "NotFoundError", &message);
    }
    let Some(prompt) = (if chat { chat_prompt(&ask.messages) } else { ask.prompt.clone() }) else {
        return bad_request(if chat { "messages: must not be empty" } else { "prompt: is missing" });
    };
    let answer = match desk.server.generate(&spec(desk.api, &ask, chat, prompt)) {
        Ok(answer) => answer,
        Err(refusal) => return refused(desk.api, refusal),
    };
    let frames = Frames::new(desk.api, chat, &ask, &card, answer.number);
    if ask.stream {
        let headers = if desk.api == SimApi::LlamaCpp { Headers::WithTheFirstToken } else { Headers::AtOnce };
        return respond(answer, headers, "text/event-stream", frames).await;
    }
    whole(&desk, answer, &frames, &card).await
}

/// The request's fields, or what is wrong with them.
fn parse(api: SimApi, body: &[u8]) -> Result<Ask, String> {
    let fields: Map<String, Value> = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    if api == SimApi::OpenAi {
        if let Some(unknown) = fields.keys().find(|key| !KNOWN_FIELDS.contains(&key.as_str())) {
            return Err(format!("Unrecognized request argument supplied: {unknown}"));
        }
        if fields.get("stream_options").is_some_and(|options| options.get("continuous_usage_stats").is_some()) {
            return Err("Unrecognized request argument supplied: stream_options.continuous_usage_stats".to_owned());
        }
    }
    if fields.contains_key("stream_options") && fields.get("stream") != Some(&Value::Bool(true)) {
        return Err("stream_options: only allowed when stream is true".to_owned());
    }
    serde_json::from_value(Value::Object(fields)).map_err(|error| error.to_string())
}

/// The messages within a chat template; `None` without any.
pub(super) fn chat_prompt(messages: &[Message]) -> Option<String> {
    let turns = messages
        .iter()
        .map(|Message { role, content }| format!("<start_of_turn>{role}\n{content}<end_of_turn>\n"))
        .collect::<String>();
    (!turns.is_empty()).then(|| turns + "<start_of_turn>model\n")
}

fn spec(api: SimApi, ask: &Ask, chat: bool, prompt: String) -> GenerateSpec {
    let llama_cpp = api == SimApi::LlamaCpp;
    let asked = ask.n_predict.filter(|_| llama_cpp).or(ask.max_completion_tokens).or(ask.max_tokens);
    let default = (!chat && !llama_cpp).then_some(DEFAULT_COMPLETION_TOKENS);
    GenerateSpec {
        prompt,
        output_tokens: token_limit(asked.or(default)),
        ignore_eos: ask.ignore_eos,
        min_tokens: if llama_cpp { 0 } else { ask.min_tokens },
        cache_prompt: !(llama_cpp && ask.cache_prompt == Some(false)),
        cache_salt: if llama_cpp { String::new() } else { ask.cache_salt.clone() },
        seed: seed(ask.seed),
        cold_load: None,
    }
}

/// A limit as it is sent: what is negative is none.
pub(super) fn token_limit(asked: Option<i64>) -> Option<u32> {
    asked.filter(|&tokens| tokens >= 0).map(|tokens| u32::try_from(tokens).unwrap_or(u32::MAX))
}

/// A seed as it is sent: what is negative asks for chance.
pub(super) fn seed(asked: Option<i64>) -> Option<u64> {
    asked.and_then(|seed| u64::try_from(seed).ok())
}

/// The answer to a request that asked for no stream.
async fn whole(desk: &Desk, answer: Answer, frames: &Frames, card: &ModelCard) -> Response {
    let number = answer.number;
    let Some((text, last)) = collect(answer).await else {
        return error(desk.api, StatusCode::INTERNAL_SERVER_ERROR, "server_error", "the answer was cut short");
    };
    let tally = last.tally;
    let finish_reason = last.finish.map(Finish::as_str);
    let (object, choice) = if frames.chat {
        let message = json!({ "role": "assistant", "content": text });
        ("chat.completion", json!({ "index": 0, "message": message, "finish_reason": finish_reason }))
    } else {
        let choice = json!({ "index": 0, "text": text, "logprobs": null, "finish_reason": finish_reason });
        ("text_completion", choice)
    };
    super::json(&json!({
        "id": format!("cmpl-{number}"), "object": object, "created": 1, "model": card.name, "choices": [choice],
        "usage": {
            "prompt_tokens": tally.prompt_tokens,
            "completion_tokens": tally.output_tokens,
            "total_tokens": tally.prompt_tokens + tally.output_tokens,
            "prompt_tokens_details": { "cached_tokens": tally.cached_tokens },
        },
    }))
}

/// What the one choice of an event says.
#[derive(Clone, Copy)]
enum Choice<'a> {
    /// Who speaks; before the first text of a chat.
    Role,
    Text(&'a str, Option<Finish>),
    End(Finish),
    /// `choices` is empty.
    Absent,
}

/// What an event says beside its choice.
#[derive(Clone, Copy, Default)]
struct Extras<'a> {
    usage: Option<&'a Tally>,
    timings: Option<&'a Tally>,
}

/// Renders server-sent events. What does not change in a stream is rendered once.
struct Frames {
    api: SimApi,
    chat: bool,
    include_usage: bool,
    usage_in_each: bool,
    timings_in_each: bool,
    /// From `data:` to the choice, and from the choice to what is extra.
    before_choice: String,
    after_choice: String,
    role_sent: bool,
}

impl Frames {
    fn new(api: SimApi, chat: bool, ask: &Ask, card: &ModelCard, number: u64) -> Self {
        let object = if chat { "chat.completion.chunk" } else { "text_completion" };
        let prefix = if chat || api == SimApi::LlamaCpp { "chatcmpl" } else { "cmpl" };
        // Names and versions may hold what JSON has to escape.
        let (model, version) = (Value::from(card.name.as_str()), Value::from(card.version.as_str()));
        let fingerprint =
            if api == SimApi::LlamaCpp { format!(r#""system_fingerprint":{version},"#) } else { String::new() };
        let members =
            format!(r#""created":1,"model":{model},{fingerprint}"object":"{object}","id":"{prefix}-{number}""#);
        let (before_choice, after_choice) = match api {
            SimApi::LlamaCpp => (r#"data: {"choices":["#.to_owned(), format!("],{members}")),
            _ => (format!(r#"data: {{{members},"choices":["#), "]".to_owned()),
        };
        Self {
            api,
            chat,
            include_usage: ask.stream_options.include_usage,
            usage_in_each: api == SimApi::Vllm && ask.stream_options.continuous_usage_stats,
            timings_in_each: api == SimApi::LlamaCpp && ask.timings_per_token,
            before_choice,
            after_choice,
            role_sent: !chat,
        }
    }

    fn event(&self, out: &mut String, choice: Choice<'_>, extras: Extras<'_>) {
        out.push_str(&self.before_choice);
        self.choice(out, choice);
        out.push_str(&self.after_choice);
        match extras.usage {
            Some(tally) => usage(out, tally),
            None if self.include_usage && self.api == SimApi::OpenAi => out.push_str(r#","usage":null"#),
            None => {}
        }
        if let Some(tally) = extras.timings {
            timings(out, tally);
        }
        out.push_str("}\n\n");
    }

    fn choice(&self, out: &mut String, choice: Choice<'_>) {
        // The words of an answer need no escaping.
        let (text, finish) = match choice {
            Choice::Absent => return,
            Choice::Role => {
                let content = if self.api == SimApi::LlamaCpp { "null" } else { r#""""# };
                out.push_str(r#"{"index":0,"delta":{"role":"assistant","content":"#);
                out.push_str(content);
                out.push_str(r#"},"finish_reason":null}"#);
                return;
            }
            Choice::Text(text, finish) => (Some(text), finish),
            Choice::End(finish) => (None, Some(finish)),
        };
        match (self.chat, text) {
            (true, Some(text)) => {
                out.push_str(r#"{"index":0,"delta":{"content":""#);
                out.push_str(text);
                out.push_str(r#""},"finish_reason":"#);
            }
            (true, None) => out.push_str(r#"{"index":0,"delta":{},"finish_reason":"#),
            (false, text) => {
                out.push_str(r#"{"text":""#);
                out.push_str(text.unwrap_or_default());
                out.push_str(r#"","index":0,"logprobs":null,"finish_reason":"#);
            }
        }
        match finish {
            Some(finish) => {
                out.push('"');
                out.push_str(finish.as_str());
                out.push_str("\"}");
            }
            None => out.push_str("null}"),
        }
    }

    /// The end of a stream, in the order in which the server tells it.
    fn end(&self, out: &mut String, finish: Finish, tally: &Tally) {
        let usage = Some(tally).filter(|_| self.include_usage);
        let timings = Some(tally).filter(|_| self.api == SimApi::LlamaCpp);
        match self.api {
            SimApi::LlamaCpp if !self.chat => {
                self.event(out, Choice::End(finish), Extras { usage: Some(tally), timings });
            }
            SimApi::LlamaCpp if !self.include_usage => {
                self.event(out, Choice::End(finish), Extras { usage: None, timings });
            }
            // It came with the last text.
            SimApi::Vllm => {}
            _ => self.event(out, Choice::End(finish), Extras::default()),
        }
        if usage.is_some() && (self.chat || self.api != SimApi::LlamaCpp) {
            self.event(out, Choice::Absent, Extras { usage, timings });
        }
        out.push_str("data: [DONE]\n\n");
    }
}

impl Render for Frames {
    fn chunk(&mut self, chunk: &Chunk, out: &mut String) {
        let tally = &chunk.tally;
        if !self.role_sent {
            self.role_sent = true;
            let nothing_yet = Tally { output_tokens: 0, ..*tally };
            let usage = Some(&nothing_yet).filter(|_| self.usage_in_each);
            self.event(out, Choice::Role, Extras { usage, timings: None });
        }
        let extras = Extras {
            usage: Some(tally).filter(|_| self.usage_in_each),
            timings: Some(tally).filter(|_| self.timings_in_each),
        };
        let finish = chunk.finish.filter(|_| self.api == SimApi::Vllm);
        self.event(out, Choice::Text(&chunk.text, finish), extras);
        if let Some(finish) = chunk.finish {
            self.end(out, finish, tally);
        }
    }
}

fn usage(out: &mut String, tally: &Tally) {
    let Tally { prompt_tokens, cached_tokens, output_tokens, .. } = *tally;
    let total = prompt_tokens + output_tokens;
    // Writing to a string cannot fail.
    let _ = write!(
        out,
        r#","usage":{{"completion_tokens":{output_tokens},"prompt_tokens":{prompt_tokens},"total_tokens":{total},"prompt_tokens_details":{{"cached_tokens":{cached_tokens}}}}}"#
    );
}

/// llama.cpp's own counts and times, milliseconds.
fn timings(out: &mut String, tally: &Tally) {
    let _ = write!(out, r#","timings":{{"cache_n":{},"#, tally.cached_tokens);
    for (name, tokens, took) in
        [("prompt", tally.processed_tokens(), tally.prompt), ("predicted", tally.output_tokens, tally.decode)]
    {
        let milliseconds = took.as_secs_f64() * 1e3;
        let comma = if name == "prompt" { "," } else { "" };
        let _ = write!(
            out,
            r#""{name}_n":{tokens},"{name}_ms":{milliseconds:.3},"{name}_per_token_ms":{},"{name}_per_second":{}{comma}"#,
            number(milliseconds / f64::from(tokens)),
            number(f64::from(tokens) / took.as_secs_f64()),
        );
    }
    out.push('}');
}

/// A ratio in JSON, which has no word for a division by zero.
fn number(ratio: f64) -> String {
    if ratio.is_finite() { format!("{ratio:.3}") } else { "null".to_owned() }
}
