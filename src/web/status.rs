//! The status page: what runs now and what was found, of every target.

use axum::extract::State;
use axum::response::Response;
use jiff::Timestamp;
use rand::TryRng as _;
use rand::rngs::SysRng;

use super::html::{escaped, head, time};
use super::server::{Desk, Fault, live_page};
use crate::soak::Snapshot;

pub(super) async fn answer(State(app): Desk) -> Result<Response, Fault> {
    let nonce = format!(
        "{:016x}{:016x}",
        SysRng.try_next_u64().map_err(Fault::new)?,
        SysRng.try_next_u64().map_err(Fault::new)?
    );
    live_page(page(&app.board.snapshot(), app.clock.now(), &nonce), &nonce)
}

fn page(snapshot: &Snapshot, now: Timestamp, _nonce: &str) -> String {
    let targets: String =
        snapshot.targets.values().map(|target| format!("<h2>{}</h2>\n", escaped(&target.id.name))).collect();
    format!("{}</head>\n<body>\n<main>\n{targets}<p>{}</p></main>\n</body>\n</html>\n", head("llmsoak"), time(now))
}
