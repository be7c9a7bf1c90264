//! A server of the tests' own: it answers the paths that it knows, and keeps what it was asked.
//!
//! Plain TCP, a connection a request. It must not know how servers work: a test says what comes.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::Client;
use crate::domain::plan::{Api, Connection};

/// An answer: its status, its body, and how much longer it claims to be.
pub(super) type Answer = (u16, &'static str, usize);

/// What was asked: the path, the whole head in small letters, the body.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) path: String,
    pub(super) head: String,
    pub(super) body: String,
}

pub(super) struct Scripted {
    pub(super) client: Client,
    asked: Arc<Mutex<Vec<Request>>>,
}

impl Scripted {
    /// A server that is asked in OpenAI's API, and names itself nowhere.
    pub(super) async fn start(answer: impl Fn(&str) -> Answer + Send + 'static) -> Self {
        Self::start_as(Api::OpenAi, "", move |path, _| answer(path)).await
    }

    /// The same in that API, with that `Server` header; it sees the bodies too.
    pub(super) async fn start_as(
        api: Api,
        name: &'static str,
        answer: impl Fn(&str, &str) -> Answer + Send + 'static,
    ) -> Self {
        Self::start_raw(api, move |path, body| {
            let (status, body, missing) = answer(path, body);
            let length = body.len() + missing;
            let name = if name.is_empty() { String::new() } else { format!("Server: {name}\r\n") };
            let head = format!("HTTP/1.1 {status} -\r\n{name}Content-Length: {length}\r\nConnection: close\r\n\r\n");
            vec![format!("{head}{body}").into_bytes()]
        })
        .await
    }

    /// A server that writes those pieces, and then ends the connection.
    pub(super) async fn start_raw(api: Api, answer: impl Fn(&str, &str) -> Vec<Vec<u8>> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let request = request(&mut stream).await;
                let pieces = answer(&request.path, &request.body);
                log.lock().expect("no panic").push(request);
                for piece in pieces {
                    // Who has heard enough may leave.
                    if stream.write_all(&piece).await.is_err() {
                        break;
                    }
                }
            }
        });
        let client = Client::new(&Connection { url, api, ..Connection::default() }).expect("a client");
        Self { client, asked }
    }

    /// The paths that were asked since the last time.
    pub(super) fn asked(&self) -> Vec<String> {
        self.requests().into_iter().map(|request| request.path).collect()
    }

    /// The requests since the last time.
    pub(super) fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut *self.asked.lock().expect("no panic"))
    }
}

/// Reads a request to its end.
pub(super) async fn request(stream: &mut TcpStream) -> Request {
    let mut read = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&read);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let path = head.split(' ').nth(1).expect("a path").to_owned();
            let head = head.to_lowercase();
            let length = head.split_once("content-length: ").and_then(|(_, rest)| rest.lines().next());
            if body.len() >= length.map_or(0, |length| length.parse().expect("a length")) {
                return Request { path, head, body: body.to_owned() };
            }
        }
        assert!(stream.read_buf(&mut read).await.expect("a request") > 0, "half a request");
    }
}
