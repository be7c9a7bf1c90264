//! Who is told of changes.

use crate::domain::notify::{GrafanaPlan, NOTIFY_TIMEOUT, NotifyPlan, WebhookPlan};

use super::super::files::Surroundings;
use super::super::kind::duration;
use super::super::section::Section;
use super::super::value::{server_url, webhook_url};
use super::TIMEOUT;
use super::target::headers;

pub(super) fn notify(s: &mut Section<'_>, around: Surroundings<'_>) -> NotifyPlan {
    NotifyPlan {
        webhook: s.section("webhook", |s| webhook(s, around)),
        grafana: s.section("grafana", |s| grafana(s, around)),
    }
}

fn webhook(s: &mut Section<'_>, around: Surroundings<'_>) -> Option<WebhookPlan> {
    let in_file = s.take("url", webhook_url());
    let beside = s.take("url_file", around.key_file().and_then(|(url, _)| super::super::value::checked_webhook(url)));
    s.exclude("url", "url_file");
    let headers = headers(s);
    let timeout = s.take_or("timeout", NOTIFY_TIMEOUT, duration(TIMEOUT));
    Some(WebhookPlan { url: in_file.or(beside)?, headers, timeout })
}

fn grafana(s: &mut Section<'_>, around: Surroundings<'_>) -> Option<GrafanaPlan> {
    let url = s.take("url", server_url());
    let from_file = s.take("token_file", around.key_file()).map(|(token, _)| token);
    let from_variable = s.take("token_env", around.key_variable());
    s.exclude("token_file", "token_env");
    for key in ["token_file", "token_env"] {
        s.need(key, "url", "give the address of that Grafana, too");
    }
    let timeout = s.take_or("timeout", NOTIFY_TIMEOUT, duration(TIMEOUT));
    Some(GrafanaPlan { url: url?.url, token: from_file.or(from_variable), timeout })
}
