//! Whatever a file to import holds: entries that are sound, or the line that is not.

use jiff::Timestamp;
use llmsoak::exchange::{Content, Malformed, Reading, entries, format_of, survey};

pub fn hold(data: &[u8]) {
    let beginning = String::from_utf8_lossy(data.get(..4096).unwrap_or(data));
    let lines = data.iter().filter(|&&byte| byte == b'\n').count() as u64 + 1;
    if let Err(Malformed { line, what }) = read(&beginning, data) {
        assert!((1..=lines).contains(&line), "line {line} of {lines}");
        assert!(!what.trim().is_empty(), "a line that is wrong without words");
    }
}

fn read(beginning: &str, data: &[u8]) -> Result<Content, Malformed> {
    let reading = Reading { target: "legacy", measured_until: Timestamp::UNIX_EPOCH };
    survey(entries(format_of(beginning)?, &reading, || Ok(data)).expect("reads from memory"))
}
