//! What was measured before, for those who compare: epochs, their cycles, their latencies.

use hdrhistogram::Histogram;
use rusqlite::{OptionalExtension as _, params};

use super::error::StoreError;
use super::latency;
use super::reader::{MEASURED_HERE, Reader};
use super::rows::{self, Columns};
use crate::analysis::regression::{CycleView, cycles_of};
use crate::domain::{Cell, Distribution, Epoch, EpochId, LatencyMeasure, TargetId};

/// An epoch and how much it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastEpoch {
    pub epoch: Epoch,
    pub complete_cycles: u64,
}

impl Reader {
    /// The epochs of a target before one of it, the oldest first; imports are none of them.
    pub fn epochs_before(&self, target: &TargetId, epoch: EpochId) -> Result<Vec<PastEpoch>, StoreError> {
        let mut statement = self.shared().prepare_cached(&format!(
            "SELECT epoch.id, identity, load, first_seen, last_seen,
                    (SELECT COUNT(*) FROM cycle WHERE epoch_id = epoch.id AND completed_at IS NOT NULL)
             FROM epoch JOIN target ON target.id = target_id
             WHERE name = ?1 AND model = ?2 AND epoch.id < ?3 AND {MEASURED_HERE} ORDER BY epoch.id",
        ))?;
        let mut found = statement.query(params![&*target.name, &*target.model, epoch.0])?;
        let mut epochs = Vec::new();
        while let Some(row) = found.next()? {
            let mut columns = Columns::new(row);
            let epoch = rows::epoch(&mut columns)?;
            epochs.push(PastEpoch { epoch, complete_cycles: columns.count()? });
        }
        Ok(epochs)
    }

    /// The newest cycles of an epoch, at most so many, the oldest first: what is left of their
    /// valid samples.
    pub fn cycles(&self, target: &TargetId, epoch: &Epoch, newest: u32) -> Result<Vec<CycleView>, StoreError> {
        // The oldest of them; where there are fewer, the epoch's first.
        let sql = "SELECT started_at FROM (SELECT number, started_at FROM cycle WHERE epoch_id = ?1
                   ORDER BY number DESC LIMIT ?2) ORDER BY number LIMIT 1";
        let mut statement = self.shared().prepare_cached(sql)?;
        let since = statement.query_row(params![epoch.id.0, newest], |row| row.get::<_, String>(0)).optional()?;
        let sql = format!("{} WHERE epoch_id = ?1 AND completed_at >= ?2 ORDER BY id", rows::select());
        let mut statement = self.shared().prepare_cached(&sql)?;
        let mut found = statement.query(params![epoch.id.0, since])?;
        let mut samples = Vec::new();
        while let Some(row) = found.next()? {
            samples.push(rows::sample(target, row)?);
        }
        Ok(cycles_of(&epoch.identity, &samples))
    }

    /// The latencies in the newest valid samples of a cell, at most so many; `None` where none
    /// are kept.
    pub fn distribution(
        &self,
        epoch: EpochId,
        cell: Cell,
        measure: LatencyMeasure,
        newest: u32,
    ) -> Result<Option<Distribution>, StoreError> {
        let sql = "SELECT histogram FROM latency WHERE measure = ?4 AND sample_id IN (SELECT id FROM sample
                   WHERE epoch_id = ?1 AND workers = ?2 AND batch = ?3 AND valid ORDER BY id DESC LIMIT ?5)";
        let mut statement = self.shared().prepare_cached(sql)?;
        let mut found = statement.query(params![epoch.0, cell.workers, cell.batch, measure.as_str(), newest])?;
        let mut all: Option<Histogram<u64>> = None;
        while let Some(row) = found.next()? {
            let one = latency::decode(&row.get::<_, Vec<u8>>(0)?)?;
            match &mut all {
                // Of one range and one precision: what fits in one fits in the other.
                Some(all) => all.add(&one).map_err(|_| latency::fault())?,
                None => all = Some(one),
            }
        }
        Ok(all.map(|all| latency::distribution(&all)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::regression::CellFigures;
    use crate::store::tests::{lived, stretch};

    #[tokio::test(start_paused = true)]
    async fn earlier_epochs_are_told_with_their_cycles() {
        let (folder, epochs) = lived(&[stretch(1, 0..4), stretch(2, 4..6), stretch(3, 6..7)]).await;
        let history = Reader::open(folder.path()).expect("a history");
        let target = TargetId::new("workstation", "gemma3:4b");
        let earlier = history.epochs_before(&target, epochs[2]).expect("can be read");
        let told: Vec<_> = earlier.iter().map(|past| (past.epoch.id, past.complete_cycles)).collect();
        assert_eq!(told, [(epochs[0], 4), (epochs[1], 2)]);
        assert_eq!(history.epochs_before(&TargetId::new("workstation", "other"), epochs[2]).expect("can be read"), []);

        let all = history.cycles(&target, &earlier[0].epoch, 60).expect("can be read");
        assert_eq!(all.len(), 4);
        assert_eq!(all[0].identity, earlier[0].epoch.identity);
        // The cell 2×2 has no valid sample.
        let cells: Vec<Cell> = all[0].cells.iter().map(|figures| figures.cell).collect();
        assert_eq!(cells, [Cell::new(1, 1), Cell::new(1, 2)]);
        assert_eq!(history.cycles(&target, &earlier[0].epoch, 2).expect("can be read"), all[2..]);
        let rate = |figures: &CellFigures| figures.figures[0].expect("was measured");
        assert!((rate(&all[0].cells[0]) - 50.0 * (1.0 + 0.01 * f64::sin(1.0))).abs() < 1e-9, "{:?}", all[0]);
    }

    #[tokio::test(start_paused = true)]
    async fn latencies_of_several_samples_are_one_distribution() {
        let (folder, epochs) = lived(&[stretch(1, 0..3)]).await;
        let history = Reader::open(folder.path()).expect("a history");
        let of = |cell: Cell, newest: u32| {
            history.distribution(epochs[0], cell, LatencyMeasure::RequestDuration, newest).expect("can be read")
        };
        let all = of(Cell::new(1, 1), 9).expect("was recorded");
        assert_eq!(all.total(), 6);
        assert_eq!(of(Cell::new(1, 1), 2).map(|two| two.total()), Some(4));
        assert!(all.counts.windows(2).all(|pair| pair[0].0 < pair[1].0), "{all:?}");
        assert!((all.counts[0].0 - 4.0).abs() < 0.1, "{all:?}");
        assert_eq!(of(Cell::new(2, 2), 9), None, "has no valid sample");
    }
}
