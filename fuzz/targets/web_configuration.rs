//! See the check.
#![no_main]

#[path = "../checks/web_configuration.rs"]
mod check;
#[path = "../checks/files.rs"]
mod files;

libfuzzer_sys::fuzz_target!(|data: &[u8]| check::hold(data));
