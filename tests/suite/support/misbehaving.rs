//! A server that does what servers should not do: plain TCP, a thread a connection.
//!
//! It answers who it is, misbehaves in its first answers to requests, and is well afterwards.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

/// So many answers to requests are faulty.
const FAULTS: usize = 2;
/// A sound answer takes so long.
const WORK: Duration = Duration::from_millis(5);

/// What a faulty server does once the head and the body of a request were read.
pub(crate) type Fault = Box<dyn Fn(&mut TcpStream) -> std::io::Result<()> + Send + Sync>;

/// The answer to who it is: a model without a kind.
pub(crate) const MODELS: &str = r#"{"object":"list","data":[{"id":"m","object":"model"}]}"#;

pub(crate) struct Misbehaving {
    pub(crate) address: SocketAddr,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    requests: AtomicUsize,
    /// Sound answers, counted before the visitor can know of them.
    answered: AtomicUsize,
    /// How long each faulty answer was listened to.
    held: Mutex<Vec<Duration>>,
}

impl Misbehaving {
    /// A server without a fault.
    pub(crate) fn well(models: &'static str) -> Self {
        Self::serve(models, Box::new(well))
    }

    /// Serves on a thread that ends with the process. `models` is what it says of itself.
    pub(crate) fn serve(models: &'static str, fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("is bound");
        let (seen, fault) = (Arc::new(Seen::default()), Arc::new(fault));
        let noted = seen.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().filter_map(Result::ok) {
                let (fault, seen) = (fault.clone(), noted.clone());
                std::thread::spawn(move || {
                    // Whoever leaves in the middle is none of its business.
                    let _ = answer(stream, models, &fault, &seen);
                });
            }
        });
        Self { address, seen }
    }

    /// How many requests for text came.
    pub(crate) fn requests(&self) -> usize {
        self.seen.requests.load(Ordering::Relaxed)
    }

    /// How many sound answers were begun: no fewer than any visitor has seen.
    pub(crate) fn answered(&self) -> usize {
        self.seen.answered.load(Ordering::Relaxed)
    }

    /// For how long the visitor stayed with a faulty answer, at most.
    pub(crate) fn longest_held(&self) -> Duration {
        self.seen.held.lock().expect("no panic").iter().copied().max().unwrap_or_default()
    }
}

fn answer(mut stream: TcpStream, models: &str, fault: &Fault, seen: &Seen) -> std::io::Result<()> {
    let head = read_request(&mut stream)?;
    let mut words = head.split(' ');
    match (words.next(), words.next()) {
        (Some("GET"), Some("/v1/models")) => whole(&mut stream, "200 OK", "application/json", models),
        (Some("GET"), _) => whole(&mut stream, "404 Not Found", "text/plain", "no"),
        _ if seen.requests.fetch_add(1, Ordering::Relaxed) < FAULTS => {
            let began = Instant::now();
            // Where it did not break off, what comes now is the visitor's end.
            if fault(&mut stream).is_ok() {
                let _ = stream.set_read_timeout(Some(Duration::from_secs(60)));
                let _ = stream.read(&mut [0; 1]);
            }
            seen.held.lock().expect("no panic").push(began.elapsed());
            Ok(())
        }
        _ => {
            seen.answered.fetch_add(1, Ordering::Relaxed);
            well(&mut stream)
        }
    }
}

/// Reads a request to the end of its body; its head.
fn read_request(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let count = stream.read(&mut piece)?;
        if count == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(piece.get(..count).unwrap_or_default());
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head
            .to_ascii_lowercase()
            .split("content-length: ")
            .nth(1)
            .map_or(0, |rest| rest.split("\r\n").next().and_then(|number| number.parse().ok()).unwrap_or(0));
        if body.len() >= length {
            return Ok(head.to_owned());
        }
    }
}

/// An answer of known length.
pub(crate) fn whole(stream: &mut TcpStream, status: &str, kind: &str, body: &str) -> std::io::Result<()> {
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// The head of a stream that ends with the connection.
pub(crate) fn begin(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
}

/// The event of one token.
pub(crate) fn token(text: &str) -> String {
    format!("data: {{\"choices\":[{{\"text\":\"{text}\"}}]}}\n\n")
}

/// The event that ends an answer.
pub(crate) const FINISH: &str = "data: {\"choices\":[{\"text\":\"\",\"finish_reason\":\"length\"}]}\n\n";
pub(crate) const DONE: &str = "data: [DONE]\n\n";

/// So many different tokens.
pub(crate) fn tokens(count: usize) -> String {
    (0..count).map(|n| token(&format!("t{n} "))).collect()
}

/// An answer as it should be, of eight tokens.
fn well(stream: &mut TcpStream) -> std::io::Result<()> {
    std::thread::sleep(WORK);
    begin(stream)?;
    let usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":64,\"completion_tokens\":8}}\n\n";
    stream.write_all(format!("{}{FINISH}{usage}{DONE}", tokens(8)).as_bytes())
}
