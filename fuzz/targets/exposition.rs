//! See the check.
#![no_main]

#[path = "../checks/exposition.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|data: &[u8]| check::hold(data));
