//! What a target may send and get, and whether its grid can live with that.

use crate::domain::plan::{BudgetPlan, GridPlan, RequestPlan};
use crate::domain::{Cell, Cost};

use super::super::kind::whole;
use super::super::problem::Fault;
use super::super::section::Section;
use super::COUNT;

/// The cell that costs most, and what it costs; `None` for a grid that is known only once the
/// server is.
pub(super) fn largest(grid: &GridPlan, request: &RequestPlan, warmup_requests: u32) -> Option<(Cell, Cost)> {
    let GridPlan::Fixed(grid) = grid else { return None };
    let cost = |cell| (cell, Cost::of_sample(cell, request, warmup_requests, request.prompt_tokens()));
    // A grid is a product: one of its cells has the most of both axes, and of all.
    grid.measured().into_iter().map(cost).max_by_key(|(_, cost)| cost.requests)
}

/// The budget. One that the largest cell never fits into could never be measured whole.
pub(super) fn budget(s: &mut Section<'_>, largest: Option<(Cell, Cost)>) -> BudgetPlan {
    let requests = largest.map(|(cell, cost)| (cell, cost.requests));
    let tokens = largest.map(|(cell, cost)| (cell, cost.tokens));
    BudgetPlan {
        requests_per_hour: limit(s, "requests_per_hour", requests, "requests"),
        requests_per_day: limit(s, "requests_per_day", requests, "requests"),
        tokens_per_hour: limit(s, "tokens_per_hour", tokens, "tokens"),
        tokens_per_day: limit(s, "tokens_per_day", tokens, "tokens"),
    }
}

fn limit(s: &mut Section<'_>, key: &'static str, needed: Option<(Cell, u64)>, unit: &str) -> Option<u64> {
    let limit = s.take(key, whole(COUNT))?;
    if let Some((cell, needed)) = needed.filter(|&(_, needed)| needed > limit) {
        let fault = format!("never fits a sample of the cell {cell}, which takes {needed} {unit} with its warm-ups");
        s.complain(key, Fault::new(fault).hint(format!("allow {needed}, or take that cell out of the grid")));
    }
    Some(limit)
}
