//! GPUs as they are told, whoever made them.

use crate::domain::{Facts, GpuReading};

/// One GPU: what it is, and what it does.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Gpu {
    pub(super) name: Option<String>,
    pub(super) vbios: Option<String>,
    /// What somebody allows it to draw, watts.
    pub(super) power_limit_watts: Option<f64>,
    pub(super) reading: GpuReading,
}

/// What of some GPUs does not change by itself. One fact stands for all of them where they are
/// alike; else each has its own, in their order.
pub(super) fn facts(gpus: &[Gpu]) -> Facts {
    let watts = |gpu: &Gpu| gpu.power_limit_watts.map(|watts| format!("{watts:.0}"));
    let facts = [
        ("gpu", together(gpus.iter().map(|gpu| gpu.name.clone()))),
        ("gpu_count", (!gpus.is_empty()).then(|| gpus.len().to_string())),
        ("gpu_vbios", together(gpus.iter().map(|gpu| gpu.vbios.clone()))),
        ("power_limit", together(gpus.iter().map(watts))),
    ];
    facts.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
}

/// `None` where any of them is unknown: what is not told for a while must not look like a change.
fn together(values: impl Iterator<Item = Option<String>>) -> Option<String> {
    let values: Vec<String> = values.collect::<Option<_>>()?;
    let first = values.first()?;
    Some(if values.iter().all(|value| value == first) { first.clone() } else { values.join(", ") })
}

/// What they all do now.
pub(super) fn reading(gpus: &[Gpu]) -> GpuReading {
    let readings: Vec<GpuReading> = gpus.iter().map(|gpu| gpu.reading.clone()).collect();
    GpuReading::of_all(&readings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gpu(name: &str, watts: Option<f64>) -> Gpu {
        Gpu { name: Some(name.to_owned()), power_limit_watts: watts, ..Gpu::default() }
    }

    fn check(gpus: &[Gpu], expected: &[(&str, &str)]) {
        let facts = facts(gpus);
        let facts: Vec<(&str, &str)> = facts.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(facts, expected);
    }

    #[test]
    fn like_gpus_have_one_fact_and_others_one_each() {
        check(&[], &[]);
        let pair = [gpu("L4", Some(72.0)), gpu("L4", Some(72.0))];
        check(&pair, &[("gpu", "L4"), ("gpu_count", "2"), ("power_limit", "72")]);
        let mixed = [gpu("L4", Some(72.0)), gpu("H100", Some(699.8))];
        check(&mixed, &[("gpu", "L4, H100"), ("gpu_count", "2"), ("power_limit", "72, 700")]);
        // Of one that does not tell its limit, none is known.
        check(&[gpu("L4", Some(72.0)), gpu("L4", None)], &[("gpu", "L4"), ("gpu_count", "2")]);
    }
}
