//! A server that was found: the configuration that fits it, and what is told of it.
//!
//! Pure: what is asked and written is `init`'s.

use std::net::IpAddr;

use crate::client::Offer;
use crate::config::Draft;
use crate::domain::{Endpoint, Grid, ServerIdentity, ServerKind};

/// Tokens of a context beside the answer: the default prompt, and what a chat template adds.
const CONTEXT_KEPT: u32 = 64 + 32;
/// The most models that are named.
const MOST_NAMED: usize = 20;

/// What is said of a server that somebody else runs.
const BILLED: &str = "No private address: tokens may cost money. A cap on what is sent is targets[].budget, such as \
    budget: {requests_per_day: 400, tokens_per_day: 100000}; a rest between cycles is cycle_interval, such as 12h.";

/// A server, and how it was found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) url: String,
    /// Of the URL.
    pub(super) host: String,
    /// As it is to be written.
    pub(super) key_file: Option<String>,
    pub(super) identity: ServerIdentity,
    pub(super) offers: Vec<Offer>,
    /// The end of the typed address that does not belong to it.
    pub(super) dropped_path: Option<String>,
}

/// Names in a row, of bounded length.
pub(super) fn listed<'a>(offers: impl Iterator<Item = &'a Offer>) -> String {
    let names: Vec<&str> = offers.map(|offer| offer.name.as_str()).collect();
    let shown = names.get(..MOST_NAMED).unwrap_or(&names).join(", ");
    match names.len().saturating_sub(MOST_NAMED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

impl Found {
    /// The configuration that fits.
    pub(super) fn draft(&self) -> Draft {
        let grid = self.grid();
        let default = Draft::default();
        let output_tokens = match self.identity.context_per_slot {
            Some(context) => default.output_tokens.min(context.saturating_sub(CONTEXT_KEPT).max(1)),
            None => default.output_tokens,
        };
        let mut remarks = vec![("storage", self.origin()), ("grid", self.about_the_grid())];
        let others = self.offers.iter().filter(|offer| offer.name != self.identity.model);
        let others = listed(others);
        if !others.is_empty() {
            remarks.push(("model", format!("Also offered: {others}.")));
        }
        if let Some(context) = self.identity.context_per_slot.filter(|_| output_tokens < default.output_tokens) {
            remarks.push(("output_tokens", format!("Prompt and answer share a context of {context} tokens.")));
        }
        if matches!(self.identity.kind, ServerKind::Ollama | ServerKind::Tgi | ServerKind::LmStudio) {
            let what = "This kind of server cannot be held to a length: answers may be shorter. Compare token rates.";
            remarks.push(("ignore_eos", what.to_owned()));
        }
        let has_chat_alone = self.is_hosted() && self.identity.kind == ServerKind::OpenAiCompatible;
        if has_chat_alone {
            remarks.push(("endpoint", "Most hosted services know chat alone.".to_owned()));
        }
        if self.is_hosted() {
            remarks.push(("schedule", BILLED.to_owned()));
        }
        Draft {
            name: self.target_name(),
            url: self.url.clone(),
            model: Some(self.identity.model.clone()),
            api_key_file: self.key_file.clone(),
            axes: Some((grid.workers().to_vec(), grid.batch().to_vec())),
            endpoint: if has_chat_alone { Endpoint::Chat } else { default.endpoint },
            output_tokens,
            remarks,
        }
    }

    fn grid(&self) -> Grid {
        Grid::automatic(self.identity.slots, true)
    }

    /// The host's name; the model's for this very machine, which all have in common.
    fn target_name(&self) -> String {
        let host = self.bare_host();
        let is_loopback = host.parse().is_ok_and(|address: IpAddr| address.is_loopback() || address.is_unspecified());
        sound_name(if is_loopback || host == "localhost" { &self.identity.model } else { host })
    }

    /// Whether somebody else runs the server and may send a bill.
    fn is_hosted(&self) -> bool {
        self.url.starts_with("https://") && !is_own(self.bare_host())
    }

    /// The host, IPv6 without its brackets.
    fn bare_host(&self) -> &str {
        self.host.trim_matches(['[', ']'])
    }

    /// The server in a few words.
    fn name(&self) -> String {
        let version = self.identity.version.as_deref().map(|version| format!(" {version}")).unwrap_or_default();
        format!("{}{version} at {}", self.identity.kind, self.url)
    }

    fn origin(&self) -> String {
        format!(
            "Written by `llmsoak init` for {}. Every key is here; `llmsoak check --probe` says what a cycle takes.",
            self.name()
        )
    }

    fn about_the_grid(&self) -> String {
        match self.identity.slots {
            Some(slots) if slots > Grid::MOST_SLOTS => format!(
                "The server works on {slots} requests at once. The lists are made for {}, for a cycle of larger ones \
                 takes hours; add what you need.",
                Grid::MOST_SLOTS
            ),
            Some(slots) => format!(
                "The server works on {slots} requests at once: workers up to twice as many, batch up to four times. \
                 More workers than {slots} measure its queue."
            ),
            None => {
                let setting = match self.identity.kind {
                    ServerKind::Ollama => " (OLLAMA_NUM_PARALLEL)",
                    ServerKind::Vllm => " (--max-num-seqs)",
                    _ => "",
                };
                format!(
                    "The server does not tell how many requests it works on at once{setting}. The lists are made \
                     for 4: put in larger numbers where it takes more."
                )
            }
        }
    }

    /// What was found, for the user's eyes.
    pub(super) fn summary(&self, draft: &Draft) -> String {
        let identity = &self.identity;
        let quantization = identity.quantization.as_deref().map(|q| format!(", {q}")).unwrap_or_default();
        let others = match self.offers.len().saturating_sub(1) {
            0 => String::new(),
            others => format!("; {others} more in the file's comment, --target.model chooses"),
        };
        let slots = identity.slots.map_or("not told; 4 assumed".to_owned(), |slots| slots.to_string());
        let context = identity.context_per_slot.map(|n| format!(", a context of {n} tokens")).unwrap_or_default();
        let (workers, batch) = draft.axes.clone().unwrap_or_default();
        let mut text = format!(
            "{}\n  model  {}{quantization}{others}\n  slots  {slots}{context}\n  grid   workers {workers:?}, batch {batch:?}",
            self.name(),
            identity.model,
        );
        if let Some(path) = &self.dropped_path {
            text += &format!("\n  url    without {path}, which belongs to the API");
        }
        if self.offers.is_empty() {
            text += "\n  the server lists no models: yours is taken as it is; check --probe says whether it answers";
        }
        text
    }
}

/// A text as the name of a target: 1 to 64 characters of a few.
fn sound_name(text: &str) -> String {
    let sound = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' };
    let name: String = text.chars().map(sound).take(64).collect();
    match name.trim_matches(['-', '.']) {
        "" => "target".to_owned(),
        name => name.to_owned(),
    }
}

/// Whether an address is one of a network of one's own.
fn is_own(host: &str) -> bool {
    const ENDS: [&str; 6] = [".local", ".lan", ".internal", ".home.arpa", ".localhost", ".test"];
    match host.parse() {
        Ok(IpAddr::V4(address)) => {
            // Of 100.64.0.0/10, carriers and overlay networks make use.
            let is_shared = matches!(address.octets(), [100, 64..=127, ..]);
            address.is_private() || address.is_loopback() || address.is_link_local() || is_shared
        }
        Ok(IpAddr::V6(address)) => {
            address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
        }
        Err(_) => !host.contains('.') || ENDS.iter().any(|end| host.ends_with(end)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{draft_yaml, drafted};
    use crate::domain::plan::GridPlan;

    fn found(url: &str, host: &str) -> Found {
        let identity = ServerIdentity {
            version: Some("b1".to_owned()),
            slots: Some(4),
            context_per_slot: Some(4096),
            ..ServerIdentity::of(ServerKind::LlamaCpp, "gemma3:4b")
        };
        Found {
            url: url.to_owned(),
            host: host.to_owned(),
            key_file: None,
            identity,
            offers: Vec::new(),
            dropped_path: None,
        }
    }

    fn local() -> Found {
        found("http://127.0.0.1:1", "127.0.0.1")
    }

    #[test]
    fn a_target_is_called_after_its_host_or_here_after_its_model() {
        for (host, expected) in [
            ("127.0.0.1", "gemma3-4b"),
            ("localhost", "gemma3-4b"),
            ("[::1]", "gemma3-4b"),
            ("gpu1.lan", "gpu1.lan"),
            ("10.0.0.7", "10.0.0.7"),
            ("[fd00::7]", "fd00--7"),
        ] {
            assert_eq!(found("http://h", host).target_name(), expected, "{host}");
        }
        for (text, expected) in [("..", "target"), ("-a-", "a"), ("ö/b", "b"), ("", "target")] {
            assert_eq!(sound_name(text), expected, "{text}");
        }
        assert_eq!(sound_name(&"x".repeat(80)).len(), 64);
    }

    #[test]
    fn a_hosted_service_is_asked_to_chat() {
        let endpoint = |url: &str, host: &str, kind| {
            let mut found = found(url, host);
            found.identity.kind = kind;
            drafted(&found.draft()).expect("is sound").targets[0].request.endpoint
        };
        let (service, own) = (("https://api.example.com", "api.example.com"), ("https://gpu1", "gpu1"));
        assert_eq!(endpoint(service.0, service.1, ServerKind::OpenAiCompatible), Endpoint::Chat);
        assert_eq!(endpoint(service.0, service.1, ServerKind::Vllm), Endpoint::Completions);
        assert_eq!(endpoint(own.0, own.1, ServerKind::OpenAiCompatible), Endpoint::Completions);
    }

    #[test]
    fn who_may_send_a_bill_is_known_by_the_address() {
        for (url, host, expected) in [
            ("https://api.example.com", "api.example.com", true),
            ("https://8.8.8.8", "8.8.8.8", true),
            ("http://api.example.com", "api.example.com", false),
            ("https://192.168.1.2", "192.168.1.2", false),
            ("https://100.100.1.2", "100.100.1.2", false),
            ("https://[fd00::1]", "[fd00::1]", false),
            ("https://gpu1", "gpu1", false),
            ("https://gpu1.internal", "gpu1.internal", false),
        ] {
            let found = found(url, host);
            assert_eq!(found.is_hosted(), expected, "{url}");
            let yaml = draft_yaml(&found.draft());
            assert_eq!(yaml.contains("\n# No private address: "), expected, "{yaml}");
        }
    }

    /// The grid and the answer's length that a server's slots and context come to.
    fn check_fit(slots: Option<u32>, context: Option<u32>, workers: u32, batch: u32, output_tokens: u32) {
        let mut found = local();
        (found.identity.slots, found.identity.context_per_slot) = (slots, context);
        let config = drafted(&found.draft()).expect("is sound");
        let GridPlan::Fixed(grid) = &config.targets[0].grid else { panic!("not the lists") };
        let largest = (grid.workers().last().copied(), grid.batch().last().copied());
        assert_eq!(largest, (Some(workers), Some(batch)), "{slots:?}");
        assert_eq!(config.targets[0].request.output_tokens, output_tokens, "{context:?}");
    }

    #[test]
    fn lists_fit_the_slots_and_answers_the_context() {
        check_fit(Some(1), Some(512), 2, 4, 200);
        check_fit(Some(4), Some(296), 8, 16, 200);
        check_fit(None, Some(256), 8, 16, 160);
        check_fit(Some(100_000), None, 512, 1024, 200);
        check_fit(Some(6), Some(32), 8, 16, 1);
    }

    #[test]
    fn whatever_a_server_tells_every_remark_has_its_place() {
        let mut found = found("https://api.example.com/v2", "api.example.com");
        found.identity.kind = ServerKind::Ollama;
        found.identity.slots = None;
        found.identity.context_per_slot = Some(128);
        found.offers =
            (0..30).map(|n| Offer { name: format!("m\"#{n}: x"), is_loaded: false, writes_text: true }).collect();
        let draft = found.draft();
        drafted(&draft).expect("is sound");
        let yaml = draft_yaml(&draft);
        for (_, remark) in &draft.remarks {
            let first = remark.split(' ').take(4).collect::<Vec<_>>().join(" ");
            assert!(yaml.contains(&format!("# {first}")), "{first} is not in:\n{yaml}");
        }
        assert!(yaml.contains("10 more."), "{yaml}");
    }
}
