//! (placeholder of this branch)
use crate::domain::{Occupancy, RequestRecord};
#[derive(Clone, Debug)]
pub struct Poll { pub occupancy: Occupancy, pub own: u32 }
#[derive(Clone, Debug)]
pub struct Watched { pub before: Occupancy, pub polls: Vec<Poll>, pub after: Option<Occupancy> }
#[derive(Clone, Copy, Debug, Default)]
pub struct ForeignBounds {}
pub fn is_used_by_others(before: Option<&Occupancy>, now: &Occupancy) -> bool {
    now.requests.is_some_and(|n| n > 0) || before.is_some_and(|b| b.output_tokens != now.output_tokens)
}
pub fn is_shared(watched: &Watched, _records: &[RequestRecord], _model: &str, _bounds: &ForeignBounds) -> bool {
    watched.polls.iter().filter(|p| p.occupancy.requests.is_some_and(|n| n > p.own)).count() >= 2
}
