//! A sample's latency distributions as the history keeps them.

use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer, V2DeflateSerializer};

use crate::domain::Latencies;

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
        let back: Histogram<u64> =
            hdrhistogram::serialization::Deserializer::new().deserialize(&mut bytes.as_slice()).expect("own bytes");
        assert_eq!(back.len(), 1000);
        let median = back.value_at_quantile(0.5) as f64 / 1e6;
        assert!((median - 5.0).abs() < 0.01, "{median}");
    }
}
