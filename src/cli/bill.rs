//! What a cycle of a target sends, asks for and takes.
//!
//! Pure arithmetic. Times are those of a plain queue: a batch is worked on in waves of as
//! many requests as run at once, each as long as one request alone. Streams that run side
//! by side slow each other down, so a cycle takes longer than is said here.

use std::time::Duration;

use crate::domain::plan::{BudgetPlan, Prompts, RequestPlan, SchedulePlan};
use crate::domain::{Cell, Grid};

const DAY: Duration = Duration::from_secs(86_400);

/// What one cycle sends and asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bill {
    pub(super) cells: u64,
    /// Those of them that are no copies.
    pub(super) measured: u64,
    pub(super) samples: u64,
    pub(super) requests: u64,
    /// All requests but those of samples.
    pub(super) warmups: u64,
    /// Of the requests; `None` where the length of a prompt is not known.
    pub(super) prompt_tokens: Option<u64>,
    pub(super) output_tokens: u64,
    pub(super) warmup_prompt_tokens: Option<u64>,
    /// At most.
    pub(super) warmup_output_tokens: u64,
}

/// How fast a request is answered that has the server to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pace {
    pub(super) first_token: Duration,
    pub(super) step: Duration,
}

impl Pace {
    /// From the send to the last token.
    fn answer(self, tokens: u32) -> Duration {
        self.first_token.saturating_add(self.step.saturating_mul(tokens.saturating_sub(1)))
    }
}

impl Bill {
    /// The bill of a cycle of these samples. `introductions` are the first requests after a switch, as long as
    /// warm-ups. `prompt_tokens` is the length of a prompt as the server counted it; without
    /// it the plan's word counts, if it has one.
    pub(super) fn of(
        grid: &Grid,
        samples: &[Cell],
        plan: &RequestPlan,
        schedule: &SchedulePlan,
        introductions: u64,
        prompt_tokens: Option<u64>,
    ) -> Self {
        let requests: u64 = samples.iter().map(|cell| u64::from(cell.batch)).sum();
        let before_samples: u64 = samples.iter().map(|&cell| u64::from(cell.warmups(schedule.warmup_requests))).sum();
        let warmups = before_samples + introductions;
        let planned = match plan.prompts {
            Prompts::BuiltIn { tokens } => Some(u64::from(tokens)),
            Prompts::Lines { .. } => None,
        };
        let prompt = prompt_tokens.or(planned);
        Self {
            cells: grid.cells().count() as u64,
            measured: grid.measured().len() as u64,
            samples: samples.len() as u64,
            requests,
            warmups,
            prompt_tokens: prompt.map(|tokens| tokens.saturating_mul(requests)),
            output_tokens: u64::from(plan.output_tokens).saturating_mul(requests),
            warmup_prompt_tokens: prompt.map(|tokens| tokens.saturating_mul(warmups)),
            warmup_output_tokens: u64::from(plan.warmup_tokens()).saturating_mul(warmups),
        }
    }

    /// All tokens, warm-ups included, as far as they are known.
    fn tokens(&self) -> u64 {
        let known = [self.prompt_tokens, self.warmup_prompt_tokens].into_iter().flatten();
        known.fold(self.output_tokens.saturating_add(self.warmup_output_tokens), u64::saturating_add)
    }

    /// The cycles for which a budget has room, each day; `None` without a limit.
    pub(super) fn cycles_a_day(&self, budget: &BudgetPlan) -> Option<f64> {
        let requests = self.requests + self.warmups;
        let limits = [
            (budget.requests_per_hour, 24.0, requests),
            (budget.requests_per_day, 1.0, requests),
            (budget.tokens_per_hour, 24.0, self.tokens()),
            (budget.tokens_per_day, 1.0, self.tokens()),
        ];
        let cycles = limits.into_iter().filter_map(|(limit, times, taken)| Some(ratio(limit?, taken) * times));
        cycles.min_by(f64::total_cmp)
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of requests and tokens, shown with two digits")]
fn ratio(limit: u64, taken: u64) -> f64 {
    limit as f64 / taken.max(1) as f64
}

/// The rests of a cycle.
pub(super) fn pauses(samples: &[Cell], schedule: &SchedulePlan) -> Duration {
    let samples = u32::try_from(samples.len()).unwrap_or(u32::MAX);
    schedule.pause_between_samples.saturating_mul(samples)
}

/// The least time from the start of a cycle to the start of the next. A server that does not
/// tell its `slots` counts as if no request had to wait for one.
pub(super) fn cycle_time(
    samples: &[Cell],
    slots: Option<u32>,
    plan: &RequestPlan,
    schedule: &SchedulePlan,
    pace: Pace,
) -> Duration {
    let busy: Duration = samples
        .iter()
        .map(|cell| {
            let at_once = cell.concurrency().min(slots.unwrap_or(u32::MAX)).max(1);
            let batch = pace.answer(plan.output_tokens).saturating_mul(cell.batch.div_ceil(at_once));
            let warmup = pace
                .answer(plan.warmup_tokens())
                .saturating_mul(cell.warmups(schedule.warmup_requests).div_ceil(at_once));
            batch.saturating_add(warmup)
        })
        .fold(Duration::ZERO, Duration::saturating_add);
    let rested = busy.saturating_add(pauses(samples, schedule));
    let at_duty = Duration::try_from_secs_f64(busy.as_secs_f64() / schedule.max_duty).unwrap_or(Duration::MAX);
    rested.max(at_duty).max(schedule.cycle_interval)
}

/// The time between two cycles for which a budget has room.
pub(super) fn budgeted_time(cycles_a_day: f64) -> Duration {
    Duration::try_from_secs_f64(DAY.as_secs_f64() / cycles_a_day).unwrap_or(Duration::MAX)
}

/// A duration as one says it.
pub(super) fn rough(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    let (value, unit) = match seconds {
        ..90.0 => (seconds, "s"),
        ..5_400.0 => (seconds / 60.0, "min"),
        ..172_800.0 => (seconds / 3_600.0, "h"),
        _ => (seconds / DAY.as_secs_f64(), "days"),
    };
    format!("{} {unit}", two_digits(value))
}

/// A number with a decimal where it is small.
pub(super) fn two_digits(value: f64) -> String {
    let decimals = if value < 0.995 { 2 } else { usize::from(value < 9.95) };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule() -> SchedulePlan {
        SchedulePlan { pause_between_samples: Duration::from_secs(1), ..SchedulePlan::with_seed(0) }
    }

    fn plan(output_tokens: u32) -> RequestPlan {
        RequestPlan { output_tokens, ..RequestPlan::default() }
    }

    fn grid(workers: &[u32], batch: &[u32]) -> Grid {
        Grid::new(workers, batch, true).expect("axes are sound")
    }

    /// The bill of every cell once.
    fn bill(grid: &Grid, plan: &RequestPlan, introductions: u64, prompt_tokens: Option<u64>) -> Bill {
        Bill::of(grid, &grid.measured(), plan, &schedule(), introductions, prompt_tokens)
    }

    #[test]
    fn a_bill_counts_measured_cells_and_warm_ups_apart() {
        // Measured are 1×1, 1×4, 2×4 and 2×1 is a copy of 1×1.
        let small = grid(&[1, 2], &[1, 4]);
        let expected = Bill {
            cells: 4,
            measured: 3,
            samples: 3,
            requests: 9,
            warmups: 4,
            prompt_tokens: Some(9 * 64),
            output_tokens: 9 * 200,
            warmup_prompt_tokens: Some(4 * 64),
            warmup_output_tokens: 4 * 16,
        };
        assert_eq!(bill(&small, &plan(200), 0, None), expected);
        let short = bill(&small, &plan(8), 0, Some(70));
        assert_eq!((short.warmup_output_tokens, short.prompt_tokens), (4 * 8, Some(9 * 70)));
        let switched = bill(&small, &plan(200), 2, None);
        assert_eq!((switched.requests, switched.warmups, switched.warmup_output_tokens), (9, 6, 6 * 16));
    }

    #[test]
    fn prompts_of_ones_own_are_counted_once_the_server_did() {
        let lines = Prompts::Lines { lines: vec!["a".to_owned()], digest: String::new() };
        let plan = RequestPlan { prompts: lines, ..plan(10) };
        let bill = |told| bill(&grid(&[1], &[2]), &plan, 0, told);
        assert_eq!((bill(None).prompt_tokens, bill(None).tokens()), (None, 30));
        assert_eq!((bill(Some(5)).prompt_tokens, bill(Some(5)).tokens()), (Some(10), 45));
    }

    /// The seconds of a cycle of one cell at 1 s to the first token and 1 s for each other.
    fn check_time(cell: (u32, u32), slots: Option<u32>, schedule: &SchedulePlan, expected: f64) {
        let pace = Pace { first_token: Duration::from_secs(1), step: Duration::from_secs(1) };
        let time = cycle_time(&[Cell::new(cell.0, cell.1)], slots, &plan(20), schedule, pace);
        assert_eq!(time.as_secs_f64(), expected, "{cell:?} {slots:?}");
    }

    #[test]
    fn a_batch_takes_its_waves() {
        let bare = SchedulePlan { warmup_requests: 0, pause_between_samples: Duration::ZERO, ..schedule() };
        check_time((1, 1), None, &bare, 20.0);
        check_time((2, 5), None, &bare, 60.0);
        check_time((8, 5), None, &bare, 20.0);
        check_time((8, 5), Some(2), &bare, 60.0);
        check_time((2, 5), Some(8), &bare, 60.0);
    }

    #[test]
    fn warm_ups_rests_duty_and_the_interval_count() {
        // Two warm-ups at once: one wave of 16 tokens.
        check_time((2, 2), None, &schedule(), 20.0 + 16.0 + 1.0);
        // On one slot they queue.
        check_time((2, 2), Some(1), &schedule(), 40.0 + 32.0 + 1.0);
        check_time((2, 2), None, &SchedulePlan { max_duty: 0.5, ..schedule() }, 72.0);
        check_time((2, 2), None, &SchedulePlan { max_duty: 0.99, ..schedule() }, 37.0);
        check_time((2, 2), None, &SchedulePlan { cycle_interval: DAY, ..schedule() }, 86_400.0);
    }

    #[test]
    fn the_tightest_limit_of_a_budget_says_how_many_cycles() {
        let bill = bill(&grid(&[1], &[9]), &plan(20), 0, Some(10));
        // 10 requests, warm-up included; 100 tokens of prompts, 196 of answers.
        assert_eq!((bill.requests + bill.warmups, bill.tokens()), (10, 296));
        let check = |budget: BudgetPlan, expected: Option<f64>| assert_eq!(bill.cycles_a_day(&budget), expected);
        check(BudgetPlan::default(), None);
        check(BudgetPlan { requests_per_day: Some(25), ..BudgetPlan::default() }, Some(2.5));
        check(BudgetPlan { requests_per_hour: Some(25), ..BudgetPlan::default() }, Some(60.0));
        let both = BudgetPlan { tokens_per_hour: Some(37), tokens_per_day: Some(592), ..BudgetPlan::default() };
        check(both, Some(2.0));
        assert_eq!(budgeted_time(2.0), Duration::from_secs(43_200));
        assert_eq!(budgeted_time(0.0), Duration::MAX);
    }

    #[test]
    fn durations_are_said_as_people_say_them() {
        for (seconds, expected) in [
            (0.04, "0.04 s"),
            (3.12, "3.1 s"),
            (42.0, "42 s"),
            (720.0, "12 min"),
            (12_600.0, "3.5 h"),
            (180_000.0, "2.1 days"),
        ] {
            assert_eq!(rough(Duration::from_secs_f64(seconds)), expected);
        }
    }
}
