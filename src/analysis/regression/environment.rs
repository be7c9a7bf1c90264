//! Which component of an identity changed from one cycle to the next.

use crate::domain::{Component, Facts};

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
    fn so_many_keys_are_remembered_and_no_more() {
        let facts = |value: &str| -> Facts { (0..257).map(|n| (format!("{n:03}"), value.to_owned())).collect() };
        let mut known = Known::default();
        known.learn(&facts("a"));
        assert_eq!(known.0.len(), 256);
        let last = |value: &str| facts(value).split_off("256");
        assert_eq!(known.learn(&last("b")), []);
        let before = |value: &str| facts(value).into_iter().filter(|(key, _)| key == "255").collect::<Facts>();
        assert_eq!(known.learn(&before("b")), [Component::Label]);
    }

    #[test]
    fn the_first_suspect_comes_first_and_once() {
        let mut known = Known::default();
        known.learn(&facts(&[("rack", "a"), ("model_digest", "1"), ("quantization", "q4"), ("cuda_version", "12")]));
        let seen = facts(&[("rack", "b"), ("model_digest", "2"), ("quantization", "q8"), ("cuda_version", "13")]);
        assert_eq!(known.learn(&seen), [Component::Cuda, Component::Model, Component::Label]);
    }
}
