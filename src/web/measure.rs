//! What the grid of the status page can show of its cells: one measure at a time.

use jiff::Timestamp;

use super::html::{counted, duration, percent, rate};
use crate::domain::{Cell, Measurement};
use crate::soak::TargetSnapshot;

/// A figure of a cell, chosen by `?measure=`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Measure {
    /// The median over the samples; all others are of the last one.
    #[default]
    TokenRate,
    TimeToFirstToken,
    InterTokenLatency,
    RequestDuration,
    Failures,
    Samples,
    Age,
}

impl Measure {
    pub(super) const ALL: [Self; 7] = [
        Self::TokenRate,
        Self::TimeToFirstToken,
        Self::InterTokenLatency,
        Self::RequestDuration,
        Self::Failures,
        Self::Samples,
        Self::Age,
    ];

    /// The measure of a query; the token rate where there is no such measure.
    pub(super) fn of(name: Option<&str>) -> Self {
        Self::ALL.into_iter().find(|measure| Some(measure.name()) == name).unwrap_or_default()
    }

    /// The word in the query.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::TokenRate => "tokens_per_second",
            Self::TimeToFirstToken => "time_to_first_token_p95",
            Self::InterTokenLatency => "inter_token_latency_p95",
            Self::RequestDuration => "request_duration_p95",
            Self::Failures => "request_failures",
            Self::Samples => "samples",
            Self::Age => "age",
        }
    }

    /// As people choose it.
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::TokenRate => "Tokens per second",
            Self::TimeToFirstToken => "Time to first token",
            Self::InterTokenLatency => "Inter-token latency",
            Self::RequestDuration => "Request duration",
            Self::Failures => "Failed requests",
            Self::Samples => "Samples",
            Self::Age => "Age",
        }
    }

    /// What exactly it is.
    pub(super) const fn meaning(self) -> &'static str {
        match self {
            Self::TokenRate => "median of each cell",
            Self::TimeToFirstToken | Self::InterTokenLatency | Self::RequestDuration => {
                "95th percentile of each cell's last valid sample"
            }
            Self::Failures => "share of each cell's last attempt",
            Self::Samples => "valid ones of each cell, in this epoch",
            Self::Age => "since each cell's last attempt",
        }
    }

    /// Whether more of it is better; colours are bright where it is good.
    const fn is_better_high(self) -> bool {
        matches!(self, Self::TokenRate | Self::Samples)
    }

    /// Whether its colours tell factors, not differences.
    const fn is_in_factors(self) -> bool {
        matches!(self, Self::TimeToFirstToken | Self::InterTokenLatency | Self::RequestDuration)
    }

    /// Its value at a cell; seconds, ratios and counts.
    pub(super) fn value(self, target: &TargetSnapshot, cell: Cell, now: Timestamp) -> Option<f64> {
        let valid = |read: fn(&Measurement) -> Option<f64>| read(&target.cell(cell)?.last_valid.as_ref()?.measurement);
        match self {
            Self::TokenRate => target.estimate(cell).map(|estimate| estimate.median),
            Self::TimeToFirstToken => valid(|sample| sample.time_to_first_token.map(|quantiles| quantiles.p95)),
            Self::InterTokenLatency => valid(|sample| sample.inter_token_latency.map(|quantiles| quantiles.p95)),
            Self::RequestDuration => valid(|sample| sample.request_duration.map(|quantiles| quantiles.p95)),
            Self::Failures => {
                let attempt = &target.cell(cell)?.last_attempt.measurement;
                Some(f64::from(attempt.failed_requests) / f64::from(attempt.requests.max(1)))
            }
            Self::Samples => Some(target.estimate(cell)?.samples as f64),
            Self::Age => Some(now.duration_since(target.cell(cell)?.last_attempt.completed_at).as_secs_f64().max(0.0)),
        }
    }

    /// A value as a cell shows it.
    pub(super) fn text(self, value: f64) -> String {
        match self {
            Self::TokenRate => rate(value),
            Self::TimeToFirstToken | Self::InterTokenLatency | Self::RequestDuration | Self::Age => duration(value),
            Self::Failures => percent(value),
            Self::Samples => format!("{value:.0}"),
        }
    }

    /// A value in words.
    pub(super) fn words(self, value: f64) -> String {
        match self {
            Self::TokenRate => format!("{} tokens/s", rate(value)),
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of samples")]
            Self::Samples => counted(value as u64, "sample"),
            Self::Failures => format!("{} of the requests failed", percent(value)),
            Self::Age => format!("{} old", duration(value)),
            _ => format!("{} {}", self.title().to_lowercase(), duration(value)),
        }
    }
}

/// What the colours run over, from the worst value to the best.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scale {
    measure: Measure,
    pub(super) worst: f64,
    pub(super) best: f64,
}

impl Scale {
    /// Steps of colour; the style sheet has a class for each.
    pub(super) const STEPS: u8 = 16;

    /// Over those values; `None` where there are none.
    pub(super) fn over(measure: Measure, values: impl Iterator<Item = f64> + Clone) -> Option<Self> {
        let (lowest, highest) = (values.clone().reduce(f64::min)?, values.reduce(f64::max)?);
        let (worst, best) = if measure.is_better_high() { (lowest, highest) } else { (highest, lowest) };
        Some(Self { measure, worst, best })
    }

    /// The class of a value's colour, from `h0` to `hf`.
    pub(super) fn class(&self, value: f64) -> String {
        // A factor of nothing is none: what is 0 has the colour of the least that is more.
        let at = |value: f64| if self.measure.is_in_factors() { value.max(1e-6).ln() } else { value };
        let width = at(self.best) - at(self.worst);
        let share = if width == 0.0 { 1.0 } else { ((at(value) - at(self.worst)) / width).clamp(0.0, 1.0) };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "lies between 0 and 15")]
        let step = (share * f64::from(Self::STEPS - 1)).round() as u8;
        format!("h{step:x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_bright_where_it_is_good() {
        let check = |measure: Measure, values: &[f64], expected: &[&str]| {
            let scale = Scale::over(measure, values.iter().copied()).expect("has values");
            let classes: Vec<String> = values.iter().map(|&value| scale.class(value)).collect();
            assert_eq!(classes, expected, "{measure:?}");
        };
        check(Measure::TokenRate, &[100.0, 200.0, 400.0], &["h0", "h5", "hf"]);
        check(Measure::TimeToFirstToken, &[0.1, 0.2, 0.4], &["hf", "h8", "h0"]);
        check(Measure::Age, &[0.0, 300.0], &["hf", "h0"]);
        check(Measure::Failures, &[0.0, 0.0], &["hf", "hf"]);
    }

    #[test]
    fn a_measure_is_chosen_by_its_name() {
        for measure in Measure::ALL {
            assert_eq!(Measure::of(Some(measure.name())), measure);
        }
        assert_eq!(Measure::of(Some("nothing")), Measure::TokenRate);
        assert_eq!(Measure::of(None), Measure::TokenRate);
    }
}
