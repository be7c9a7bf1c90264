//! What a server tells of the requests that it works on, whoever sent them.

use std::collections::BTreeMap;

/// When a server is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Before or after a sample: all that it tells is wanted.
    Around,
    /// Again and again, in a sample or while others work: it must not disturb those who look too.
    During,
}

/// One look at a server. What it does not tell is `None` or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Occupancy {
    /// Requests that it works on or that wait in it, this program's own included.
    pub requests: Option<u32>,
    /// Output tokens of all requests since it started.
    pub output_tokens: Option<TokenCounter>,
    /// For each loaded model a word that changes whenever a use of the model ends.
    pub uses: BTreeMap<String, String>,
}

/// A count of tokens that only grows while the server lives, and how well it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenCounter {
    pub total: u64,
    /// The true total is at most so many tokens away; 0 where it is told exactly.
    pub uncertainty: u64,
    /// Whether each token is counted as it comes. Elsewhere a request's tokens are counted
    /// when it ends.
    pub is_live: bool,
}
