//! The truth server: streams tokens as an OpenAI-compatible server does, and remembers when it
//! wrote each of them.
//!
//! It runs in a process of its own, so that its processor time is not counted as a client's. The
//! path says how it serves: `/paced/TTFT/ITL/…` with both in microseconds, on absolute deadlines,
//! each token a write; `/flood/N/…` as fast as it is read, N tokens a write. A request's `seed`
//! is its name in the truth.

use std::collections::BinaryHeap;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::yield_now;

use super::clock::{come_first, now, runtime};

/// The pacer looks for new streams at least this often.
const LOOK: Duration = Duration::from_millis(1);
/// The head of a request is not longer than this.
const MOST_HEAD: usize = 64 << 10;
const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

/// What the server knows of one request. Times are of the monotonic clock, nanoseconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Served {
    pub(crate) seed: u32,
    /// When the request had been read.
    pub(crate) arrived: u64,
    /// Just before each write of a token.
    pub(crate) writes: Vec<u64>,
}

/// What the server counted since it started.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) requests: u64,
    /// When the first byte of anybody arrived, and the first request for tokens; 0 before.
    pub(crate) first_probe: u64,
    pub(crate) first_request: u64,
}

#[derive(Default)]
struct Shared {
    served: Mutex<Vec<Served>>,
    requests: AtomicU64,
    first_probe: AtomicU64,
    first_request: AtomicU64,
}

/// Serves until the standard input closes; prints the address first.
pub(crate) fn serve() {
    let runtime = runtime("truth");
    let (jobs, waiting) = mpsc::channel();
    std::thread::spawn(move || {
        come_first();
        pace(&waiting);
    });
    let shared = Arc::new(Shared::default());
    runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket.bind(([127, 0, 0, 1], 0).into()).expect("a free port");
        let listener = socket.listen(8192).expect("a port");
        println!("http://{}", listener.local_addr().expect("is bound"));
        std::io::stdout().flush().expect("somebody reads");
        tokio::spawn(accept(listener, shared, jobs));
        let end = || std::io::stdin().read_to_end(&mut Vec::new());
        let _ = tokio::task::spawn_blocking(end).await;
    });
    runtime.shutdown_background();
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, jobs: mpsc::Sender<Job>) {
    while let Ok((stream, _)) = listener.accept().await {
        stream.set_nodelay(true).expect("TCP");
        tokio::spawn(converse(Arc::new(stream), shared.clone(), jobs.clone()));
    }
}

/// One connection, request after request.
async fn converse(stream: Arc<TcpStream>, shared: Arc<Shared>, jobs: mpsc::Sender<Job>) {
    let mut buffer = Vec::with_capacity(1024);
    while let Some(request) = read_request(&stream, &mut buffer).await {
        let arrived = now();
        if request.path.ends_with("/chat/completions") || request.path.ends_with("/completions") {
            shared.requests.fetch_add(1, Relaxed);
            let _ = shared.first_request.compare_exchange(0, arrived, Relaxed, Relaxed);
            if answer(&stream, &request, arrived, &shared, &jobs).await.is_none() {
                return;
            }
        } else if tell(&stream, &request.path, arrived, &shared).await.is_none() {
            return;
        }
    }
}

struct Request {
    path: String,
    body: Vec<u8>,
}

/// Reads a request; `None` at the end of the connection.
async fn read_request(stream: &TcpStream, buffer: &mut Vec<u8>) -> Option<Request> {
    loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
            let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
            let length: usize = length.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
            if buffer.len() >= end + 4 + length {
                let rest = buffer.split_off(end + 4 + length);
                let body = buffer.split_off(end + 4);
                *buffer = rest;
                return Some(Request { path: head.split(' ').nth(1)?.to_owned(), body });
            }
        }
        stream.readable().await.ok()?;
        match stream.try_read_buf(buffer) {
            Ok(0) => return None,
            Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => return None,
            _ if buffer.len() > MOST_HEAD => return None,
            _ => {}
        }
    }
}

/// Answers what is no request for tokens.
async fn tell(stream: &TcpStream, path: &str, arrived: u64, shared: &Shared) -> Option<()> {
    let (status, body) = match path {
        "/truth" => {
            let served = std::mem::take(&mut *shared.served.lock().expect("no holder panics"));
            ("200 OK", serde_json::to_string(&served).expect("plain data"))
        }
        "/counts" => {
            let counts = Counts {
                requests: shared.requests.load(Relaxed),
                first_probe: shared.first_probe.load(Relaxed),
                first_request: shared.first_request.load(Relaxed),
            };
            ("200 OK", serde_json::to_string(&counts).expect("plain data"))
        }
        _ => {
            let _ = shared.first_probe.compare_exchange(0, arrived, Relaxed, Relaxed);
            if path.ends_with("/v1/models") {
                ("200 OK", r#"{"object":"list","data":[{"id":"truth","object":"model"}]}"#.to_owned())
            } else {
                ("404 Not Found", String::new())
            }
        }
    };
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
    write_all(stream, &[head.as_bytes(), body.as_bytes()].concat()).await
}

#[derive(Deserialize)]
struct Asked {
    max_tokens: u32,
    seed: u32,
}

async fn answer(
    stream: &Arc<TcpStream>,
    request: &Request,
    arrived: u64,
    shared: &Shared,
    jobs: &mpsc::Sender<Job>,
) -> Option<()> {
    let asked: Asked = serde_json::from_slice(&request.body).expect("the clients say what they want");
    let mut parts = request.path.split('/').skip(1);
    let mode = parts.next()?;
    let mut number = || parts.next()?.parse::<u64>().ok();
    write_all(stream, HEAD).await?;
    if mode == "paced" {
        let (first, step) = (number()? * 1000, number()? * 1000);
        stream.writable().await.ok()?;
        let (done, writes) = oneshot::channel();
        let writes_so_far = Vec::with_capacity(asked.max_tokens as usize);
        let stream = stream.clone();
        let job = Job { due: arrived + first, step, left: asked.max_tokens, stream, writes: writes_so_far, done };
        jobs.send(job).expect("the pacer lives");
        let served = Served { seed: asked.seed, arrived, writes: writes.await.ok()? };
        shared.served.lock().expect("no holder panics").push(served);
    } else {
        let tokens = u32::try_from(number()?).ok()?;
        let block = piece(&TOKEN.repeat(tokens as usize));
        let mut left = asked.max_tokens;
        while left >= tokens {
            write_all(stream, &block).await?;
            left -= tokens;
            // Else one stream would be served alone until its socket is full.
            yield_now().await;
        }
        if left > 0 {
            write_all(stream, &piece(&TOKEN.repeat(left as usize))).await?;
        }
    }
    write_all(stream, &tail(asked.max_tokens)).await
}

async fn write_all(stream: &TcpStream, mut bytes: &[u8]) -> Option<()> {
    while !bytes.is_empty() {
        match stream.try_write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => stream.writable().await.ok()?,
            Err(_) => return None,
        }
    }
    Some(())
}

/// One token, as vLLM writes it.
const TOKEN: &str = concat!(
    r#"data: {"id":"chatcmpl-7f6b2c1e9a3d4f58","object":"chat.completion.chunk","created":1780000000,"#,
    r#""model":"truth","choices":[{"index":0,"delta":{"content":" token"},"logprobs":null,"finish_reason":null}]}"#,
    "\n\n"
);

/// A piece of a chunked body.
fn piece(text: &str) -> Vec<u8> {
    format!("{:x}\r\n{text}\r\n", text.len()).into_bytes()
}

/// What ends a stream of so many tokens.
fn tail(tokens: u32) -> Vec<u8> {
    let mut events = String::new();
    let _ = write!(
        events,
        "data: {{\"choices\":[{{\"index\":0,\"delta\":{{}},\"finish_reason\":\"length\"}}]}}\n\n\
         data: {{\"choices\":[],\"usage\":{{\"prompt_tokens\":64,\"completion_tokens\":{tokens}}}}}\n\ndata: [DONE]\n\n"
    );
    let mut bytes = piece(&events);
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}

/// A stream that is paced.
struct Job {
    /// When the next token is due.
    due: u64,
    step: u64,
    left: u32,
    stream: Arc<TcpStream>,
    writes: Vec<u64>,
    done: oneshot::Sender<Vec<u64>>,
}

impl PartialEq for Job {
    fn eq(&self, other: &Self) -> bool {
        self.due == other.due
    }
}

impl Eq for Job {}

impl PartialOrd for Job {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Job {
    /// The heap gives its greatest first: the earliest.
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        other.due.cmp(&self.due)
    }
}

/// Writes every token when it is due, one thread for all streams.
fn pace(waiting: &mpsc::Receiver<Job>) {
    let token = piece(TOKEN);
    let mut streams = BinaryHeap::new();
    loop {
        if streams.is_empty() {
            let Ok(job) = waiting.recv() else { return };
            streams.push(job);
        }
        streams.extend(waiting.try_iter());
        let wait = streams.peek().map_or(0, |job: &Job| job.due.saturating_sub(now()));
        if wait > 0 {
            std::thread::sleep(Duration::from_nanos(wait).min(LOOK));
            continue;
        }
        let Some(mut job) = streams.pop() else { continue };
        job.writes.push(now());
        match job.stream.try_write(&token) {
            Ok(written) => assert_eq!(written, token.len(), "the client does not read"),
            Err(error) => {
                assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "the client does not read");
                // It gave up, and what was told it is nobody's truth.
                continue;
            }
        }
        job.due += job.step;
        job.left -= 1;
        if job.left == 0 {
            let _ = job.done.send(job.writes);
        } else {
            streams.push(job);
        }
    }
}
