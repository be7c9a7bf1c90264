//! What moves all the time and is stored with each sample: never a part of the identity.

use std::collections::BTreeSet;
use std::time::Duration;

use super::named::named;

named! {
    /// Why a GPU runs slower than it could, in a few words that no vendor owns.
    ThrottleReason {
        /// Its power limit.
        PowerCap = "power_cap",
        /// Its temperature.
        Thermal = "thermal",
        /// The power supply asks for it.
        PowerBrake = "power_brake",
        /// The hardware says no more than that it slowed itself down.
        Hardware = "hardware_slowdown",
        /// Clocks that somebody set, or another GPU to whose clocks it is bound.
        ClockSetting = "clock_setting",
    }
}

/// What the GPUs of a machine do at one moment, as far as they tell.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GpuReading {
    /// Of the hottest one.
    pub temperature_celsius: Option<f64>,
    /// Of the busiest one; so is the next.
    pub sm_clock_megahertz: Option<f64>,
    pub memory_clock_megahertz: Option<f64>,
    /// The share of its time in which the busiest one works, 0 to 1.
    pub utilization: Option<f64>,
    /// Of all together; so is the next.
    pub power_watts: Option<f64>,
    pub memory_used_bytes: Option<u64>,
    /// Why any of them is slower than it could be.
    pub throttle_reasons: BTreeSet<ThrottleReason>,
    /// What all together took since some time in the past.
    pub energy_joules: Option<f64>,
}

impl GpuReading {
    /// One reading of several GPUs. What one of them does not tell is not known of all.
    pub fn of_all(gpus: &[Self]) -> Self {
        let highest = |value: fn(&Self) -> Option<f64>| gpus.iter().filter_map(value).max_by(f64::total_cmp);
        let sum = |value: fn(&Self) -> Option<f64>| {
            if gpus.is_empty() { None } else { gpus.iter().map(value).sum() }
        };
        let busiest = gpus.iter().max_by(|one, other| {
            let load = |gpu: &Self| gpu.utilization.unwrap_or_default();
            load(one).total_cmp(&load(other))
        });
        Self {
            temperature_celsius: highest(|gpu| gpu.temperature_celsius),
            sm_clock_megahertz: busiest.and_then(|gpu| gpu.sm_clock_megahertz),
            memory_clock_megahertz: busiest.and_then(|gpu| gpu.memory_clock_megahertz),
            utilization: busiest.and_then(|gpu| gpu.utilization),
            power_watts: sum(|gpu| gpu.power_watts),
            memory_used_bytes: if gpus.is_empty() { None } else { gpus.iter().map(|gpu| gpu.memory_used_bytes).sum() },
            throttle_reasons: gpus.iter().flat_map(|gpu| &gpu.throttle_reasons).copied().collect(),
            energy_joules: sum(|gpu| gpu.energy_joules),
        }
    }
}

/// What the GPUs did while a sample ran, as far as they told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conditions {
    /// The highest that was seen.
    pub gpu_temperature_celsius: Option<f64>,
    /// A mean; so are the next two.
    pub sm_clock_megahertz: Option<f64>,
    pub memory_clock_megahertz: Option<f64>,
    /// 0 to 1.
    pub gpu_utilization: Option<f64>,
    /// Energy / time.
    pub power_watts: Option<f64>,
    /// The highest that was seen.
    pub gpu_memory_used_bytes: Option<u64>,
    /// All that were seen.
    pub throttle_reasons: BTreeSet<ThrottleReason>,
    /// What the GPUs took.
    pub energy_joules: Option<f64>,
}

/// A difference of energy counters over less time than this says too little: they are brought
/// up to date ten times a second or so.
const LEAST_SPAN: Duration = Duration::from_millis(500);

impl Conditions {
    /// What readings say of the time from the first to the last of them. Each has its time
    /// since a common origin, in their order.
    pub fn of(readings: &[(Duration, GpuReading)]) -> Self {
        let known = |value: fn(&GpuReading) -> Option<f64>| -> Vec<f64> {
            readings.iter().filter_map(|(_, reading)| value(reading)).collect()
        };
        let mean = |values: &[f64]| (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64);
        let span = readings.first().zip(readings.last()).map(|(first, last)| last.0.saturating_sub(first.0));
        let span = span.filter(|&span| span >= LEAST_SPAN);
        let energy = span.and_then(|_| counted_energy(readings).or_else(|| integrated_energy(readings)));
        let power = energy.zip(span).map(|(joules, span)| joules / span.as_secs_f64());
        Self {
            gpu_temperature_celsius: known(|reading| reading.temperature_celsius).into_iter().max_by(f64::total_cmp),
            sm_clock_megahertz: mean(&known(|reading| reading.sm_clock_megahertz)),
            memory_clock_megahertz: mean(&known(|reading| reading.memory_clock_megahertz)),
            gpu_utilization: mean(&known(|reading| reading.utilization)),
            power_watts: power.or_else(|| mean(&known(|reading| reading.power_watts))),
            gpu_memory_used_bytes: readings.iter().filter_map(|(_, reading)| reading.memory_used_bytes).max(),
            throttle_reasons: readings.iter().flat_map(|(_, reading)| &reading.throttle_reasons).copied().collect(),
            energy_joules: energy,
        }
    }

    /// Whether anything is known.
    pub fn is_known(&self) -> bool {
        *self != Self::default()
    }
}

/// What the counter says, unless it began anew meanwhile, as it does with the driver.
fn counted_energy(readings: &[(Duration, GpuReading)]) -> Option<f64> {
    let ((_, first), (_, last)) = readings.first().zip(readings.last())?;
    first.energy_joules.zip(last.energy_joules).map(|(from, to)| to - from).filter(|&joules| joules >= 0.0)
}

/// Power over time, by trapezes; `None` where a reading lacks it.
fn integrated_energy(readings: &[(Duration, GpuReading)]) -> Option<f64> {
    let trapeze = |((from, before), (to, after)): (&(Duration, GpuReading), &(Duration, GpuReading))| {
        let mean = (before.power_watts? + after.power_watts?) / 2.0;
        Some(mean * to.saturating_sub(*from).as_secs_f64())
    };
    readings.iter().zip(readings.iter().skip(1)).map(trapeze).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(power: f64, energy: Option<f64>) -> GpuReading {
        GpuReading { power_watts: Some(power), energy_joules: energy, ..GpuReading::default() }
    }

    fn at(seconds: f64, reading: GpuReading) -> (Duration, GpuReading) {
        (Duration::from_secs_f64(seconds), reading)
    }

    /// Joules and watts of those readings.
    fn check(readings: &[(Duration, GpuReading)], expected: (Option<f64>, Option<f64>)) {
        let conditions = Conditions::of(readings);
        assert_eq!((conditions.energy_joules, conditions.power_watts), expected);
    }

    #[test]
    fn energy_is_counted_or_else_integrated() {
        let counted = |from, to| [at(0.0, reading(90.0, from)), at(2.0, reading(110.0, to))];
        check(&counted(Some(1000.0), Some(1250.0)), (Some(250.0), Some(125.0)));
        // The counter began anew: the integral of the power says it.
        check(&counted(Some(1000.0), Some(10.0)), (Some(200.0), Some(100.0)));
        check(&counted(None, Some(10.0)), (Some(200.0), Some(100.0)));
        let uneven = [at(0.0, reading(0.0, None)), at(1.0, reading(100.0, None)), at(3.0, reading(100.0, None))];
        check(&uneven, (Some(250.0), Some(250.0 / 3.0)));
        // Too short a time for energy; the power is what was seen.
        check(&[at(0.0, reading(90.0, Some(1.0))), at(0.4, reading(110.0, Some(2.0)))], (None, Some(100.0)));
        check(&[at(0.0, reading(90.0, Some(1.0)))], (None, Some(90.0)));
        let gap = [at(0.0, reading(1.0, None)), at(1.0, GpuReading::default()), at(2.0, reading(3.0, None))];
        check(&gap, (None, Some(2.0)));
        check(&[], (None, None));
        assert!(!Conditions::of(&[]).is_known());
    }

    #[test]
    fn readings_are_summed_up_over_time() {
        let moment = |temperature, clock, memory, reason: &[ThrottleReason]| GpuReading {
            temperature_celsius: Some(temperature),
            sm_clock_megahertz: Some(clock),
            memory_used_bytes: Some(memory),
            throttle_reasons: reason.iter().copied().collect(),
            ..GpuReading::default()
        };
        let readings = [
            at(0.0, moment(60.0, 1000.0, 5, &[])),
            at(1.0, moment(71.0, 1900.0, 7, &[ThrottleReason::Thermal])),
            at(2.0, moment(70.0, 1600.0, 6, &[ThrottleReason::PowerCap])),
        ];
        let conditions = Conditions::of(&readings);
        assert_eq!(conditions.gpu_temperature_celsius, Some(71.0));
        assert_eq!(conditions.sm_clock_megahertz, Some(1500.0));
        assert_eq!(conditions.gpu_memory_used_bytes, Some(7));
        assert_eq!(conditions.throttle_reasons, [ThrottleReason::PowerCap, ThrottleReason::Thermal].into());
        assert!(conditions.is_known());
    }

    #[test]
    fn several_gpus_are_one_reading() {
        let gpu = |utilization, clock, power, energy| GpuReading {
            temperature_celsius: Some(50.0 + 10.0 * utilization),
            sm_clock_megahertz: Some(clock),
            utilization: Some(utilization),
            power_watts: power,
            memory_used_bytes: Some(1 << 30),
            energy_joules: energy,
            ..GpuReading::default()
        };
        let both = GpuReading::of_all(&[gpu(0.9, 1700.0, Some(300.0), Some(5.0)), gpu(0.1, 210.0, Some(60.0), None)]);
        assert_eq!(both.temperature_celsius, Some(59.0));
        assert_eq!((both.sm_clock_megahertz, both.utilization), (Some(1700.0), Some(0.9)));
        assert_eq!((both.power_watts, both.energy_joules), (Some(360.0), None));
        assert_eq!(both.memory_used_bytes, Some(2 << 30));
        assert_eq!(GpuReading::of_all(&[]), GpuReading::default());
    }
}
