//! NVIDIA's GPUs, through the library that comes with their driver.
//!
//! The only file that knows the library. What it answers is first noted as it is ([`Answers`]),
//! in its own units, and then understood: the second step needs no GPU.

use std::collections::BTreeSet;
use std::ffi::OsStr;

use nvml_wrapper::Nvml;
use nvml_wrapper::bitmasks::device::ThrottleReasons;
use nvml_wrapper::enum_wrappers::device::{Clock, TemperatureSensor};
use nvml_wrapper::error::NvmlError;

use super::gpu::Gpu;
use crate::domain::{GpuReading, ThrottleReason};

/// The library's name: the one without a number comes only with what programs are built with.
pub(super) const LIBRARY: &str = "libnvidia-ml.so.1";

/// A driver that answered. While it is held the driver cannot be taken out of the kernel, as
/// for an update: let go of it when there is nothing to ask for a while.
pub(super) struct Driver {
    nvml: Nvml,
}

/// What the driver tells of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Versions {
    pub(super) driver: Option<String>,
    /// The newest CUDA that it can run.
    pub(super) cuda: Option<String>,
}

impl Driver {
    /// # Errors
    /// Where there is no such library, or it finds no driver that fits it.
    pub(super) fn open(library: &OsStr) -> Result<Self, NvmlError> {
        Nvml::builder().lib_path(library).init().map(|nvml| Self { nvml })
    }

    /// # Errors
    /// Where the driver answers no more.
    pub(super) fn versions(&self) -> Result<Versions, NvmlError> {
        let driver = Some(self.nvml.sys_driver_version()?);
        Ok(Versions { driver, cuda: self.nvml.sys_cuda_driver_version().ok().map(cuda_version) })
    }

    /// The GPUs in the driver's order.
    ///
    /// # Errors
    /// Where the driver answers no more.
    pub(super) fn gpus(&self) -> Result<Vec<Gpu>, NvmlError> {
        (0..self.nvml.device_count()?).map(|index| Ok(self.ask(index)?.understood())).collect()
    }

    fn ask(&self, index: u32) -> Result<Answers, NvmlError> {
        let device = self.nvml.device_by_index(index)?;
        // What a GPU does not support is no failure of the others.
        Ok(Answers {
            name: device.name().ok(),
            vbios: device.vbios_version().ok(),
            power_limit_milliwatts: device.power_management_limit().ok(),
            temperature_celsius: device.temperature(TemperatureSensor::Gpu).ok(),
            sm_clock_megahertz: device.clock_info(Clock::SM).ok(),
            memory_clock_megahertz: device.clock_info(Clock::Memory).ok(),
            utilization_percent: device.utilization_rates().ok().map(|rates| rates.gpu),
            power_milliwatts: device.power_usage().ok(),
            memory_used_bytes: device.memory_info().ok().map(|memory| memory.used),
            throttle_bits: device.current_throttle_reasons().ok().map(|reasons| reasons.bits()),
            energy_millijoules: device.total_energy_consumption().ok(),
        })
    }
}

/// What the library says of one GPU, as it says it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Answers {
    name: Option<String>,
    vbios: Option<String>,
    power_limit_milliwatts: Option<u32>,
    temperature_celsius: Option<u32>,
    sm_clock_megahertz: Option<u32>,
    memory_clock_megahertz: Option<u32>,
    utilization_percent: Option<u32>,
    power_milliwatts: Option<u32>,
    memory_used_bytes: Option<u64>,
    throttle_bits: Option<u64>,
    energy_millijoules: Option<u64>,
}

impl Answers {
    fn understood(self) -> Gpu {
        let thousandth = |value: u32| f64::from(value) / 1e3;
        Gpu {
            name: self.name,
            vbios: self.vbios,
            power_limit_watts: self.power_limit_milliwatts.map(thousandth),
            reading: GpuReading {
                temperature_celsius: self.temperature_celsius.map(f64::from),
                sm_clock_megahertz: self.sm_clock_megahertz.map(f64::from),
                memory_clock_megahertz: self.memory_clock_megahertz.map(f64::from),
                utilization: self.utilization_percent.map(|percent| f64::from(percent) / 100.0),
                power_watts: self.power_milliwatts.map(thousandth),
                memory_used_bytes: self.memory_used_bytes,
                throttle_reasons: throttle_reasons(self.throttle_bits.unwrap_or_default()),
                energy_joules: self.energy_millijoules.map(|millijoules| millijoules as f64 / 1e3),
            },
        }
    }
}

/// An idle GPU is not throttled: it lowers its clocks by itself.
fn throttle_reasons(bits: u64) -> BTreeSet<ThrottleReason> {
    const REASONS: [(ThrottleReasons, ThrottleReason); 8] = [
        (ThrottleReasons::SW_POWER_CAP, ThrottleReason::PowerCap),
        (ThrottleReasons::SW_THERMAL_SLOWDOWN, ThrottleReason::Thermal),
        (ThrottleReasons::HW_THERMAL_SLOWDOWN, ThrottleReason::Thermal),
        (ThrottleReasons::HW_POWER_BRAKE_SLOWDOWN, ThrottleReason::PowerBrake),
        (ThrottleReasons::HW_SLOWDOWN, ThrottleReason::Hardware),
        (ThrottleReasons::APPLICATIONS_CLOCKS_SETTING, ThrottleReason::ClockSetting),
        (ThrottleReasons::DISPLAY_CLOCK_SETTING, ThrottleReason::ClockSetting),
        (ThrottleReasons::SYNC_BOOST, ThrottleReason::ClockSetting),
    ];
    let seen = ThrottleReasons::from_bits_truncate(bits);
    REASONS.iter().filter(|(flag, _)| seen.contains(*flag)).map(|(_, reason)| *reason).collect()
}

/// The library has 12.4 as 12040.
fn cuda_version(number: i32) -> String {
    format!("{}.{}", number / 1000, number % 1000 / 10)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// As `nvidia-smi -q` shows an H100 at work, in the library's units.
    fn recorded() -> Answers {
        Answers {
            name: Some("NVIDIA H100 80GB HBM3".to_owned()),
            vbios: Some("96.00.99.00.01".to_owned()),
            power_limit_milliwatts: Some(700_000),
            temperature_celsius: Some(61),
            sm_clock_megahertz: Some(1980),
            memory_clock_megahertz: Some(2619),
            utilization_percent: Some(97),
            power_milliwatts: Some(498_231),
            memory_used_bytes: Some(72_318_189_568),
            throttle_bits: Some(0x24),
            energy_millijoules: Some(1_234_567_890_123),
        }
    }

    #[test]
    fn recorded_answers_are_understood() {
        let gpu = recorded().understood();
        assert_eq!(gpu.name.as_deref(), Some("NVIDIA H100 80GB HBM3"));
        assert_eq!(gpu.power_limit_watts, Some(700.0));
        let reading = GpuReading {
            temperature_celsius: Some(61.0),
            sm_clock_megahertz: Some(1980.0),
            memory_clock_megahertz: Some(2619.0),
            utilization: Some(0.97),
            power_watts: Some(498.231),
            memory_used_bytes: Some(72_318_189_568),
            throttle_reasons: [ThrottleReason::PowerCap, ThrottleReason::Thermal].into(),
            energy_joules: Some(1_234_567_890.123),
        };
        assert_eq!(gpu.reading, reading);
        // A slice of a GPU tells little.
        assert_eq!(Answers::default().understood(), Gpu::default());
    }

    #[test]
    fn reasons_have_their_words_and_idling_has_none() {
        let check = |bits, expected: &[ThrottleReason]| {
            assert_eq!(throttle_reasons(bits), expected.iter().copied().collect(), "{bits:#x}");
        };
        check(0, &[]);
        check(0x1, &[]);
        check(0x4, &[ThrottleReason::PowerCap]);
        check(0x48, &[ThrottleReason::Thermal, ThrottleReason::Hardware]);
        check(0x80, &[ThrottleReason::PowerBrake]);
        check(0x102, &[ThrottleReason::ClockSetting]);
        // One that a later driver may have.
        check(1 << 40, &[]);
    }

    #[test]
    fn cuda_is_told_as_its_makers_write_it() {
        for (number, expected) in [(12_040, "12.4"), (13_000, "13.0"), (11_080, "11.8")] {
            assert_eq!(cuda_version(number), expected);
        }
    }

    #[test]
    fn a_library_that_is_missing_or_broken_is_an_error_and_no_more() {
        let folder = tempfile::tempdir().expect("a folder");
        let library = folder.path().join(LIBRARY);
        assert!(Driver::open(library.as_os_str()).is_err());
        fs::write(&library, "not a library").expect("a file");
        assert!(Driver::open(library.as_os_str()).is_err());
    }
}
