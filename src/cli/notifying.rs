//! Tells others of changes: gathers what comes at one time, and tries again what did not arrive.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::session::Listener;
use crate::config::Config;
use crate::domain::notify::Sink;
use crate::domain::{Epoch, Event, Happening, TargetId};
use crate::metrics::NotificationCounter;
use crate::notify::{Message, Told, client, send};

/// What is told of a target within this time is one message: a slower server changes several
/// measures at once.
const GATHER: Duration = Duration::from_secs(2);
/// Messages that may wait for one place; what comes then is dropped, and counted.
const QUEUE: usize = 100;
/// The waits between attempts; after the last one a message is given up.
const WAITS: [Duration; 5] = [
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(120),
    Duration::from_secs(600),
];
/// At the end of the program messages have so long to leave.
const FAREWELL: Duration = Duration::from_secs(2);

/// Listens until the engine is gone.
pub(super) async fn notify(config: watch::Receiver<Arc<Config>>, counter: NotificationCounter, mut events: Listener) {
    let http = match client() {
        Ok(http) => http,
        Err(error) => {
            tracing::error!(%error, "nobody is notified: the HTTP client cannot be set up");
            // Events that nobody takes would in the end hold up the engine.
            while events.recv().await.is_some() {}
            return;
        }
    };
    let mut senders = JoinSet::new();
    let mut queues = Vec::new();
    for &sink in Sink::ALL {
        let (queue, messages) = mpsc::channel(QUEUE);
        senders.spawn(deliver(sink, http.clone(), config.clone(), counter.clone(), messages));
        queues.push((sink, queue));
    }
    let mut gathered = Gathered::default();
    loop {
        let message = tokio::select! {
            event = events.recv() => match event {
                Some(event) => {
                    gathered.hear(&event, Instant::now());
                    continue;
                }
                None => break,
            },
            () = sleep_until(gathered.due().unwrap_or_else(Instant::now)), if gathered.due().is_some() => {
                gathered.take_due(Instant::now())
            }
        };
        hand_out(message, &queues, &config, &counter);
    }
    hand_out(gathered.take_all(), &queues, &config, &counter);
    drop(queues);
    if timeout(FAREWELL, async { while senders.join_next().await.is_some() {} }).await.is_err() {
        tracing::warn!("not all notifications could be sent before the end");
    }
}

/// What was heard and is not told yet, by target.
#[derive(Debug, Default)]
struct Gathered {
    targets: BTreeMap<TargetId, (Instant, Message)>,
    /// Those whose change of environment was told and that completed no cycle since, with what
    /// changed after that.
    unsettled: BTreeMap<TargetId, Option<Change>>,
}

/// The first epoch of some and the last.
type Change = (Arc<Epoch>, Arc<Epoch>);

impl Gathered {
    fn hear(&mut self, event: &Event, now: Instant) {
        if let Some(told) = self.settled(event) {
            self.add(event, told, now);
        }
    }

    /// What is told of an event. Two servers behind one address are a change each time that the other
    /// one answers: what comes before a cycle is complete is told as one change when it is.
    fn settled(&mut self, event: &Event) -> Option<Told> {
        if matches!(event.happening, Happening::CycleEnded { .. }) {
            let (before, now) = self.unsettled.remove(&event.target)??;
            return (before.identity != now.identity).then_some(Told::Environment { before, now });
        }
        match Told::of(&event.happening)? {
            Told::Environment { before, now } => match self.unsettled.get_mut(&event.target) {
                Some(since) => {
                    let before = since.take().map_or(before, |(first, _)| first);
                    *since = Some((before, now));
                    None
                }
                None => {
                    self.unsettled.insert(event.target.clone(), None);
                    Some(Told::Environment { before, now })
                }
            },
            told => Some(told),
        }
    }

    fn add(&mut self, event: &Event, told: Told, now: Instant) {
        let new = || (now + GATHER, Message { target: event.target.clone(), at: event.at, told: Vec::new() });
        self.targets.entry(event.target.clone()).or_insert_with(new).1.told.push(told);
    }

    fn due(&self) -> Option<Instant> {
        self.targets.values().map(|(due, _)| *due).min()
    }

    fn take_due(&mut self, now: Instant) -> Vec<Message> {
        let due: Vec<TargetId> =
            self.targets.iter().filter(|(_, (due, _))| *due <= now).map(|(id, _)| id.clone()).collect();
        due.iter().filter_map(|id| self.targets.remove(id)).map(|(_, message)| message).collect()
    }

    fn take_all(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.targets).into_values().map(|(_, message)| message).collect()
    }
}

fn hand_out(
    messages: Vec<Message>,
    queues: &[(Sink, mpsc::Sender<Message>)],
    config: &watch::Receiver<Arc<Config>>,
    counter: &NotificationCounter,
) {
    let plan = &config.borrow().notify;
    for message in messages {
        for (sink, queue) in queues.iter().filter(|(sink, _)| plan.has(*sink)) {
            if queue.try_send(message.clone()).is_err() {
                counter.note_failed(*sink);
                tracing::error!(sink = sink.as_str(), "notification dropped: too many wait already");
            }
        }
    }
}

/// Sends the messages for one place one after the other, as the configuration in force says.
async fn deliver(
    sink: Sink,
    http: reqwest::Client,
    config: watch::Receiver<Arc<Config>>,
    counter: NotificationCounter,
    mut messages: mpsc::Receiver<Message>,
) {
    while let Some(message) = messages.recv().await {
        let mut waits = WAITS.iter();
        loop {
            let plan = config.borrow().notify.clone();
            let fault = match send(sink, &http, &plan, &message).await {
                Ok(()) => {
                    counter.note_sent(sink);
                    break;
                }
                Err(fault) => fault,
            };
            let (sink_name, target) = (sink.as_str(), &*message.target.name);
            let Some(wait) = waits.next().filter(|_| fault.is_transient) else {
                counter.note_failed(sink);
                tracing::error!(sink = sink_name, target, error = %fault, "notification given up");
                break;
            };
            tracing::warn!(sink = sink_name, target, error = %fault, "notification not taken; trying again");
            sleep(fault.wait.unwrap_or(*wait)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::domain::{EpochId, Facts, Grid};

    #[test]
    fn a_server_that_keeps_changing_is_told_once_until_a_cycle_is_complete() {
        let target = TargetId::new("t", "m");
        let at = Timestamp::UNIX_EPOCH;
        let epoch = |id: i64| {
            // Each even one is of one server, each odd one of another.
            let identity = Facts::from([("version".to_owned(), (id % 2).to_string())]);
            Arc::new(Epoch { id: EpochId(id), identity, load: Facts::new(), first_seen: at, last_seen: at })
        };
        let enters = |id| Happening::EpochEntered {
            epoch: epoch(id),
            grid: Arc::new(Grid::automatic(None, true)),
            samples: Arc::default(),
            named: None,
            before: Some(epoch(id - 1)),
            changes: Arc::default(),
        };
        let mut gathered = Gathered::default();
        let mut told_of = |happenings: &[Happening]| {
            for happening in happenings {
                let event = Event { target: target.clone(), at, happening: happening.clone() };
                gathered.hear(&event, Instant::now());
            }
            gathered.take_all().iter().map(|message| message.told.len()).sum::<usize>()
        };
        let complete = Happening::CycleEnded { cycle: 1, seconds: 1.0 };
        assert_eq!(told_of(&[enters(2), enters(3)]), 1);
        assert_eq!(told_of(&[enters(4)]), 0);
        assert_eq!(told_of(std::slice::from_ref(&complete)), 0, "it is the one that was told");
        assert_eq!(told_of(&[enters(5), enters(6)]), 1);
        assert_eq!(told_of(std::slice::from_ref(&complete)), 1, "it went back");
        assert_eq!(told_of(&[complete, enters(7)]), 1);
    }
}
