//! A sample's latency distributions as the history keeps them.

use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};

use super::error::StoreError;
use crate::domain::{Distribution, Latencies};

/// An hour, microseconds: what is longer counts as this.
const LONGEST: u64 = 3_600_000_000;
/// A quantile read from the histogram is within a tenth of a percent.
const SIGNIFICANT_DIGITS: u8 = 3;

/// Each measure with its distribution: HdrHistogram V2, deflated, in microseconds.
pub(super) fn encode(latencies: &Latencies) -> Vec<(&'static str, Vec<u8>)> {
    let measures = [
        ("time_to_first_token", &latencies.time_to_first_token),
        ("inter_token_latency", &latencies.inter_token_latency),
        ("time_per_output_token", &latencies.time_per_output_token),
        ("request_duration", &latencies.request_duration),
    ];
    measures
        .into_iter()
        .filter(|(_, seconds)| !seconds.is_empty())
        .filter_map(|(measure, seconds)| Some((measure, histogram(seconds)?)))
        .collect()
}

fn histogram(seconds: &[f64]) -> Option<Vec<u8>> {
    let mut histogram = Histogram::<u64>::new_with_bounds(1, LONGEST, SIGNIFICANT_DIGITS).ok()?;
    for value in seconds {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float cast saturates")]
        histogram.saturating_record((value * 1e6).round() as u64);
    }
    let mut bytes = Vec::new();
    V2DeflateSerializer::new().serialize(&histogram, &mut bytes).ok()?;
    Some(bytes)
}

/// What [`encode`] wrote.
pub(super) fn decode(bytes: &[u8]) -> Result<Histogram<u64>, StoreError> {
    Deserializer::new().deserialize(&mut &*bytes).map_err(|_| fault())
}

/// A distribution that nothing of this program wrote.
pub(super) fn fault() -> StoreError {
    StoreError::Value { what: "latency distribution", text: "bytes that are no histogram".to_owned() }
}

/// The values of a histogram in seconds.
pub(super) fn distribution(histogram: &Histogram<u64>) -> Distribution {
    let seconds = |value: u64| value as f64 / 1e6;
    let counts = histogram.iter_recorded().map(|at| (seconds(at.value_iterated_to()), at.count_at_value()));
    Distribution { counts: counts.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_distribution_gives_its_quantiles_back() {
        let latencies =
            Latencies { request_duration: (1..=1000).map(|n| f64::from(n) / 100.0).collect(), ..Latencies::default() };
        let encoded = encode(&latencies);
        assert_eq!(encoded.len(), 1);
        let (measure, bytes) = &encoded[0];
        assert_eq!(*measure, "request_duration");
        let back = decode(bytes).expect("own bytes");
        assert_eq!(back.len(), 1000);
        let median = back.value_at_quantile(0.5) as f64 / 1e6;
        assert!((median - 5.0).abs() < 0.01, "{median}");
        assert_eq!(distribution(&back).total(), 1000);
        assert!(decode(b"other bytes").is_err());
    }
}
