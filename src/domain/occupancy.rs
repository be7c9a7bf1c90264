//! What a server tells of the requests that it works on, whoever sent them.

use std::collections::BTreeMap;

/// One look at a server. What it does not tell is `None` or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Occupancy {
    /// Requests that it works on or that wait in it, this program's own included.
    pub requests: Option<u32>,
    /// Output tokens of all requests since it started; some servers count them when a
    /// request ends, others as they come.
    pub output_tokens: Option<u64>,
    /// A word for each loaded model that changes whenever the model is used.
    pub uses: BTreeMap<String, String>,
}
