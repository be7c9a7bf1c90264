//! Which component of an identity changed from one cycle to the next.

use std::fmt;

use crate::domain::Facts;

/// A part of the environment that can change, in the words of `llmsoak_environment_changes_total`.
///
/// In the order in which they are suspected: of several that changed at once, the first names
/// the cause, since an update of the driver brings its CUDA and often a kernel with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Component {
    Driver,
    Gpu,
    Cuda,
    Kernel,
    Server,
    Model,
    Slots,
    Label,
}

impl Component {
    /// The component that a key of the identity belongs to; a key of the user's is a label.
    pub fn of_key(key: &str) -> Self {
        match key {
            "driver" | "driver_version" => Self::Driver,
            "gpu" | "gpu_count" | "power_limit" => Self::Gpu,
            "cuda" | "cuda_version" => Self::Cuda,
            "kernel" => Self::Kernel,
            "server" | "server_version" => Self::Server,
            "model" | "model_digest" | "model_file" | "quantization" => Self::Model,
            "slots" | "context_per_slot" => Self::Slots,
            _ => Self::Label,
        }
    }

    /// The word for it in metrics and events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Driver => "driver",
            Self::Gpu => "gpu",
            Self::Cuda => "cuda",
            Self::Kernel => "kernel",
            Self::Server => "server",
            Self::Model => "model",
            Self::Slots => "slots",
            Self::Label => "label",
        }
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The most keys of an identity that are remembered; more are not looked at.
const MOST_KEYS: usize = 256;

/// The identity as far as it is known.
#[derive(Clone, Debug, Default)]
pub(super) struct Known(Facts);

impl Known {
    /// Takes in what is seen now and returns the components that changed, each once, in the
    /// order of suspicion. What was unknown until now, or is unknown for a while, is no change.
    pub(super) fn learn(&mut self, seen: &Facts) -> Vec<Component> {
        let mut changed = Vec::new();
        for (key, value) in seen {
            match self.0.get(key) {
                Some(known) if known == value => continue,
                Some(_) => changed.push(Component::of_key(key)),
                None if self.0.len() >= MOST_KEYS => continue,
                None => {}
            }
            self.0.insert(key.clone(), value.clone());
        }
        changed.sort_unstable();
        changed.dedup();
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(pairs: &[(&str, &str)]) -> Facts {
        pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn what_is_unknown_for_a_while_is_no_change() {
        let mut known = Known::default();
        assert_eq!(known.learn(&facts(&[("driver_version", "1"), ("rack", "a")])), []);
        assert_eq!(known.learn(&facts(&[("rack", "a")])), []);
        assert_eq!(known.learn(&facts(&[("driver_version", "1"), ("kernel", "6")])), []);
        assert_eq!(known.learn(&facts(&[("driver_version", "2")])), [Component::Driver]);
        assert_eq!(known.learn(&facts(&[("driver_version", "2")])), []);
    }

    #[test]
    fn the_first_suspect_comes_first_and_once() {
        let mut known = Known::default();
        known.learn(&facts(&[("rack", "a"), ("model_digest", "1"), ("quantization", "q4"), ("cuda_version", "12")]));
        let seen = facts(&[("rack", "b"), ("model_digest", "2"), ("quantization", "q8"), ("cuda_version", "13")]);
        assert_eq!(known.learn(&seen), [Component::Cuda, Component::Model, Component::Label]);
    }
}
