//! Who is measured: target, server, load, and the epoch in which neither changes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use super::component::Component;
use super::failure::InvalidReason;
use super::request::Endpoint;
use super::slots::SlotsMode;

/// The name and model that label every series, row and page of a target. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TargetId {
    pub name: Arc<str>,
    pub model: Arc<str>,
}

impl TargetId {
    pub fn new(name: &str, model: &str) -> Self {
        Self { name: name.into(), model: model.into() }
    }
}

impl fmt::Display for TargetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// The kinds of model server whose additions are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ServerKind {
    Ollama,
    LlamaCpp,
    Vllm,
    Sglang,
    Tgi,
    LmStudio,
    /// Anything else that speaks OpenAI's API.
    OpenAiCompatible,
}

impl ServerKind {
    /// The word for it in metrics, history and reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ollama => "ollama",
            Self::LlamaCpp => "llama.cpp",
            Self::Vllm => "vllm",
            Self::Sglang => "sglang",
            Self::Tgi => "tgi",
            Self::LmStudio => "lmstudio",
            Self::OpenAiCompatible => "openai-compatible",
        }
    }
}

impl fmt::Display for ServerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Sorted words about a thing: comparable, storable, printable.
pub type Facts = BTreeMap<String, String>;

/// What a server tells of itself; what it does not tell is `None`.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerIdentity {
    pub kind: ServerKind,
    pub version: Option<String>,
    /// The model that the server will answer with.
    pub model: String,
    pub model_digest: Option<String>,
    /// The file or repository of the weights, where the server tells no digest of them.
    pub model_file: Option<String>,
    pub quantization: Option<String>,
    /// Requests that the server works on at once.
    pub slots: Option<u32>,
    /// Context length of one slot, tokens.
    pub context_per_slot: Option<u32>,
    /// The share of the loaded model that lies in the GPU's memory, 0 to 1. A condition, no
    /// part of the identity: it depends on what else was there when the model was loaded.
    pub gpu_share: Option<f64>,
}

impl ServerIdentity {
    /// A server of which nothing else is known.
    pub fn of(kind: ServerKind, model: impl Into<String>) -> Self {
        Self {
            kind,
            version: None,
            model: model.into(),
            model_digest: None,
            model_file: None,
            quantization: None,
            slots: None,
            context_per_slot: None,
            gpu_share: None,
        }
    }

    /// Whether the server tells that the CPU has to do a part of the model's work.
    pub fn is_partly_on_cpu(&self) -> bool {
        self.gpu_share.is_some_and(|share| share < 1.0)
    }

    /// The identity as it is compared and stored. Unknown members are left out.
    pub fn facts(&self) -> Facts {
        let known = [
            ("server", Some(self.kind.to_string())),
            ("server_version", self.version.clone()),
            ("model", Some(self.model.clone())),
            ("model_digest", self.model_digest.clone()),
            ("model_file", self.model_file.clone()),
            ("quantization", self.quantization.clone()),
            ("slots", self.slots.map(|n| n.to_string())),
            ("context_per_slot", self.context_per_slot.map(|n| n.to_string())),
        ];
        known.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
    }
}

/// What shapes the requests of a target. Epochs of different loads are not comparable.
#[derive(Clone, Debug, PartialEq)]
pub struct Load {
    pub api: &'static str,
    pub slots_mode: SlotsMode,
    pub endpoint: Endpoint,
    /// The name of the prompt set: built in with its length, or the digest of a file.
    pub prompts: String,
    pub unique_prefix: bool,
    pub output_tokens: u32,
    pub ignore_eos: bool,
    pub temperature: f64,
    /// Request fields that the server refused.
    pub left_out: BTreeSet<&'static str>,
}

impl Load {
    pub fn facts(&self) -> Facts {
        let mut facts: Facts = [
            ("api", self.api.to_owned()),
            ("endpoint", self.endpoint.as_str().to_owned()),
            ("prompts", self.prompts.clone()),
            ("unique_prefix", self.unique_prefix.to_string()),
            ("output_tokens", self.output_tokens.to_string()),
            ("ignore_eos", self.ignore_eos.to_string()),
            ("temperature", self.temperature.to_string()),
            ("slots_mode", self.slots_mode.to_string()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into();
        if !self.left_out.is_empty() {
            let fields: Vec<&str> = self.left_out.iter().copied().collect();
            facts.insert("left_out".to_owned(), fields.join(", "));
        }
        facts
    }
}

/// The number by which the history, the API and the command line know an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EpochId(pub i64);

impl fmt::Display for EpochId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A stretch of time of one identity and one load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Epoch {
    pub id: EpochId,
    pub identity: Facts,
    pub load: Facts,
    pub first_seen: Timestamp,
    pub last_seen: Timestamp,
}

/// The fact of a load that says where an imported epoch comes from; a measured epoch has none.
/// Of the rest of its load and of its identity an import knows only what its file tells.
pub const SOURCE: &str = "source";
/// How the source of figures that were read from a printed report begins.
pub const LEGACY_SOURCE: &str = "legacy report";

impl Epoch {
    /// Where an imported epoch comes from; `None` for one that was measured here.
    pub fn source(&self) -> Option<&str> {
        self.load.get(SOURCE).map(String::as_str)
    }

    /// Whether its figures are those of a printed report, rounded as they were printed.
    pub fn is_of_printed_figures(&self) -> bool {
        self.source().is_some_and(|source| source.starts_with(LEGACY_SOURCE))
    }

    /// Whether a server and a load that are seen now still belong to this epoch.
    ///
    /// The load must be the same. Of the identity, what either side does not know is no
    /// change: servers tell some things only while the model is loaded.
    pub fn continues(&self, identity: &Facts, load: &Facts) -> bool {
        self.load == *load && self.differing(identity).next().is_none()
    }

    /// Whose number the workers are; the client's where it is not known.
    pub fn slots_mode(&self) -> SlotsMode {
        self.load.get("slots_mode").and_then(|mode| SlotsMode::from_name(mode)).unwrap_or(SlotsMode::Client)
    }

    /// The requests that the server works on at once, where it told and they are the same for
    /// all rows.
    pub fn slots(&self) -> Option<u32> {
        self.identity.get("slots")?.parse().ok()
    }

    fn differing<'a>(&'a self, identity: &'a Facts) -> impl Iterator<Item = &'a str> {
        let differs = |(key, value): &(&String, &String)| self.identity.get(*key).is_some_and(|known| known != *value);
        identity.iter().filter(differs).map(|(key, _)| key.as_str())
    }

    /// Why a sample is not of this epoch at whose end a server and a load are seen, if it
    /// is not.
    pub fn left_for(&self, identity: &Facts, load: &Facts) -> Option<InvalidReason> {
        if self.continues(identity, load) {
            return None;
        }
        let is_of_slots = |key: &str| key == "slots" || key.starts_with("context_per_slot");
        let only_slots = self.load == *load && self.differing(identity).all(is_of_slots);
        Some(if only_slots { InvalidReason::SlotsChanged } else { InvalidReason::EnvironmentChanged })
    }

    /// What differs in `next`, each as `key: before → after`. What only one of them knows is
    /// no difference.
    pub fn changes_to(&self, next: &Self) -> Vec<String> {
        let of = |before: &Facts, after: &Facts| -> Vec<String> {
            let both = before.iter().filter_map(|(key, old)| Some((key, old, after.get(key)?)));
            both.filter(|(_, old, new)| old != new).map(|(key, old, new)| format!("{key}: {old} → {new}")).collect()
        };
        [of(&self.identity, &next.identity), of(&self.load, &next.load)].concat()
    }

    /// The components that are other ones in `next`.
    pub fn changed_to(&self, next: &Self) -> BTreeSet<Component> {
        let load = (self.load != next.load).then_some(Component::Load);
        self.differing(&next.identity).map(Component::of_key).chain(load).collect()
    }

    /// Adds what is known now and was not before.
    pub fn learn(&mut self, identity: &Facts) {
        for (key, value) in identity {
            self.identity.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(pairs: &[(&str, &str)]) -> Facts {
        pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn what_is_unknown_is_no_change_and_what_changed_is() {
        let load = facts(&[("output_tokens", "200")]);
        let mut epoch = Epoch {
            id: EpochId(1),
            identity: facts(&[("server_version", "1"), ("slots", "4")]),
            load: load.clone(),
            first_seen: Timestamp::UNIX_EPOCH,
            last_seen: Timestamp::UNIX_EPOCH,
        };
        assert!(epoch.continues(&facts(&[("server_version", "1")]), &load));
        assert!(epoch.continues(&facts(&[("server_version", "1"), ("context_per_slot", "512")]), &load));
        assert!(!epoch.continues(&facts(&[("server_version", "2")]), &load));
        assert!(!epoch.continues(&epoch.identity, &facts(&[("output_tokens", "24")])));
        let next = Epoch { identity: facts(&[("server_version", "2"), ("gpu", "x")]), ..epoch.clone() };
        assert_eq!(epoch.changes_to(&next), ["server_version: 1 → 2"]);
        let left_for = |identity: &[(&str, &str)]| epoch.left_for(&facts(identity), &load);
        assert_eq!(left_for(&[("server_version", "1"), ("slots", "4"), ("context_per_slot", "512")]), None);
        assert_eq!(left_for(&[("server_version", "1"), ("slots", "8")]), Some(InvalidReason::SlotsChanged));
        assert_eq!(left_for(&[("server_version", "2"), ("slots", "8")]), Some(InvalidReason::EnvironmentChanged));
        let other_load = facts(&[("output_tokens", "24")]);
        assert_eq!(epoch.left_for(&epoch.identity, &other_load), Some(InvalidReason::EnvironmentChanged));
        epoch.learn(&facts(&[("context_per_slot", "512")]));
        assert!(!epoch.continues(&facts(&[("context_per_slot", "1024")]), &load));
    }
}
