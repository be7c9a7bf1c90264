//! Where changes are told beside metrics, pages and log.

use std::time::Duration;

use super::named::named;
use super::plan::Secret;

/// Who is told of changes; nobody by default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NotifyPlan {
    pub webhook: Option<WebhookPlan>,
    pub grafana: Option<GrafanaPlan>,
}

/// An address that takes JSON by POST.
#[derive(Clone, Debug, PartialEq)]
pub struct WebhookPlan {
    /// Many a webhook's address is all that it takes to use it.
    pub url: Secret,
    pub headers: Vec<(String, Secret)>,
    /// Of one attempt.
    pub timeout: Duration,
}

/// A Grafana whose dashboards show annotations.
#[derive(Clone, Debug, PartialEq)]
pub struct GrafanaPlan {
    /// Without a slash at its end.
    pub url: String,
    pub token: Option<Secret>,
    /// Of one attempt.
    pub timeout: Duration,
}

named! {
    /// The places that changes are told to.
    Sink {
        Webhook = "webhook",
        Grafana = "grafana",
    }
}

impl NotifyPlan {
    /// Whether there is such a place.
    pub fn has(&self, sink: Sink) -> bool {
        match sink {
            Sink::Webhook => self.webhook.is_some(),
            Sink::Grafana => self.grafana.is_some(),
        }
    }
}

/// Of one attempt to tell a change.
pub const NOTIFY_TIMEOUT: Duration = Duration::from_secs(10);
