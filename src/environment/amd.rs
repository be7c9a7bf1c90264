//! AMD's GPUs, as the kernel's `amdgpu` driver tells of them in `/sys`.
//!
//! Every file may be missing: which ones there are differs from card to card. Where there is
//! no counter of energy, the power is added up over time by whoever reads it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::gpu::Gpu;
use super::host::{line, number};
use crate::domain::GpuReading;

/// AMD's number among those of the makers of PCI devices.
const VENDOR: &str = "0x1002";

/// The GPUs in the order of their cards; `root` is `/`, but for tests.
pub(super) fn gpus(root: &Path) -> Vec<Gpu> {
    devices(root).iter().map(|device| gpu(device)).collect()
}

/// The folders of the devices. Cards have connectors beside them, such as `card0-DP-1`.
fn devices(root: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(root.join("sys/class/drm")) else { return Vec::new() };
    let mut cards: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let number = entry.file_name().to_str()?.strip_prefix("card")?.parse().ok()?;
            Some((number, entry.path().join("device")))
        })
        .filter(|(_, device)| line(&device.join("vendor")).as_deref() == Some(VENDOR))
        .collect();
    cards.sort();
    cards.into_iter().map(|(_, device)| device).collect()
}

fn gpu(device: &Path) -> Gpu {
    let product = line(&device.join("product_name"));
    let sensors = sensors(device);
    let sensor = |file: &str| sensors.as_ref().and_then(|sensors| number(&sensors.join(file)));
    let micro = |value: f64| value / 1e6;
    Gpu {
        // Only cards for servers have a name there.
        name: product.or_else(|| line(&device.join("device")).map(|id| format!("AMD {id}"))),
        vbios: line(&device.join("vbios_version")),
        power_limit_watts: sensor("power1_cap").map(micro),
        reading: GpuReading {
            temperature_celsius: sensor("temp1_input").map(|thousandths| thousandths / 1e3),
            sm_clock_megahertz: sensor("freq1_input").map(micro),
            memory_clock_megahertz: sensor("freq2_input").map(micro),
            utilization: number(&device.join("gpu_busy_percent")).map(|percent| percent / 100.0),
            power_watts: sensor("power1_average").or_else(|| sensor("power1_input")).map(micro),
            memory_used_bytes: line(&device.join("mem_info_vram_used")).and_then(|bytes| bytes.parse().ok()),
            // They stand in a table of many layouts that is made for AMD's own tools.
            throttle_reasons: BTreeSet::new(),
            energy_joules: None,
        },
    }
}

/// The folder of the card's sensors: it has one, under a number of its own.
fn sensors(device: &Path) -> Option<PathBuf> {
    let mut folders: Vec<PathBuf> =
        std::fs::read_dir(device.join("hwmon")).ok()?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    folders.sort();
    folders.into_iter().next()
}

#[cfg(test)]
pub(super) mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    /// A folder with files of the kernel's.
    pub(in crate::environment) struct Tree(TempDir);

    impl Tree {
        pub(in crate::environment) fn of(files: &[(&str, &str)]) -> Self {
            let tree = Self(tempfile::tempdir().expect("a folder"));
            let files: Vec<_> = files.iter().map(|&(path, text)| (path.to_owned(), text.to_owned())).collect();
            tree.add(&files);
            tree
        }

        pub(in crate::environment) fn add(&self, files: &[(String, String)]) {
            for (path, text) in files {
                let path = self.root().join(path);
                fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
                fs::write(path, text).expect("a file");
            }
        }

        pub(in crate::environment) fn root(&self) -> &Path {
            self.0.path()
        }
    }

    /// The files of a card at work, as its driver shows them.
    pub(in crate::environment) fn radeon(card: &str) -> Vec<(String, String)> {
        let device = [
            ("vendor", "0x1002"),
            ("device", "0x7448"),
            ("product_name", "AMD Radeon PRO W7900"),
            ("vbios_version", "113-D7070100-138"),
            ("gpu_busy_percent", "98"),
            ("mem_info_vram_used", "31138512896"),
            ("hwmon/hwmon4/name", "amdgpu"),
            ("hwmon/hwmon4/temp1_input", "66000"),
            ("hwmon/hwmon4/power1_average", "187000000"),
            ("hwmon/hwmon4/power1_cap", "241000000"),
            ("hwmon/hwmon4/freq1_input", "2301000000"),
            ("hwmon/hwmon4/freq2_input", "1124000000"),
        ];
        device.map(|(file, text)| (format!("sys/class/drm/{card}/device/{file}"), format!("{text}\n"))).into()
    }

    #[test]
    fn a_card_is_read_from_its_files() {
        let tree = Tree::of(&[]);
        tree.add(&radeon("card0"));
        let reading = GpuReading {
            temperature_celsius: Some(66.0),
            sm_clock_megahertz: Some(2301.0),
            memory_clock_megahertz: Some(1124.0),
            utilization: Some(0.98),
            power_watts: Some(187.0),
            memory_used_bytes: Some(31_138_512_896),
            throttle_reasons: BTreeSet::new(),
            energy_joules: None,
        };
        let name = Some("AMD Radeon PRO W7900".to_owned());
        let vbios = Some("113-D7070100-138".to_owned());
        assert_eq!(gpus(tree.root()), [Gpu { name, vbios, power_limit_watts: Some(241.0), reading }]);
    }

    #[test]
    fn what_a_card_does_not_tell_is_unknown_and_other_cards_are_passed_over() {
        let tree = Tree::of(&[
            ("sys/class/drm/card10/device/vendor", "0x1002\n"),
            ("sys/class/drm/card10/device/device", "0x744c\n"),
            ("sys/class/drm/card10/device/gpu_busy_percent", "busy\n"),
            ("sys/class/drm/card2/device/vendor", "0x1002\n"),
            ("sys/class/drm/card2/device/hwmon/hwmon1/power1_input", "9000000\n"),
            ("sys/class/drm/card0/device/vendor", "0x8086\n"),
            ("sys/class/drm/card2-DP-1/device/vendor", "0x1002\n"),
        ]);
        let second = Gpu { reading: GpuReading { power_watts: Some(9.0), ..GpuReading::default() }, ..Gpu::default() };
        let tenth = Gpu { name: Some("AMD 0x744c".to_owned()), ..Gpu::default() };
        assert_eq!(gpus(tree.root()), [second, tenth]);
        assert_eq!(gpus(Tree::of(&[]).root()), []);
    }
}
