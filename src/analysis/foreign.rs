//! Whether others use the server: before a sample, and while one ran.
//!
//! Servers do not say whose requests they work on, so all here is a comparison with what
//! this program itself had in the server. In doubt nobody was there: a server whose
//! bookkeeping is slow must not cost sound samples. A server that does not tell is taken
//! to work for this program alone.

use crate::domain::plan::ValidityPlan;
use crate::domain::{Occupancy, RequestRecord};

/// Tokens of others that disturb nobody: health checks generate one or two.
const SPARE_TOKENS: u64 = 8;

/// A look at the server while a sample ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Poll {
    pub occupancy: Occupancy,
    /// The most requests of this program that can have been in the server from just before
    /// it was asked until it answered. Those that had ended a moment before count, for some
    /// servers let go of a request a step after its last token.
    pub own: u32,
}

/// What the looks at the server around one sample come to. Between the first and the last, this
/// program sent the requests of the sample and no others.
///
/// The looks themselves are not kept: a sample may take hours, and it is the server that says how
/// large one is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    model: String,
    before: Occupancy,
    /// The last one while the sample ran, or `before`.
    last: Occupancy,
    /// How many of them showed more requests than our own.
    beyond: usize,
    /// Whether another model was used between two of them.
    is_used: bool,
    after: Option<Occupancy>,
}

/// Whether others use the server now, or used it since `before`.
///
/// For a moment in which nothing of this program is in flight; `before` is an earlier look
/// of such a moment, with nothing sent in between and some tenths of a second ago at least.
/// Without one, only requests count.
pub fn is_used_by_others(before: Option<&Occupancy>, now: &Occupancy) -> bool {
    let is_busy = now.requests.is_some_and(|requests| requests > 0);
    let Some(before) = before else { return is_busy };
    is_busy && !is_stale(before, now)
        || growth(before, now).is_some_and(|tokens| tokens > SPARE_TOKENS)
        || is_used(before, now, None)
}

impl Watched {
    /// Begins with the look before a sample of that model.
    pub fn new(before: Occupancy, model: &str) -> Self {
        Self { model: model.to_owned(), last: before.clone(), before, beyond: 0, is_used: false, after: None }
    }

    /// Notes a look while the sample runs.
    pub fn note(&mut self, Poll { occupancy, own }: Poll) {
        self.beyond += usize::from(is_beyond(&self.last, &occupancy, own));
        self.is_used |= is_used(&self.last, &occupancy, Some(&self.model));
        self.last = occupancy;
    }

    /// Ends with the look afterwards, with nothing of this program left in the server; `None` where
    /// there was none.
    pub fn end(&mut self, after: Option<Occupancy>) {
        self.after = after;
    }

    /// Whether others used the server while the sample ran: more requests than our own in enough
    /// looks, any at all once nothing of ours was left, more tokens than our own, or another
    /// model in use.
    ///
    /// Looks during the sample may not see a queue, and a guest who waits in it counts no token
    /// yet; but the guest is there when the sample is over.
    pub fn is_shared(&self, records: &[RequestRecord], bounds: &ValidityPlan) -> bool {
        let is_disturbed = |after: &Occupancy| {
            is_beyond(&self.last, after, 0)
                || has_foreign_tokens(&self.before, after, records, bounds)
                || is_used(&self.last, after, Some(&self.model))
        };
        self.beyond >= bounds.polls_in_excess as usize || self.is_used || self.after.as_ref().is_some_and(is_disturbed)
    }

    /// Whether the server became another process meanwhile.
    pub fn began_anew(&self) -> bool {
        self.after.as_ref().is_some_and(|after| began_anew(&self.before, after))
    }
}

/// Whether a look shows more requests than `own`, and not old ones.
fn is_beyond(last: &Occupancy, now: &Occupancy, own: u32) -> bool {
    now.requests.is_some_and(|requests| requests > own) && !is_stale(last, now)
}

/// Whether the number of requests is an old one. vLLM refreshes it with each step alone, so
/// that it stands still, maybe for hours, once all requests were given up. Where tokens are
/// counted as they come, requests that bring none from one look to the next are such a
/// leftover; or a prompt so long that the looks during the sample will show it.
fn is_stale(last: &Occupancy, now: &Occupancy) -> bool {
    now.output_tokens.is_some_and(|counter| counter.is_live)
        && (last.requests, last.output_tokens) == (now.requests, now.output_tokens)
}

/// Whether the server's count of tokens fell: it is that of another process.
pub fn began_anew(before: &Occupancy, now: &Occupancy) -> bool {
    let counters = before.output_tokens.zip(now.output_tokens);
    counters.is_some_and(|(before, now)| {
        now.total.saturating_add(now.uncertainty) < before.total.saturating_sub(before.uncertainty)
    })
}

/// By how many tokens the server's count has grown at least. A count that fell is that of
/// another process and says nothing.
fn growth(before: &Occupancy, now: &Occupancy) -> Option<u64> {
    let (before, now) = (before.output_tokens?, now.output_tokens?);
    let grown = now.total.checked_sub(before.total)?;
    Some(grown.saturating_sub(before.uncertainty).saturating_sub(now.uncertainty))
}

fn has_foreign_tokens(before: &Occupancy, after: &Occupancy, records: &[RequestRecord], bounds: &ValidityPlan) -> bool {
    let own: u64 = records.iter().map(RequestRecord::output_tokens_at_most).sum();
    let Some(foreign) = growth(before, after).map(|tokens| tokens.saturating_sub(own)) else { return false };
    foreign > bounds.foreign_tokens && foreign as f64 > bounds.foreign_tokens_ratio * own as f64
}

/// Whether a use of a model that is not `own` ended, or one was loaded. A model that is gone
/// was unloaded: no use.
fn is_used(before: &Occupancy, now: &Occupancy, own: Option<&str>) -> bool {
    // A name without a tag means the latest.
    let untagged = |name: &str| name.strip_suffix(":latest").unwrap_or(name).to_owned();
    now.uses
        .iter()
        .filter(|(model, _)| own.map(untagged) != Some(untagged(model)))
        .any(|(model, word)| before.uses.get(model) != Some(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::measure::tests::stream;
    use crate::domain::{FailureKind, RequestFailure, TokenCounter, TokenSource};

    /// So many requests, and tokens that are counted when a request ends.
    fn look(requests: u32, total: u64) -> Occupancy {
        let counter = TokenCounter { total, uncertainty: 0, is_live: false };
        Occupancy { requests: Some(requests), output_tokens: Some(counter), ..Occupancy::default() }
    }

    /// As [`look`], with tokens that are counted as they come.
    fn live(requests: u32, total: u64) -> Occupancy {
        let counter = TokenCounter { total, uncertainty: 0, is_live: true };
        Occupancy { output_tokens: Some(counter), ..look(requests, total) }
    }

    /// A total of six digits.
    fn rounded(requests: u32, total: u64) -> Occupancy {
        let counter = TokenCounter { total, uncertainty: 5, is_live: false };
        Occupancy { output_tokens: Some(counter), ..look(requests, total) }
    }

    fn requests(requests: u32) -> Occupancy {
        Occupancy { requests: Some(requests), ..Occupancy::default() }
    }

    fn uses(words: &[(&str, &str)]) -> Occupancy {
        let uses = words.iter().map(|&(model, word)| (model.to_owned(), word.to_owned())).collect();
        Occupancy { uses, ..Occupancy::default() }
    }

    #[test]
    fn a_count_that_fell_is_that_of_another_process() {
        assert!(began_anew(&look(0, 500), &look(0, 499)));
        assert!(!began_anew(&look(0, 500), &look(0, 500)));
        assert!(!began_anew(&look(0, 500), &requests(0)), "told nothing");
        assert!(!began_anew(&rounded(0, 1_234_570), &rounded(0, 1_234_560)), "within the unknown digits");
        assert!(began_anew(&rounded(0, 1_234_570), &rounded(0, 1_234_550)));
    }

    #[test]
    fn a_moment_without_own_requests_shows_those_of_others() {
        let silent = Occupancy::default;
        let cases = [
            ("an idle server", None, look(0, 500), false),
            ("a busy one", None, look(1, 500), true),
            ("a silent one", None, silent(), false),
            ("still silent", Some(silent()), silent(), false),
            ("still idle", Some(look(0, 500)), look(0, 500), false),
            ("others came", Some(look(0, 500)), look(1, 500), true),
            ("others are still there", Some(look(1, 500)), look(1, 500), true),
            ("others left", Some(requests(1)), requests(0), false),
            ("others came and went", Some(look(0, 500)), look(0, 700), true),
            ("a health check came and went", Some(look(0, 500)), look(0, 502), false),
            ("as many tokens as are spared", Some(look(0, 500)), look(0, 508), false),
            ("a token more", Some(look(0, 500)), look(0, 509), true),
            ("it began anew", Some(look(0, 500)), look(0, 0), false),
            ("a look that failed to tell tokens", Some(look(0, 500)), requests(0), false),
            ("the last digits are unknown", Some(rounded(0, 1_234_560)), rounded(0, 1_234_570), false),
            ("more than the last digits", Some(rounded(0, 1_234_560)), rounded(0, 1_234_580), true),
            ("streams that bring tokens", Some(live(2, 500)), live(2, 501), true),
            ("a number that nobody refreshed", Some(live(2, 500)), live(2, 500), false),
            ("a request more, and no token yet", Some(live(2, 500)), live(3, 500), true),
            ("no use of a model", Some(uses(&[("a", "1")])), uses(&[("a", "1")]), false),
            ("a use of the same model", Some(uses(&[("a", "1")])), uses(&[("a", "2")]), true),
            ("another model was loaded", Some(uses(&[("a", "1")])), uses(&[("a", "1"), ("b", "1")]), true),
            ("a model was unloaded", Some(uses(&[("a", "1"), ("b", "1")])), uses(&[("a", "1")]), false),
        ];
        for (name, before, now, expected) in cases {
            assert_eq!(is_used_by_others(before.as_ref(), &now), expected, "{name}");
        }
    }

    /// Four requests of 200 tokens; in flight together, unless the polls say otherwise.
    fn check(name: &str, before: Occupancy, polls: &[(u32, Occupancy)], after: Occupancy, expected: bool) {
        let records = vec![stream(0, &[1; 200], 2_000); 4];
        assert_eq!(judged(before, polls, Some(after), &records), expected, "{name}");
    }

    fn judged(
        before: Occupancy,
        polls: &[(u32, Occupancy)],
        after: Option<Occupancy>,
        records: &[RequestRecord],
    ) -> bool {
        let mut watched = Watched::new(before, "mine");
        for (own, occupancy) in polls {
            watched.note(Poll { occupancy: occupancy.clone(), own: *own });
        }
        watched.end(after);
        watched.is_shared(records, &ValidityPlan::default())
    }

    #[test]
    fn more_requests_than_our_own_are_those_of_others() {
        let all_own = [(4, look(4, 0)), (4, look(4, 0)), (2, look(2, 400))];
        check("alone", look(0, 0), &all_own, look(0, 800), false);
        check("one guest", look(0, 0), &[(4, look(5, 0)), (4, look(5, 0)), (2, look(2, 400))], look(0, 800), true);
        check("seen once", look(0, 0), &[(4, look(4, 0)), (4, look(5, 0)), (2, look(2, 400))], look(0, 800), false);
        check(
            "seen now and then",
            look(0, 0),
            &[(4, look(5, 0)), (4, look(4, 0)), (2, look(3, 0))],
            look(0, 800),
            true,
        );
        check("queued in our server", look(0, 0), &[(8, look(8, 0)), (8, look(8, 0))], look(0, 800), false);
        check("a request that is not there yet", look(0, 0), &[(4, look(1, 0)), (4, look(3, 0))], look(0, 800), false);
        check("one stays after us", look(0, 0), &[(4, look(4, 0)), (2, look(3, 400))], look(1, 800), true);
        check(
            "a guest in a queue that no look sees",
            look(0, 0),
            &[(4, look(4, 0)), (4, look(4, 0))],
            look(1, 800),
            true,
        );
        check("a silent server", uses(&[]), &[(4, uses(&[])), (4, uses(&[]))], uses(&[]), false);
    }

    #[test]
    fn a_number_that_nobody_refreshed_is_no_request() {
        // Nine requests were given up before; the first step of ours refreshes the number.
        let leftover = [(1, live(9, 100)), (1, live(9, 100)), (1, live(1, 101)), (1, live(1, 900))];
        check("a leftover", live(9, 100), &leftover, live(0, 900), false);
        let guests = [(1, live(9, 110)), (1, live(9, 120)), (1, live(1, 130)), (1, live(1, 900))];
        check("guests", live(9, 100), &guests, live(0, 900), true);
    }

    #[test]
    fn more_tokens_than_our_own_are_those_of_others() {
        check("all counted", look(0, 1_000), &[], look(0, 1_800), false);
        check("a token more a request", look(0, 1_000), &[], look(0, 1_804), false);
        check("eight more", look(0, 1_000), &[], look(0, 1_808), false);
        check("a short guest", look(0, 1_000), &[], look(0, 1_809), true);
        check("not all counted yet", look(0, 1_000), &[], look(0, 1_600), false);
        check("it began anew", look(0, 1_000), &[], look(0, 200), false);
        check("six digits", rounded(0, 1_234_560), &[], rounded(0, 1_235_370), false);
        check("a guest beyond six digits", rounded(0, 1_234_560), &[], rounded(0, 1_235_390), true);
        let records = vec![stream(0, &[1; 200], 2_000); 40];
        assert!(!judged(look(0, 0), &[], Some(look(0, 8_080)), &records), "a hundredth of many");
        assert!(judged(look(0, 0), &[], Some(look(0, 8_081)), &records), "more than a hundredth of many");
        assert!(!judged(look(0, 0), &[], None, &records), "no look afterwards");
    }

    #[test]
    fn what_was_given_up_may_have_cost_all_that_it_asked_for() {
        let failed = |kind| {
            let mut records = vec![stream(0, &[1; 200], 2_000); 4];
            records[0].failure = Some(RequestFailure::new(kind, ""));
            records[0].tokens.output = 40;
            records
        };
        let given_up = failed(FailureKind::TimeoutBetweenTokens);
        assert!(!judged(look(0, 0), &[], Some(look(0, 800)), &given_up));
        assert!(judged(look(0, 0), &[], Some(look(0, 809)), &given_up));
        assert!(judged(look(0, 0), &[], Some(look(0, 609)), &failed(FailureKind::NotStarted)));
        assert!(!judged(look(0, 0), &[], Some(look(0, 608)), &failed(FailureKind::Connect)));

        let mut counted_by_chunks = vec![stream(0, &[1; 100], 2_000)];
        counted_by_chunks[0].tokens.source = TokenSource::Chunks;
        counted_by_chunks[0].asked_tokens = 200;
        assert!(!judged(look(0, 0), &[], Some(look(0, 200)), &counted_by_chunks));
    }

    #[test]
    fn another_model_in_use_is_others() {
        let words = |mine: &str, other: &str| uses(&[("mine:latest", mine), ("other", other)]);
        check("our own", words("1", "1"), &[(4, words("1", "1"))], words("2", "1"), false);
        check("another", words("1", "1"), &[(4, words("1", "1"))], words("2", "2"), true);
        check("our own is loaded", uses(&[]), &[], uses(&[("mine:latest", "1")]), false);
        check("another is loaded", words("1", "1"), &[], uses(&[("mine:latest", "2"), ("third", "1")]), true);
        check("another came and went", uses(&[]), &[(4, uses(&[("other", "1")]))], uses(&[]), true);
        check("another leaves", words("1", "1"), &[], uses(&[("mine:latest", "2")]), false);
    }
}
