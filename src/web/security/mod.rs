//! Who is let in, over what: TLS, users and headers of a web configuration file.
//!
//! The file is read again for every connection and every request, as exporters do: a new
//! certificate, or a user who was taken out, needs no restart. A file that became wrong
//! changes nothing, and the log says so once. Where the file is and what its keys are called
//! is the caller's business.

mod tls;
mod users;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_SECURITY_POLICY, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use tokio_rustls::rustls::ServerConfig;

use self::users::Users;
use super::server::{POLICY, guarded};
use crate::domain::web::WebPlan;

/// Reads the plan as it stands now, or says why it cannot.
type Source = dyn Fn() -> Result<WebPlan, String> + Send + Sync;

/// What guards the pages. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Security(Arc<Inner>);

struct Inner {
    /// `None`: nothing can change.
    source: Option<Box<Source>>,
    newest: Mutex<Newest>,
    users: Users,
}

struct Newest {
    guard: Arc<Guard>,
    /// Why the file cannot be used now.
    complaint: Option<String>,
}

/// A plan that is in force.
#[derive(Debug, Default)]
pub(super) struct Guard {
    plan: WebPlan,
    /// `None`: plain HTTP.
    pub(super) tls: Option<Arc<ServerConfig>>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl fmt::Debug for Security {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Security").finish_non_exhaustive()
    }
}

impl Default for Security {
    /// Plain HTTP for everybody.
    fn default() -> Self {
        Self::of(None, Guard::default())
    }
}

impl Security {
    /// Guards by what `source` says, now and later.
    pub fn by(source: impl Fn() -> Result<WebPlan, String> + Send + Sync + 'static) -> Result<Self, String> {
        let guard = Guard::of(source()?)?;
        Ok(Self::of(Some(Box::new(source)), guard))
    }

    fn of(source: Option<Box<Source>>, guard: Guard) -> Self {
        let newest = Mutex::new(Newest { guard: Arc::new(guard), complaint: None });
        Self(Arc::new(Inner { source, newest, users: Users::default() }))
    }

    /// Whether pages are served over TLS now.
    pub fn has_tls(&self) -> bool {
        self.0.newest().guard.tls.is_some()
    }

    /// The plan as it stands now. Reads the disk.
    pub(super) async fn newest(&self) -> Arc<Guard> {
        if self.0.source.is_none() {
            return self.0.newest().guard.clone();
        }
        let inner = self.0.clone();
        let looked = tokio::task::spawn_blocking(move || inner.look()).await;
        looked.unwrap_or_else(|_| self.0.newest().guard.clone())
    }

    /// The routes behind this guard.
    pub(super) fn before(&self, router: Router) -> Router {
        router.layer(from_fn_with_state(self.clone(), admit))
    }
}

impl Inner {
    fn newest(&self) -> MutexGuard<'_, Newest> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look(&self) -> Arc<Guard> {
        let Some(source) = &self.source else { return self.newest().guard.clone() };
        let read = source();
        let mut newest = self.newest();
        let next = match read {
            Ok(plan) if plan == newest.guard.plan => Ok(None),
            Ok(plan) => Guard::of(plan).map(Some),
            Err(error) => Err(error),
        };
        match next {
            Ok(guard) => {
                if let Some(guard) = guard {
                    tracing::info!(
                        tls = guard.tls.is_some(),
                        users = guard.plan.users.len(),
                        "web configuration reloaded"
                    );
                    newest.guard = Arc::new(guard);
                }
                newest.complaint = None;
            }
            Err(error) if newest.complaint.as_ref() != Some(&error) => {
                tracing::error!(error, "web configuration not reloaded; the last one stays in force");
                newest.complaint = Some(error);
            }
            Err(_) => {}
        }
        newest.guard.clone()
    }
}

impl Guard {
    fn of(plan: WebPlan) -> Result<Self, String> {
        let tls = plan.tls.as_ref().map(tls::server).transpose().map_err(|error| error.to_string())?;
        let header = |(name, value): &(String, String)| Some((name.parse().ok()?, value.parse().ok()?));
        let headers = plan.headers.iter().filter_map(header).collect();
        Ok(Self { tls, headers, plan })
    }

    /// Puts the headers of the file in the place of this program's own; but a page that has
    /// a policy of its own, for its script, keeps it.
    fn mark(&self, response: &mut Response) {
        let headers = response.headers_mut();
        for (name, value) in &self.headers {
            let present = headers.get(name);
            let has_own_policy = name == CONTENT_SECURITY_POLICY && present.is_some_and(|present| present != POLICY);
            if !has_own_policy {
                headers.insert(name, value.clone());
            }
        }
    }
}

/// Lets users in whom the newest plan knows.
async fn admit(State(security): State<Security>, request: Request, next: Next) -> Response {
    let guard = security.newest().await;
    let is_open = guard.plan.open_paths.iter().any(|path| path == request.uri().path());
    let credentials = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes);
    let mut response = if is_open || security.0.users.admits(&guard.plan.users, credentials).await {
        next.run(request).await
    } else {
        let ask = [(WWW_AUTHENTICATE, "Basic realm=\"llmsoak\", charset=\"UTF-8\"")];
        guarded((StatusCode::UNAUTHORIZED, ask, "a user and a password are needed\n").into_response())
    };
    guard.mark(&mut response);
    response
}
