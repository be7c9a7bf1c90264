//! Connections: how many there are, how long each may take its time, and the way out.
//!
//! What visitors do must not cost a measurement its memory, its file descriptors or its
//! threads, so there are only so many seats. Who comes when all are taken gets the seat of
//! whoever has sat longest: an idle connection costs its owner nothing to open again.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Security;
use super::patience::Patient;

/// The most connections of one listener. Few programs scrape, and the file descriptors of a
/// process, often 1024, belong to what measures.
pub const SEATS: usize = 128;
/// The most time from one answer to the next request, and for its headers.
const HEADERS: Duration = Duration::from_secs(30);
const HEADER_BYTES: usize = 64 << 10;
const HANDSHAKE: Duration = Duration::from_secs(10);
/// The most time for which a visitor takes not a byte of an answer.
const STALL: Duration = Duration::from_secs(10);
/// How long an answer under way may hold a seat that was given away.
const FAREWELL: Duration = Duration::from_secs(2);
/// How long answers under way may hold the stop.
const DRAIN: Duration = Duration::from_secs(2);
/// How long somebody who was asked to leave is waited for before the next is asked.
const ASK_NEXT_AFTER: Duration = Duration::from_millis(50);
/// The rest after the system could not hand out a connection.
const OUT_OF_BREATH: Duration = Duration::from_secs(1);

/// Serves until `stop`, then lets answers under way end, but for no longer than two seconds:
/// a client that does not read must not hold the stop. Its connection ends with the runtime.
pub async fn serve(listener: TcpListener, router: Router, security: Security, stop: impl Future<Output = ()>) {
    let router = security.before(router);
    let mut hall = Hall::new(SEATS);
    let connections = TaskTracker::new();
    let stopping = CancellationToken::new();
    let mut stop = pin!(stop);
    loop {
        let (stream, seat) = tokio::select! {
            () = &mut stop => break,
            seated = next(&listener, &mut hall) => seated,
        };
        let leave = stopping.child_token();
        let host = host(stream, router.clone(), security.clone(), leave.clone());
        let task = connections.spawn(async move {
            host.await;
            drop(seat);
        });
        hall.guests.push_back(Guest { leave, task: task.abort_handle() });
    }
    stopping.cancel();
    connections.close();
    if timeout(DRAIN, connections.wait()).await.is_err() {
        tracing::warn!(seconds = DRAIN.as_secs(), "connections were still open at the stop");
    }
}

/// The next connection, with a seat.
async fn next(listener: &TcpListener, hall: &mut Hall) -> (TcpStream, OwnedSemaphorePermit) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, hall.seat().await),
            // The visitor is gone already.
            Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) => {
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(OUT_OF_BREATH).await;
            }
        }
    }
}

/// The seats, and who sits on them.
#[derive(Debug)]
struct Hall {
    seats: Arc<Semaphore>,
    count: usize,
    /// The longest-seated first; those who left are still among them for a while.
    guests: VecDeque<Guest>,
}

#[derive(Debug)]
struct Guest {
    leave: CancellationToken,
    task: AbortHandle,
}

impl Hall {
    fn new(count: usize) -> Self {
        Self { seats: Arc::new(Semaphore::new(count)), count, guests: VecDeque::new() }
    }

    async fn seat(&mut self) -> OwnedSemaphorePermit {
        if self.guests.len() >= self.count {
            self.guests.retain(|guest| !guest.task.is_finished());
        }
        loop {
            if let Ok(seat) = self.seats.clone().try_acquire_owned() {
                return seat;
            }
            if let Some(guest) = self.guests.pop_front() {
                guest.leave.cancel();
            }
            // The semaphore is never closed.
            if let Ok(Ok(seat)) = timeout(ASK_NEXT_AFTER, self.seats.clone().acquire_owned()).await {
                return seat;
            }
        }
    }
}

/// One connection from its first byte to its end.
async fn host(stream: TcpStream, router: Router, security: Security, leave: CancellationToken) {
    let guard = security.newest().await;
    // What is small is sent at once.
    let _ = stream.set_nodelay(true);
    let stream = Patient::new(stream, STALL);
    match &guard.tls {
        None => converse(stream, router, leave).await,
        Some(config) => {
            let handshake = timeout(HANDSHAKE, TlsAcceptor::from(config.clone()).accept(stream));
            let shaken = tokio::select! {
                () = leave.cancelled() => return,
                shaken = handshake => shaken,
            };
            match shaken {
                Ok(Ok(stream)) => converse(stream, router, leave).await,
                Ok(Err(error)) => tracing::debug!(%error, "no TLS session"),
                Err(_) => tracing::debug!("a TLS handshake took too long"),
            }
        }
    }
}

/// Answers requests until the visitor goes, or is asked to `leave` and had time to.
async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin + 'static, router: Router, leave: CancellationToken) {
    let mut protocol = http1::Builder::new();
    protocol.timer(TokioTimer::new()).header_read_timeout(HEADERS).max_buf_size(HEADER_BYTES);
    let mut connection = pin!(protocol.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = leave.cancelled() => {
            connection.as_mut().graceful_shutdown();
            timeout(FAREWELL, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke off");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_longest_seated_gives_the_seat_away() {
        let mut hall = Hall::new(2);
        let tasks = TaskTracker::new();
        let mut leaves = Vec::new();
        for n in 0..4 {
            let seat = hall.seat().await;
            let leave = CancellationToken::new();
            // The first does not go when asked, but for a while.
            let lingers = if n == 0 { Duration::from_secs(3600) } else { Duration::ZERO };
            let asked = leave.clone();
            let task = tasks.spawn(async move {
                asked.cancelled().await;
                sleep(lingers).await;
                drop(seat);
            });
            hall.guests.push_back(Guest { leave: leave.clone(), task: task.abort_handle() });
            leaves.push(leave);
        }
        let asked: Vec<bool> = leaves.iter().map(CancellationToken::is_cancelled).collect();
        assert_eq!(asked, [true, true, true, false], "the first keeps its seat, so the next are asked");
    }
}
