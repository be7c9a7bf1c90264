//! What a child writes: into the log, bounded, its last lines for error messages, and the first
//! line as the answer of a program that was asked something.
//!
//! Threads of their own read it, which do nothing else, so that neither a flood nor a slow log holds
//! up what is measured, and the child never waits for a reader. A thread ends when the
//! last process that can write has closed the pipe: a daemon that a hook left behind may
//! write on as long as llmsoak runs.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use memchr::memchr2;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::priority;

const STDOUT: &str = "stdout";
/// Lines that are kept for error messages.
const LAST_LINES: usize = 5;
/// Of a line, after which it is cut.
const MOST_BYTES: usize = 500;
/// Lines of one stream that may come at once: a server says much when it starts.
const BURST: u32 = 100;
/// After so long each stream may say one more line.
const REFILL: Duration = Duration::from_secs(5);
/// How long last lines are waited for after the end of the process.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Both streams of a child.
#[derive(Debug)]
pub(super) struct Output {
    tail: Tail,
    /// The first line of stdout.
    first: Arc<OnceLock<String>>,
    /// Closed when both streams are at their end.
    open: mpsc::Receiver<()>,
    /// When it was first noticed that the child has ended.
    ended: Option<Instant>,
}

impl Output {
    /// Pipes for stdout and stderr, which are read from now on. The log has them as
    /// `target`'s, where there is one.
    pub(super) fn follow(target: Option<&str>) -> io::Result<(Self, Stdio, Stdio)> {
        let (still_open, open) = mpsc::channel(1);
        let (tail, first) = (Tail::default(), Arc::new(OnceLock::new()));
        let start = |stream: &'static str| -> io::Result<Stdio> {
            let (reader, writer) = io::pipe()?;
            let (tail, still_open) = (tail.clone(), still_open.clone());
            let source = Source { target: target.map(str::to_owned), stream };
            let first = (stream == STDOUT).then(|| first.clone());
            let read = move || {
                priority::be_as_the_process();
                relay(reader, &source, |line| {
                    if let Some(first) = &first {
                        first.get_or_init(|| line.clone());
                    }
                    tail.push(line);
                });
                drop(still_open);
            };
            thread::Builder::new().name(stream.to_owned()).spawn(read)?;
            Ok(writer.into())
        };
        let (stdout, stderr) = (start(STDOUT)?, start("stderr")?);
        Ok((Self { tail, first, open, ended: None }, stdout, stderr))
    }

    /// The first line that a child which has ended wrote to stdout. Cancel-safe.
    pub(super) async fn first_line(&mut self) -> Option<String> {
        self.all_is_read().await;
        self.first.get().cloned()
    }

    /// The last lines of a child that has ended, oldest first. Cancel-safe.
    pub(super) async fn last_lines(&mut self) -> Vec<String> {
        self.all_is_read().await;
        self.lines_so_far()
    }

    async fn all_is_read(&mut self) {
        // Nothing is ever sent: it ends when both threads have.
        let _ = timeout(LAST_WORDS, self.open.recv()).await;
    }

    /// The same without waiting: `None` while lines may still be on their way.
    pub(super) fn last_lines_if_all(&mut self) -> Option<Vec<String>> {
        let ended = *self.ended.get_or_insert_with(Instant::now);
        let is_all = self.open.is_closed() || ended.elapsed() >= LAST_WORDS;
        is_all.then(|| self.lines_so_far())
    }

    fn lines_so_far(&self) -> Vec<String> {
        self.tail.lines().iter().cloned().collect()
    }
}

/// The last lines of a child, from both streams. Cheap to clone.
#[derive(Clone, Debug, Default)]
struct Tail(Arc<Mutex<VecDeque<String>>>);

impl Tail {
    fn lines(&self) -> MutexGuard<'_, VecDeque<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: String) {
        let mut lines = self.lines();
        if lines.len() == LAST_LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }
}

/// Whose words they are.
#[derive(Debug)]
struct Source {
    /// Without one the log does not have them.
    target: Option<String>,
    stream: &'static str,
}

/// Reads to the end of the stream, and lets each line be kept.
fn relay(mut stream: impl Read, source: &Source, keep: impl Fn(String)) {
    let mut cutter = Cutter::default();
    let mut allowance = Allowance::new(Instant::now());
    let mut chunk = [0; 8192];
    loop {
        let read = match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(length) => chunk.get(..length).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        cutter.cut(read, |line| say(source, line, &mut allowance, &keep));
    }
    cutter.finish(|line| say(source, line, &mut allowance, &keep));
    tell_left_out(source, allowance.take_left_out());
}

fn say(source: &Source, line: String, allowance: &mut Allowance, keep: impl Fn(String)) {
    if source.target.is_some() && allowance.admits(Instant::now()) {
        tell_left_out(source, allowance.take_left_out());
        tracing::info!(target = source.target, stream = source.stream, line, "output");
    }
    keep(line);
}

fn tell_left_out(source: &Source, lines: u64) {
    if lines > 0 {
        tracing::info!(target = source.target, stream = source.stream, lines, "lines of output left out");
    }
}

/// Cuts bytes into lines of bounded length.
#[derive(Debug, Default)]
struct Cutter {
    line: Vec<u8>,
    is_too_long: bool,
}

impl Cutter {
    /// Tells each line that ends in those bytes. A carriage return ends one too: progress bars
    /// are written so.
    fn cut(&mut self, mut bytes: &[u8], mut tell: impl FnMut(String)) {
        while let Some((line, rest)) = memchr2(b'\n', b'\r', bytes).and_then(|end| bytes.split_at_checked(end)) {
            self.append(line);
            self.finish(&mut tell);
            bytes = rest.get(1..).unwrap_or_default();
        }
        self.append(bytes);
    }

    fn append(&mut self, bytes: &[u8]) {
        let room = MOST_BYTES - self.line.len();
        self.is_too_long |= bytes.len() > room;
        self.line.extend(bytes.iter().take(room));
    }

    /// Tells what has come of a line, unless there is nothing to see in it.
    fn finish(&mut self, mut tell: impl FnMut(String)) {
        let text = String::from_utf8_lossy(&self.line);
        let text = anstream::adapter::strip_str(&text).to_string();
        let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let text = text.trim_end();
        if !text.is_empty() {
            tell(if self.is_too_long { format!("{text}…") } else { text.to_owned() });
        }
        self.line.clear();
        self.is_too_long = false;
    }
}

/// How many lines may still be told: a burst, and one more with each refill.
#[derive(Debug)]
struct Allowance {
    lines: u32,
    refilled: Instant,
    left_out: u64,
}

impl Allowance {
    fn new(now: Instant) -> Self {
        Self { lines: BURST, refilled: now, left_out: 0 }
    }

    fn admits(&mut self, now: Instant) -> bool {
        while self.lines < BURST && now.duration_since(self.refilled) >= REFILL {
            self.lines += 1;
            self.refilled += REFILL;
        }
        if self.lines == BURST {
            self.refilled = now;
        }
        let rest = self.lines.checked_sub(1);
        match rest {
            Some(rest) => self.lines = rest,
            None => self.left_out += 1,
        }
        rest.is_some()
    }

    /// Lines that were not admitted since the last time.
    fn take_left_out(&mut self) -> u64 {
        std::mem::take(&mut self.left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is told of those pieces of a stream.
    fn check(pieces: &[&[u8]], expected: &[&str]) {
        let (mut cutter, mut lines) = (Cutter::default(), Vec::new());
        pieces.iter().for_each(|piece| cutter.cut(piece, |line| lines.push(line)));
        cutter.finish(|line| lines.push(line));
        assert_eq!(lines, expected);
    }

    #[test]
    fn bytes_are_cut_into_lines() {
        check(&[b"one\ntw", b"o\r\n\n", b"three"], &["one", "two", "three"]);
        check(&[b" 10 %\r 20 %\r", b" 30 %\n"], &[" 10 %", " 20 %", " 30 %"]);
        check(&["schön".as_bytes().split_at(4).0, "schön".as_bytes().split_at(4).1], &["schön"]);
        check(&[b"\xff\n"], &["\u{fffd}"]);
        check(&[b""], &[]);
    }

    #[test]
    fn colours_and_control_characters_are_left_out() {
        check(&[b"\x1b[1;31mbad\x1b[0m news\n", b"a\tb\x07c\x00\n"], &["bad news", "a bc"]);
        check(&[b"\x1b[0m\n"], &[]);
    }

    #[test]
    fn a_line_has_a_bound() {
        let most = "x".repeat(MOST_BYTES);
        check(&[most.as_bytes(), b"\nnext"], &[&most, "next"]);
        check(&[most.as_bytes(), most.as_bytes(), b"\nnext"], &[&format!("{most}…"), "next"]);
    }

    #[test]
    fn a_stream_has_its_burst_and_then_a_line_with_each_refill() {
        let start = Instant::now();
        let mut allowance = Allowance::new(start);
        let mut admitted = |at: Duration, lines: u32| {
            let admitted = (0..lines).filter(|_| allowance.admits(start + at)).count();
            (admitted, allowance.take_left_out())
        };
        let burst = BURST as usize;
        assert_eq!(admitted(Duration::ZERO, BURST + 3), (burst, 3));
        assert_eq!(admitted(REFILL / 2, 2), (0, 2));
        assert_eq!(admitted(REFILL * 2, 3), (2, 1));
        assert_eq!(admitted(REFILL * 10_000, BURST + 1), (burst, 1), "silence gives no more than a burst");
    }

    #[test]
    fn the_last_lines_are_kept_and_the_rest_is_counted() {
        let written: Arc<Mutex<Vec<u8>>> = Arc::default();
        let buffer = written.clone();
        let layer = tracing_subscriber::fmt().with_writer(move || Buffer(buffer.clone())).with_ansi(false).finish();
        let text: String = (1..=1000).map(|number| format!("line {number}\n")).collect();
        let (source, tail) = (Source { target: Some("local".to_owned()), stream: "stderr" }, Tail::default());
        tracing::subscriber::with_default(layer, || relay(text.as_bytes(), &source, |line| tail.push(line)));
        assert_eq!(*tail.lines(), ["line 996", "line 997", "line 998", "line 999", "line 1000"]);
        let log = String::from_utf8(written.lock().expect("is whole").clone()).expect("is text");
        let shown = log.lines().filter(|line| line.contains("output target=\"local\" stream=\"stderr\" line=")).count();
        let left_out =
            log.lines().filter_map(|line| line.split_once("left out")?.1.split_once("lines=")?.1.parse::<usize>().ok());
        assert!(shown >= BURST as usize, "{log}");
        assert_eq!(shown + left_out.sum::<usize>(), 1000, "{log}");
    }

    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Buffer {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("is whole").extend_from_slice(line);
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}
