//! Which earlier epoch the running one is held against.

use std::collections::BTreeSet;

use crate::domain::environment::SOURCE;
use crate::domain::{Epoch, EpochId};

use super::compare::LEAST_BASELINE_CYCLES;

/// What is known of an earlier epoch, as far as it may be a baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EarlierEpoch {
    pub id: EpochId,
    /// Cycles that came to their end, whether they measured all cells or, adaptively, some.
    pub complete_cycles: usize,
    /// Of the same load, and of an identity that is not unknown in part.
    pub is_comparable: bool,
    /// Whether a regression was going on in it that nobody accepted.
    pub is_regressed: bool,
}

/// The baseline: the one that the user pinned, whatever it is; else the newest comparable epoch
/// of three complete cycles or more that is not inside a regression that nobody accepted.
/// `earlier` are the epochs before the running one, in any order.
pub fn choose(earlier: &[EarlierEpoch], pinned: Option<EpochId>) -> Option<EpochId> {
    let is_fit = |epoch: &&EarlierEpoch| {
        epoch.is_comparable && epoch.complete_cycles >= LEAST_BASELINE_CYCLES && !epoch.is_regressed
    };
    pinned.or_else(|| earlier.iter().filter(is_fit).map(|epoch| epoch.id).max())
}

/// What differs in the loads of two epochs, each as `key: before → after`: they cannot be
/// compared where anything does. What an imported epoch does not tell is no difference.
pub fn load_differences(before: &Epoch, after: &Epoch) -> Vec<String> {
    let is_in_part = before.source().is_some() || after.source().is_some();
    let keys: BTreeSet<&String> = before.load.keys().chain(after.load.keys()).filter(|key| *key != SOURCE).collect();
    let differs = |key: &String| {
        let (old, new) = (before.load.get(key), after.load.get(key));
        let is_unknown = is_in_part && (old.is_none() || new.is_none());
        let word = |value: Option<&String>| value.map_or("none", String::as_str).to_owned();
        (old != new && !is_unknown).then(|| format!("{key}: {} → {}", word(old), word(new)))
    };
    keys.into_iter().filter_map(differs).collect()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::domain::Facts;

    #[test]
    fn what_an_import_does_not_tell_is_no_difference_of_loads() {
        let check = |old: &[(&str, &str)], new: &[(&str, &str)], expected: &[&str]| {
            let epoch = |load: &[(&str, &str)]| Epoch {
                id: EpochId(1),
                identity: Facts::new(),
                load: load.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect(),
                first_seen: Timestamp::UNIX_EPOCH,
                last_seen: Timestamp::UNIX_EPOCH,
            };
            assert_eq!(load_differences(&epoch(old), &epoch(new)), expected, "{old:?} {new:?}");
        };
        let load = [("api", "openai"), ("output_tokens", "200")];
        check(&load, &load, &[]);
        check(&load, &[("api", "openai"), ("output_tokens", "64")], &["output_tokens: 200 → 64"]);
        check(&load, &[("api", "openai")], &["output_tokens: 200 → none"]);
        check(&[("source", "a file"), ("api", "openai")], &load, &[]);
        check(&[("source", "a file"), ("api", "ollama")], &load, &["api: ollama → openai"]);
    }

    #[test]
    fn the_newest_fit_epoch_is_the_baseline() {
        let epoch = |id: i64, complete_cycles: usize, is_comparable: bool, is_regressed: bool| EarlierEpoch {
            id: EpochId(id),
            complete_cycles,
            is_comparable,
            is_regressed,
        };
        let earlier = [
            epoch(1, 9, true, false),
            epoch(2, 3, true, false),
            epoch(3, 9, false, false),
            epoch(4, 9, true, true),
            epoch(5, 2, true, false),
        ];
        assert_eq!(choose(&earlier, None), Some(EpochId(2)));
        assert_eq!(choose(&earlier, Some(EpochId(5))), Some(EpochId(5)));
        assert_eq!(choose(&earlier[2..], None), None);
    }
}
