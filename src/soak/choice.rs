//! Which cells a cycle measures, and how often each.
//!
//! A full cycle measures all of them; an adaptive one those that can still change an answer.
//! Either measures its reference cell again and again, so that drift of the machine shows.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::analysis::chooser::{Knowledge, SENTINELS, SHARE_OF_FULL_CYCLE, choose, reference_of, sentinels};
use crate::analysis::conclusions::{Conclusions, Question};
use crate::domain::plan::ScheduleMode;
use crate::domain::{Cell, EstimatePlan, Grid, Sample, SlotsMode};

/// How often the reference cell is measured in a cycle: at its beginning, in its middle, at its
/// end.
const REFERENCES: u32 = 3;
/// A cycle of fewer cells is too short for the machine to drift in it.
const LEAST_CELLS: usize = 6;
/// An adaptive schedule leaves no cell out for more cycles than this.
const MOST_AGE: u32 = 10;

/// What an adaptive schedule knows of the running epoch.
#[derive(Clone, Debug, Default)]
pub(super) struct Learned {
    /// The newest valid samples of each canonical cell.
    samples: BTreeMap<Cell, VecDeque<Arc<Sample>>>,
    /// The cycle in which each was last attempted.
    attempted: BTreeMap<Cell, u64>,
    /// The last cycle before the epoch.
    before: u64,
}

impl Learned {
    /// What an epoch's samples say. `last_cycle` is the newest one of the target.
    pub(super) fn of(samples: &[Sample], last_cycle: u64, plan: &EstimatePlan) -> Self {
        let first = samples.iter().map(|sample| sample.cycle).min();
        let before = first.map_or(last_cycle, |first| first.saturating_sub(1));
        let mut learned = Self { before, ..Self::default() };
        samples.iter().for_each(|sample| learned.note(&Arc::new(sample.clone()), plan));
        learned
    }

    pub(super) fn note(&mut self, sample: &Arc<Sample>, plan: &EstimatePlan) {
        let attempted = self.attempted.entry(sample.cell).or_default();
        *attempted = sample.cycle.max(*attempted);
        if sample.is_valid() {
            let samples = self.samples.entry(sample.cell).or_default();
            samples.push_back(sample.clone());
            samples.drain(..samples.len().saturating_sub(plan.window.samples));
        }
    }

    /// How many cycles ended since each cell was attempted, or since the epoch began.
    fn ages(&self, grid: &Grid, cycle: u64) -> BTreeMap<Cell, u32> {
        let age = |cell: Cell| {
            let last = self.attempted.get(&cell).copied().unwrap_or(self.before);
            u32::try_from(cycle.saturating_sub(last + 1)).unwrap_or(u32::MAX)
        };
        grid.measured().into_iter().map(|cell| (cell, age(cell))).collect()
    }

    /// The cells of an adaptive cycle with how often to measure each.
    fn choose(&self, setting: &Setting<'_>, cycle: u64) -> BTreeMap<Cell, u32> {
        let Setting { grid, slots_mode, slots, estimates, .. } = *setting;
        let is_server_mode = slots_mode == SlotsMode::Server;
        let question = Question { grid, is_server_mode, slots, plan: &estimates, published: None };
        let conclusions = Conclusions::of(&question, self.samples.values().flatten().map(AsRef::as_ref));
        let of_full_cycle: u64 = grid.measured().iter().map(|cell| u64::from(cell.batch)).sum();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a whole number")]
        let requests = (of_full_cycle as f64 * SHARE_OF_FULL_CYCLE) as u64;
        choose(&Knowledge {
            grid,
            rates: &conclusions.rates,
            skipped_rows: &conclusions.skipped_rows(),
            ages: &self.ages(grid, cycle),
            sentinels: &sentinels(grid, conclusions.reference, SENTINELS),
            most_age: MOST_AGE,
            requests,
        })
    }
}

/// What the cells of a cycle are chosen for.
#[derive(Clone, Copy, Debug)]
pub struct Setting<'a> {
    pub grid: &'a Grid,
    pub mode: ScheduleMode,
    pub estimates: EstimatePlan,
    pub slots_mode: SlotsMode,
    /// The server's own, where it tells them.
    pub slots: Option<u32>,
}

/// The cells of a cycle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// With how often to measure each.
    pub cells: BTreeMap<Cell, u32>,
    /// The one that is measured from time to time throughout the cycle.
    pub reference: Option<Cell>,
}

impl Chosen {
    /// The cells of a cycle in an epoch of which so much was learned. For an adaptive cycle it
    /// takes some milliseconds of a processor.
    pub(super) fn of(setting: &Setting<'_>, learned: &Learned, cycle: u64) -> Self {
        let mut cells = match setting.mode {
            ScheduleMode::Full => setting.grid.measured().into_iter().map(|cell| (cell, 1)).collect(),
            ScheduleMode::Adaptive => learned.choose(setting, cycle),
        };
        // Where each row has a server of its own, its samples would stand side by side.
        let is_apart = setting.slots_mode == SlotsMode::Client && cells.len() >= LEAST_CELLS;
        let reference = reference_of(setting.estimates.reference, setting.grid, setting.slots).filter(|_| is_apart);
        if let Some(reference) = reference {
            let times = cells.entry(reference).or_default();
            *times = REFERENCES.max(*times);
        }
        Self { cells, reference }
    }

    /// The first cycle of an epoch.
    pub fn first(setting: &Setting<'_>) -> Self {
        Self::of(setting, &Learned::default(), 1)
    }

    /// One of these cells for each sample, by workers and batch.
    pub fn samples(&self) -> impl Iterator<Item = Cell> + '_ {
        self.cells.iter().flat_map(|(&cell, &times)| (0..times).map(move |_| cell))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ReferenceCell;

    fn setting(grid: &Grid) -> Setting<'_> {
        let (mode, estimates) = (ScheduleMode::Full, EstimatePlan::default());
        Setting { grid, mode, estimates, slots_mode: SlotsMode::Client, slots: Some(4) }
    }

    #[test]
    fn the_reference_cell_is_the_one_that_was_named_where_the_grid_has_it() {
        let (grid, small) = (Grid::automatic(Some(4), true), Grid::new(&[2], &[1, 2, 4], true).expect("sound"));
        let check = |setting: Setting<'_>, expected: Option<Cell>| {
            let chosen = Chosen::first(&setting);
            assert_eq!(chosen.reference, expected);
            let samples = setting.grid.measured().len() + if expected.is_some() { 2 } else { 0 };
            assert_eq!(chosen.samples().count(), samples);
        };
        let with = |reference| {
            let estimates = EstimatePlan { reference, ..EstimatePlan::default() };
            Setting { estimates, ..setting(&grid) }
        };
        let auto = Some(Cell::new(2, 2));
        check(with(ReferenceCell::Auto), auto);
        check(with(ReferenceCell::Of(Cell::new(4, 8))), Some(Cell::new(4, 8)));
        check(with(ReferenceCell::Of(Cell::new(3, 3))), auto);
        check(with(ReferenceCell::Off), None);
        check(setting(&small), None);
        check(Setting { slots_mode: SlotsMode::Server, ..setting(&grid) }, None);
    }

    #[test]
    fn an_adaptive_cycle_is_a_part_of_a_full_one_and_leaves_nothing_out_for_ever() {
        let grid = Grid::legacy(true);
        let setting = Setting { mode: ScheduleMode::Adaptive, slots: None, ..setting(&grid) };
        let requests = |chosen: &Chosen| chosen.samples().map(|cell| u64::from(cell.batch)).sum::<u64>();
        let full = requests(&Chosen::first(&Setting { mode: ScheduleMode::Full, ..setting }));
        let mut learned = Learned::default();
        for cycle in 1..=30 {
            let chosen = Chosen::of(&setting, &learned, cycle);
            assert!(requests(&chosen) < full / 2, "{} of {full}", requests(&chosen));
            learned.attempted.extend(chosen.cells.keys().map(|&cell| (cell, cycle)));
            assert!(learned.ages(&grid, cycle + 1).values().all(|age| *age <= MOST_AGE));
        }
    }

    #[test]
    fn ages_count_the_cycles_since_the_last_attempt() {
        let grid = Grid::new(&[1, 2], &[1], false).expect("sound");
        let mut learned = Learned::of(&[], 7, &EstimatePlan::default());
        let age = |learned: &Learned, cycle| learned.ages(&grid, cycle)[&Cell::new(1, 1)];
        assert_eq!((age(&learned, 8), age(&learned, 10)), (0, 2));
        learned.attempted.insert(Cell::new(1, 1), 9);
        assert_eq!((age(&learned, 10), age(&learned, 12)), (0, 2));
    }
}
