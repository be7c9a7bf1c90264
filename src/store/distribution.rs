//! The latencies of a cell, for those who compare two epochs.

use hdrhistogram::Histogram;
use rusqlite::params;

use super::error::StoreError;
use super::latency;
use super::reader::Reader;
use crate::domain::{Cell, Distribution, EpochId, LatencyMeasure};

impl Reader {
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
    use crate::store::tests::{lived, stretch};

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
