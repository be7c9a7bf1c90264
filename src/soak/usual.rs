//! What is usual in the running epoch: what a sample is judged by.

use std::collections::{BTreeMap, VecDeque};

use crate::analysis::quantile::median;
use crate::analysis::validity::{Usual, mean_output_tokens};
use crate::domain::{Cell, InvalidReason, RequestRecord, Sample};

/// The newest so many samples say what is usual: of the epoch for load times, of each cell
/// for lengths.
const KEPT: usize = 64;

/// The samples of an epoch, as far as later ones are judged by them.
#[derive(Clone, Debug, Default)]
pub(super) struct UsualOfEpoch {
    load_seconds: VecDeque<f64>,
    /// The least load time of any warm-up since the program began.
    least_warmup_load: Option<f64>,
    output_lengths: BTreeMap<Cell, VecDeque<f64>>,
    answers: u64,
    short_answers: u64,
}

impl UsualOfEpoch {
    pub(super) fn of(samples: &[Sample]) -> Self {
        let mut usual = Self::default();
        samples.iter().for_each(|sample| usual.note(sample));
        usual
    }

    pub(super) fn note(&mut self, sample: &Sample) {
        let measurement = &sample.measurement;
        // A sample in which the model was loaded does not say how long a load usually takes.
        if !sample.invalid.contains(&InvalidReason::ModelLoad)
            && let Some(seconds) = measurement.load_seconds
        {
            keep(&mut self.load_seconds, seconds);
        }
        if !sample.is_valid() {
            return;
        }
        if let Some(length) = mean_output_tokens(measurement) {
            keep(self.output_lengths.entry(sample.cell).or_default(), length);
        }
        self.answers += u64::from(measurement.requests.saturating_sub(measurement.failed_requests));
        self.short_answers += u64::from(measurement.short_outputs);
    }

    /// Learns what a request to a loaded model costs, lest a server that is slow at it from the
    /// start be taken for one that loads in every sample. Some warm-ups load the model: the
    /// least time of all tells what there is without.
    pub(super) fn note_warmup(&mut self, records: &[RequestRecord]) {
        let told = records.iter().filter_map(|record| record.timings.load).map(|load| load.as_secs_f64());
        self.least_warmup_load = told.chain(self.least_warmup_load).reduce(f64::min);
    }

    /// What is usual for a cell.
    pub(super) fn of_cell(&self, cell: Cell) -> Usual {
        let loads: Vec<f64> = self.load_seconds.iter().copied().collect();
        Usual {
            load_seconds: median(&loads).into_iter().chain(self.least_warmup_load).reduce(f64::max),
            output_lengths: self.output_lengths.get(&cell).into_iter().flatten().copied().collect(),
            answers: self.answers,
            short_answers: self.short_answers,
        }
    }
}

fn keep(values: &mut VecDeque<f64>, value: f64) {
    if values.len() == KEPT {
        values.pop_front();
    }
    values.push_back(value);
}
