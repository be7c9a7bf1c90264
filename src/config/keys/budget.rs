//! What a target may send and get, and whether its grid can live with that.

use crate::domain::Cell;
use crate::domain::plan::{BudgetPlan, GridPlan, Prompts, RequestPlan};

use super::super::kind::whole;
use super::super::problem::Fault;
use super::super::section::Section;
use super::COUNT;

/// What a sample of a cell costs, warm-ups included.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bill {
    cell: Cell,
    requests: u64,
    /// Without the prompts that are the user's own: their tokens are not known.
    tokens: u64,
}

impl Bill {
    fn of(cell: Cell, request: &RequestPlan, warmup_requests: u32) -> Self {
        let batch = u64::from(cell.batch);
        let warmups = u64::from(cell.concurrency()) * u64::from(warmup_requests);
        let prompt_tokens = match request.prompts {
            Prompts::BuiltIn { tokens } => tokens,
            Prompts::Lines { .. } => 0,
        };
        let prompts = (batch + warmups) * u64::from(prompt_tokens);
        let answers = batch * u64::from(request.output_tokens) + warmups * u64::from(request.warmup_tokens());
        Self { cell, requests: batch + warmups, tokens: prompts + answers }
    }

    /// The bill of the cell that costs most; `None` for a grid that is known only once the
    /// server is.
    pub(super) fn of_largest_cell(grid: &GridPlan, request: &RequestPlan, warmup_requests: u32) -> Option<Self> {
        let GridPlan::Fixed(grid) = grid else { return None };
        // A grid is a product: one of its cells has the most of both axes, and of all.
        let bills = grid.measured().into_iter().map(|cell| Self::of(cell, request, warmup_requests));
        bills.max_by_key(|bill| bill.requests)
    }
}

/// The budget. One that the largest cell never fits into could never be measured whole.
pub(super) fn budget(s: &mut Section<'_>, largest: Option<Bill>) -> BudgetPlan {
    let requests = largest.map(|bill| (bill.cell, bill.requests));
    let tokens = largest.map(|bill| (bill.cell, bill.tokens));
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
