//! Which earlier epoch the running one is held against.

use crate::domain::EpochId;

use super::compare::LEAST_BASELINE_CYCLES;

/// What is known of an earlier epoch, as far as it may be a baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EarlierEpoch {
    pub id: EpochId,
    /// Cycles in which every cell was measured.
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

#[cfg(test)]
mod tests {
    use super::*;

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
