//! What stays of a cell when its samples are deleted.

use jiff::Timestamp;

use super::cell::Cell;
use super::sample::Sample;

/// Count, mean and squared deviations of values that are seen once each and not kept.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moments {
    pub count: u64,
    /// 0 without values.
    pub mean: f64,
    /// The sum of the squared deviations from the mean.
    pub m2: f64,
}

impl Moments {
    /// Welford's update: no sum of squares whose digits cancel.
    pub fn add(&mut self, value: f64) {
        self.count += 1;
        let from_old_mean = value - self.mean;
        self.mean += from_old_mean / self.count as f64;
        self.m2 += from_old_mean * (value - self.mean);
    }

    /// Adds the natural logarithm of a value that has one.
    fn add_log(&mut self, value: f64) {
        if value > 0.0 && value.is_finite() {
            self.add(value.ln());
        }
    }
}

/// All attempts of a cell within an epoch, deleted ones included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CellAggregate {
    /// The canonical cell.
    pub cell: Cell,
    /// Samples, valid or not.
    pub attempts: u64,
    /// When the first of them began and the last one ended.
    pub first_at: Timestamp,
    pub last_at: Timestamp,
    /// All that follows is of these.
    pub valid_samples: u64,
    /// Of the natural logarithms of the tokens a second.
    pub log_rate: Moments,
    pub lowest_tokens_per_second: Option<f64>,
    pub highest_tokens_per_second: Option<f64>,
    pub requests: u64,
    pub failed_requests: u64,
    pub output_tokens: u64,
    pub total_seconds: f64,
    /// Of the natural logarithms of the samples' medians, as far as they have one.
    pub log_time_to_first_token: Moments,
    pub log_inter_token_latency: Moments,
}

impl CellAggregate {
    /// The aggregate of a first sample.
    pub fn of(sample: &Sample) -> Self {
        let mut aggregate = Self {
            cell: sample.cell,
            attempts: 0,
            first_at: sample.started_at,
            last_at: sample.completed_at,
            valid_samples: 0,
            log_rate: Moments::default(),
            lowest_tokens_per_second: None,
            highest_tokens_per_second: None,
            requests: 0,
            failed_requests: 0,
            output_tokens: 0,
            total_seconds: 0.0,
            log_time_to_first_token: Moments::default(),
            log_inter_token_latency: Moments::default(),
        };
        aggregate.add(sample);
        aggregate
    }

    /// Adds another sample of the same cell and epoch.
    pub fn add(&mut self, sample: &Sample) {
        self.attempts += 1;
        self.first_at = self.first_at.min(sample.started_at);
        self.last_at = self.last_at.max(sample.completed_at);
        if !sample.is_valid() {
            return;
        }
        let m = &sample.measurement;
        let rate = m.tokens_per_second;
        self.valid_samples += 1;
        self.log_rate.add_log(rate);
        self.lowest_tokens_per_second = Some(self.lowest_tokens_per_second.map_or(rate, |lowest| lowest.min(rate)));
        self.highest_tokens_per_second = Some(self.highest_tokens_per_second.map_or(rate, |highest| highest.max(rate)));
        self.requests += u64::from(m.requests);
        self.failed_requests += u64::from(m.failed_requests);
        self.output_tokens += m.output_tokens;
        self.total_seconds += m.total_seconds;
        if let Some(latency) = m.time_to_first_token {
            self.log_time_to_first_token.add_log(latency.p50);
        }
        if let Some(latency) = m.inter_token_latency {
            self.log_inter_token_latency.add_log(latency.p50);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(values: &[f64], mean: f64, m2: f64) {
        let mut moments = Moments::default();
        values.iter().for_each(|&value| moments.add(value));
        assert_eq!(moments.count, values.len() as u64);
        assert!((moments.mean - mean).abs() < 1e-9 && (moments.m2 - m2).abs() < 1e-9, "{moments:?}");
    }

    #[test]
    fn moments_are_those_of_all_values() {
        check(&[], 0.0, 0.0);
        check(&[7.0], 7.0, 0.0);
        check(&[1.0, 2.0, 3.0, 4.0], 2.5, 5.0);
        // Far from 0, where a sum of squares would have lost the deviations.
        check(&[1e8 + 1.0, 1e8 + 2.0, 1e8 + 3.0], 1e8 + 2.0, 2.0);
    }

    #[test]
    fn what_has_no_logarithm_is_not_counted() {
        let mut moments = Moments::default();
        [0.0, -1.0, f64::NAN, f64::INFINITY, 1.0].iter().for_each(|&value| moments.add_log(value));
        assert_eq!(moments, Moments { count: 1, mean: 0.0, m2: 0.0 });
    }
}
