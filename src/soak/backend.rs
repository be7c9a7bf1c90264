//! What the engine needs of a server, and the real one behind it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;

use super::switch::Switch;
use crate::client::{Caller, Client, Dropped, Identified, Timeline, Timeouts};
use crate::domain::plan::RequestPlan;
use crate::domain::{
    FailureKind, GenerateRequest, Look, Occupancy, RequestFailure, RequestRecord, ServerKind, ServerTimings,
    TokenCounts,
};

/// A server that can be measured.
pub trait Backend: Send + Sync + 'static {
    /// Asks the server who it is.
    fn identify(&self) -> impl Future<Output = Result<Identified, RequestFailure>> + Send;

    /// Has the server given so many slots, within the plan's `ready_timeout`. It need not
    /// answer yet when this returns. What this program ran for other slots has ended by then.
    fn switch_slots(&self, workers: u32) -> impl Future<Output = Result<(), String>> + Send;

    /// Why the server has ended, if this program runs it and it has.
    fn server_end(&self) -> impl Future<Output = Option<String>> + Send;

    /// Ends the server, if this program runs it.
    fn release(&self) -> impl Future<Output = ()> + Send;

    /// Has the server take its model out of memory; `false` where it cannot be told to.
    fn unload(&self) -> impl Future<Output = Result<bool, RequestFailure>> + Send;

    /// Looks at what the server works on; `None` where it does not tell.
    fn occupancy(&self, look: Look) -> impl Future<Output = Result<Option<Occupancy>, RequestFailure>> + Send;

    /// Sends a first request and settles which fields the server takes. All attempts count
    /// as warm-ups.
    fn negotiate(
        &self,
        request: &GenerateRequest,
        timeline: &Timeline,
        timeouts: Timeouts,
    ) -> impl Future<Output = (Vec<RequestRecord>, Option<Dropped>)> + Send;

    /// Sends one request and reads its answer to the end.
    fn generate(
        &self,
        request: &GenerateRequest,
        timeline: &Timeline,
        due: Duration,
        timeouts: Timeouts,
    ) -> impl Future<Output = RequestRecord> + Send;
}

/// A server behind HTTP.
#[derive(Debug)]
pub struct HttpBackend {
    client: Client,
    model: Option<String>,
    plan: Arc<RequestPlan>,
    switch: Option<Switch>,
    /// Known once the server told who it is.
    caller: ArcSwapOption<Caller>,
}

impl HttpBackend {
    /// Without a `model`, the server's first is measured.
    pub fn new(client: Client, model: Option<String>, plan: Arc<RequestPlan>) -> Self {
        Self { client, model, plan, switch: None, caller: ArcSwapOption::empty() }
    }

    /// The same with a way to give the server its slots.
    pub fn switched_by(self, switch: Option<Switch>) -> Self {
        Self { switch, ..self }
    }
}

impl Backend for HttpBackend {
    async fn identify(&self) -> Result<Identified, RequestFailure> {
        let mut identified = self.client.identify(self.model.as_deref()).await?;
        if let (ServerKind::Ollama, Some(switch)) = (identified.identity.kind, &self.switch) {
            identified.identity.slots = switch.slots_of_runner().await;
        }
        // What was settled with the same server stays settled.
        if !self.caller.load().as_ref().is_some_and(|caller| caller.fits(&identified)) {
            self.caller.store(Some(Arc::new(Caller::new(self.client.clone(), &identified, self.plan.clone()))));
        }
        Ok(identified)
    }

    async fn switch_slots(&self, workers: u32) -> Result<(), String> {
        let Some(switch) = &self.switch else { return Ok(()) };
        switch.stop().await;
        if switch.runs_the_server() && self.client.is_answered().await {
            let hint = "stop that server, or measure it with slots.mode: client";
            return Err(format!("another server answers at this address\n  hint: {hint}"));
        }
        switch.give(workers).await.map_err(|failure| failure.to_string())
    }

    async fn server_end(&self) -> Option<String> {
        self.switch.as_ref()?.server_end().await
    }

    async fn release(&self) {
        if let Some(switch) = &self.switch {
            switch.stop().await;
        }
    }

    async fn unload(&self) -> Result<bool, RequestFailure> {
        match self.caller.load_full() {
            Some(caller) => self.client.unload(caller.kind(), caller.model()).await,
            None => Ok(false),
        }
    }

    async fn occupancy(&self, look: Look) -> Result<Option<Occupancy>, RequestFailure> {
        let kind = self.caller.load().as_ref().map(|caller| caller.kind());
        match kind {
            Some(kind) => self.client.occupancy(kind, look).await,
            None => Ok(None),
        }
    }

    async fn negotiate(
        &self,
        request: &GenerateRequest,
        timeline: &Timeline,
        timeouts: Timeouts,
    ) -> (Vec<RequestRecord>, Option<Dropped>) {
        let Some(caller) = self.caller.load_full() else { return (vec![unidentified(request, timeline)], None) };
        let mut caller = Caller::clone(&caller);
        let outcome = caller.negotiate(request, timeline, timeouts).await;
        self.caller.store(Some(Arc::new(caller)));
        outcome
    }

    async fn generate(
        &self,
        request: &GenerateRequest,
        timeline: &Timeline,
        due: Duration,
        timeouts: Timeouts,
    ) -> RequestRecord {
        match self.caller.load_full() {
            Some(caller) => caller.generate(request, timeline, due, timeouts).await,
            None => unidentified(request, timeline),
        }
    }
}

fn unidentified(request: &GenerateRequest, timeline: &Timeline) -> RequestRecord {
    let failure = RequestFailure::new(FailureKind::NotStarted, "the server has not told who it is");
    not_started(request, timeline.now(), failure)
}

/// The record of a request that never left.
pub fn not_started(request: &GenerateRequest, at: Duration, failure: RequestFailure) -> RequestRecord {
    RequestRecord {
        due: Duration::ZERO,
        sent: at,
        ended: at,
        chunks: Vec::new(),
        tokens: TokenCounts::default(),
        timings: ServerTimings::default(),
        asked_tokens: request.output_tokens,
        failure: Some(failure),
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::net::TcpListener;

    use super::*;
    use crate::domain::ServerIdentity;
    use crate::domain::plan::Connection;
    use crate::sim::http::{SimApi, serve};
    use crate::sim::{Profile, SimOptions, SimServer};

    /// Asks a simulated Ollama, behind a real socket, who it is.
    async fn identity(gpu_share: f64) -> ServerIdentity {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let options = SimOptions { gpu_share, ..SimOptions::exact(Profile::tiny(), 2) };
        tokio::spawn(serve(listener, SimServer::start(options), SimApi::Ollama, pending()));
        let client = Client::new(&Connection { url, ..Connection::default() }).expect("a client");
        HttpBackend::new(client, None, Arc::default()).identify().await.expect("an answer").identity
    }

    #[tokio::test]
    async fn where_the_model_lies_is_known_and_makes_no_other_server() {
        let (whole, split) = (identity(1.0).await, identity(0.625).await);
        assert_eq!((whole.gpu_share, whole.is_partly_on_cpu()), (Some(1.0), false));
        assert_eq!((split.gpu_share, split.is_partly_on_cpu()), (Some(0.625), true));
        assert_eq!(whole.facts(), split.facts());
    }
}
