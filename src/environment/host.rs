//! What the kernel tells in files: its release, and which drivers it has loaded.

use std::path::Path;

/// The most bytes of a file that is read: each holds a word or a line.
const MOST_BYTES: u64 = 4096;

/// The text of a small file of the kernel's, trimmed; `None` where it is not there or empty.
pub(super) fn line(path: &Path) -> Option<String> {
    use std::io::Read as _;

    let mut text = String::new();
    std::fs::File::open(path).ok()?.take(MOST_BYTES).read_to_string(&mut text).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// A number in such a file.
pub(super) fn number(path: &Path) -> Option<f64> {
    line(path)?.parse().ok().filter(|number: &f64| number.is_finite())
}

/// The release of the running kernel; `root` is `/`, but for tests.
pub(super) fn kernel(root: &Path) -> Option<String> {
    line(&root.join("proc/sys/kernel/osrelease"))
}

/// Whether NVIDIA's driver is loaded.
pub(super) fn has_nvidia_driver(root: &Path) -> bool {
    root.join("sys/module/nvidia").exists()
}

/// The version of a driver that is loaded, where it tells: those that come with the kernel have
/// the kernel's.
pub(super) fn driver_version(root: &Path, module: &str) -> Option<String> {
    line(&root.join("sys/module").join(module).join("version"))
}
