//! What of an environment can change, and how often it did.
//!
//! Plain data: what is seen is compared in `environment`, what follows from a change is
//! decided elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::environment::Epoch;
use super::named::named;

named! {
    /// A part of the environment that can change, in the order in which they are suspected: of
    /// several that changed at once the first names the cause, since an update of the driver
    /// brings its CUDA and often a kernel with it.
    Component {
        Driver = "driver",
        Gpu = "gpu",
        Cuda = "cuda",
        Kernel = "kernel",
        Server = "server",
        Model = "model",
        /// The slots of the server and the context of each.
        Slots = "slots",
        /// A label, or the answer of a command, of the user's.
        Label = "label",
        /// What shapes the requests: no part of the identity, and never the cause of a change,
        /// for what is measured under another load is not compared.
        Load = "load",
    }
}

impl Component {
    /// The component that a key of the identity belongs to; a key of the user's is a label.
    pub fn of_key(key: &str) -> Self {
        match key {
            "driver" | "driver_version" => Self::Driver,
            "gpu" | "gpu_count" | "gpu_vbios" | "power_limit" => Self::Gpu,
            "cuda" | "cuda_version" => Self::Cuda,
            "kernel" => Self::Kernel,
            "server" | "server_version" => Self::Server,
            "model" | "model_digest" | "model_file" | "quantization" => Self::Model,
            "slots" => Self::Slots,
            // Where each row has slots of its own, so has each its context.
            key if key.starts_with("context_per_slot") => Self::Slots,
            _ => Self::Label,
        }
    }

    /// The key of the identity that a command of this component's name fills; `None` where
    /// there is no such thing to ask for.
    pub const fn key(self) -> Option<&'static str> {
        match self {
            Self::Driver => Some("driver_version"),
            Self::Gpu => Some("gpu"),
            Self::Cuda => Some("cuda_version"),
            Self::Kernel => Some("kernel"),
            Self::Server => Some("server_version"),
            Self::Model => Some("model_digest"),
            Self::Slots => Some("slots"),
            Self::Label | Self::Load => None,
        }
    }
}

/// How often a component changed, and when it last did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ComponentChanges {
    pub count: u64,
    pub last_at: Timestamp,
}

/// What changed in a target's environment, over all of its history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnvironmentChanges(BTreeMap<Component, ComponentChanges>);

impl EnvironmentChanges {
    /// What changed from one of these epochs to the next; they are in their order.
    pub fn over<'a>(epochs: impl IntoIterator<Item = &'a Epoch>) -> Self {
        let mut changes = Self::default();
        let mut before: Option<&Epoch> = None;
        for epoch in epochs {
            if let Some(before) = before {
                changes.note(&before.changed_to(epoch), epoch.first_seen);
            }
            before = Some(epoch);
        }
        changes
    }

    fn note(&mut self, components: &BTreeSet<Component>, at: Timestamp) {
        for component in components {
            let change = self.0.entry(*component).or_insert(ComponentChanges { count: 0, last_at: at });
            change.count += 1;
            change.last_at = at;
        }
    }

    /// What is known of one component; `None` where it never changed.
    pub fn of(&self, component: Component) -> Option<ComponentChanges> {
        self.0.get(&component).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{EpochId, Facts};

    fn facts(pairs: &[(&str, &str)]) -> Facts {
        pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    fn epoch(second: i64, identity: &[(&str, &str)], load: &str) -> Epoch {
        let at = Timestamp::from_second(second).expect("is a time");
        let (identity, load) = (facts(identity), facts(&[("output_tokens", load)]));
        Epoch { id: EpochId(second), identity, load, first_seen: at, last_seen: at }
    }

    #[test]
    fn changes_are_counted_from_each_epoch_to_the_next() {
        let epochs = [
            epoch(1, &[("driver_version", "1"), ("kernel", "6"), ("rack", "a")], "200"),
            // What is unknown for a while is no change.
            epoch(2, &[("driver_version", "2"), ("rack", "a")], "200"),
            epoch(3, &[("driver_version", "3"), ("kernel", "6"), ("rack", "b")], "200"),
            epoch(4, &[("driver_version", "3"), ("kernel", "6"), ("rack", "b")], "100"),
        ];
        let changes = EnvironmentChanges::over(&epochs);
        let known = |component| changes.of(component).map(|change| (change.count, change.last_at.as_second()));
        assert_eq!(known(Component::Driver), Some((2, 3)));
        assert_eq!(known(Component::Label), Some((1, 3)));
        assert_eq!(known(Component::Load), Some((1, 4)));
        assert_eq!(known(Component::Kernel), None);
        assert_eq!(EnvironmentChanges::over(&epochs[..1]), EnvironmentChanges::default());
    }

    #[test]
    fn a_command_of_a_components_name_fills_a_key_of_that_component() {
        for component in Component::ALL {
            match component.key() {
                Some(key) => assert_eq!(Component::of_key(key), *component),
                None => assert!(matches!(component, Component::Label | Component::Load)),
            }
        }
        assert_eq!(Component::of_key("context_per_slot of 4 workers"), Component::Slots);
        assert_eq!(Component::of_key("rack"), Component::Label);
    }
}
