//! The cold path: what a model costs that has to be loaded first.

/// What a request met that found the model not loaded. In none of the grid's figures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Canary {
    /// Loading the model, as the server tells it; of a server that this program started, from
    /// its start until it answered. Seconds.
    pub load_seconds: Option<f64>,
    /// From the send, or from the start of the server, to the first token. Seconds.
    pub time_to_first_token_seconds: f64,
}
