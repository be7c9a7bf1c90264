//! `llmsoak run`: the daemon.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::args::{ListenAddress, RunArgs, StorageArgs};
use super::check;
use super::reload::Origin;
use super::session::{Mode, Reloads, Session, service_runtime};
use super::signals;
use super::source::SourceArgs;
use crate::config::{self, Config};
use crate::metrics::LogCounter;
use crate::web::Security;

pub(super) fn run(args: &RunArgs, log: LogCounter) -> anyhow::Result<ExitCode> {
    let config = configured(&args.source, &args.storage)?;
    check::within_bounds(&config)?;
    let file = args.source.file().map(Path::to_owned);
    let origin = Origin { file, storage_path: args.storage.path.clone() };
    service_runtime()?.block_on(async {
        let stop = CancellationToken::new();
        signals::watch(stop.clone(), 0)?;
        // Before the history is opened, which may take minutes: a hangup would end the process.
        let hangups = signal(SignalKind::hangup())?;
        let security = guarded(args.web.config_file.clone())?;
        let listeners = bind(&args.web.listen_addresses).await?;
        let reloads = Some(Reloads { origin, hangups });
        let mode = Mode::Daemon { reloads, takes_orders: args.takes_orders };
        let session = Session { config, mode, listeners, security, log, stop };
        session.run(deaf).await?;
        Ok(ExitCode::SUCCESS)
    })
}

/// A listener with no interest.
pub(super) async fn deaf(_: super::session::Listener) {}

/// The configuration that the flags name, with what they override.
pub(super) fn configured(source: &SourceArgs, storage: &StorageArgs) -> anyhow::Result<Config> {
    let mut config = match source {
        SourceArgs::File(path) => config::from_file(path)?,
        SourceArgs::Target { url, model, api_key_file } => {
            config::without_file(url, model.as_deref(), api_key_file.as_deref())?
        }
    };
    if let Some(path) = &storage.path {
        config.storage.path.clone_from(path);
    }
    Ok(config)
}

/// What guards the pages, by a file that is read again whenever somebody comes.
pub(super) fn guarded(file: Option<PathBuf>) -> anyhow::Result<Security> {
    let Some(file) = file else { return Ok(Security::default()) };
    let name = file.display().to_string();
    let source = move || config::web_from_file(&file).map_err(|problems| problems.to_string());
    Security::by(source).map_err(anyhow::Error::msg).with_context(|| format!("web.config.file {name}"))
}

/// Binds every address; the first that cannot be is an error.
pub(super) async fn bind(addresses: &[ListenAddress]) -> anyhow::Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    for address in addresses {
        let listener = bind_one(address).await;
        let hint = "hint: another process may be using it; choose one with --web.listen-address";
        let listener = listener.with_context(|| format!("cannot listen on {address}\n  {hint}"))?;
        tracing::info!(address = %listener.local_addr()?, "listening");
        listeners.push(listener);
    }
    Ok(listeners)
}

async fn bind_one(address: &ListenAddress) -> std::io::Result<TcpListener> {
    let mut last = std::io::ErrorKind::AddrNotAvailable.into();
    for candidate in address.candidates() {
        match TcpListener::bind(candidate).await {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}
