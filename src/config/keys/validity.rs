//! The bounds beyond which a sample enters no estimate.

use crate::domain::plan::ValidityPlan;

use super::super::kind::{duration, number, share, whole};
use super::super::section::Section;
use super::{CLIENT_CPU, LOAD_RATIO, POLLS_IN_EXCESS, RATIO, TIMEOUT, TIMER_LAG, TOKENS};

pub(super) fn validity(s: &mut Section<'_>) -> ValidityPlan {
    let default = ValidityPlan::default();
    ValidityPlan {
        timer_lag: s.take_or("timer_lag", default.timer_lag, duration(TIMER_LAG)),
        timer_lag_ratio: s.take_or("timer_lag_ratio", default.timer_lag_ratio, share(RATIO)),
        client_cpu_ratio: s.take_or("client_cpu", default.client_cpu_ratio, share(CLIENT_CPU)),
        cached_prompt_tokens: s.take_or("cached_prompt_tokens", default.cached_prompt_tokens, whole(TOKENS)),
        cached_prompt_ratio: s.take_or("cached_prompt_ratio", default.cached_prompt_ratio, share(RATIO)),
        load_time: s.take_or("load_time", default.load_time, duration(TIMEOUT)),
        load_time_of_median: s.take_or("load_ratio", default.load_time_of_median, number(LOAD_RATIO)),
        failed_requests_ratio: s.take_or("failed_requests", default.failed_requests_ratio, share(RATIO)),
        polls_in_excess: s.take_or("polls_in_excess", default.polls_in_excess, whole(POLLS_IN_EXCESS)),
        foreign_tokens: s.take_or("foreign_tokens", default.foreign_tokens, whole(TOKENS)),
        foreign_tokens_ratio: s.take_or("foreign_tokens_ratio", default.foreign_tokens_ratio, share(RATIO)),
        output_length_ratio: s.take_or("output_length", default.output_length_ratio, share(RATIO)),
    }
}
