//! Which beginnings of prompts a server still holds: a prefix cache in blocks.
//!
//! A block is named by the hash of everything up to its end, as vLLM names them, so that
//! equal blocks after unequal beginnings are different. Bounded; the oldest go first.

use std::collections::{HashSet, VecDeque};

use crate::domain::{checksum, checksum_with};

/// Bytes that count as one token: what English is close to with the usual vocabularies.
const BYTES_PER_TOKEN: usize = 4;
/// Tokens in one block: so few that the words of a chat template, which all prompts share,
/// are found again.
const BLOCK_TOKENS: u32 = 4;
const BLOCK_BYTES: usize = BYTES_PER_TOKEN * BLOCK_TOKENS as usize;
/// Blocks that are kept: a few thousand prompts of the usual length.
const CAPACITY: usize = 65_536;

/// The tokens of a prompt, at least one.
pub(super) fn count_tokens(prompt: &str) -> u32 {
    u32::try_from(prompt.len().div_ceil(BYTES_PER_TOKEN)).unwrap_or(u32::MAX).max(1)
}

/// The names of the whole blocks of a prompt. Prompts of different salts share none.
pub(super) fn blocks(salt: &str, prompt: &str) -> Vec<u64> {
    let start = checksum(salt);
    prompt
        .as_bytes()
        .chunks_exact(BLOCK_BYTES)
        .scan(start, |chain, block| {
            *chain = checksum_with(*chain, block);
            Some(*chain)
        })
        .collect()
}

#[derive(Debug, Default)]
pub(super) struct PrefixCache {
    held: HashSet<u64>,
    by_age: VecDeque<u64>,
}

impl PrefixCache {
    /// The tokens of the longest beginning that is held.
    pub(super) fn cached_tokens(&self, blocks: &[u64]) -> u32 {
        let held = blocks.iter().take_while(|block| self.held.contains(block)).count();
        u32::try_from(held).unwrap_or(u32::MAX).saturating_mul(BLOCK_TOKENS)
    }

    pub(super) fn remember(&mut self, blocks: &[u64]) {
        for &block in blocks {
            if self.held.insert(block) {
                self.by_age.push_back(block);
            }
        }
        while self.by_age.len() > CAPACITY {
            if let Some(oldest) = self.by_age.pop_front() {
                self.held.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_common_beginning_is_found_again_and_no_more() {
        let mut cache = PrefixCache::default();
        let first = "0123456789abcdef 0123456789abcdef and so on until the end";
        assert_eq!(cache.cached_tokens(&blocks("", first)), 0);
        cache.remember(&blocks("", first));
        assert_eq!(cache.cached_tokens(&blocks("", first)), count_tokens(first) / BLOCK_TOKENS * BLOCK_TOKENS);
        assert_eq!(cache.cached_tokens(&blocks("", "0123456789abcdef something else entirely")), 4);
        assert_eq!(cache.cached_tokens(&blocks("", &format!("unique {first}"))), 0);
        assert_eq!(cache.cached_tokens(&blocks("salt", first)), 0);
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let mut cache = PrefixCache::default();
        cache.remember(&[1]);
        cache.remember(&(2..=CAPACITY as u64 + 1).collect::<Vec<_>>());
        assert_eq!(cache.cached_tokens(&[1]), 0);
        assert_eq!(cache.cached_tokens(&[2]), BLOCK_TOKENS);
        assert_eq!(cache.held.len(), CAPACITY);
    }
}
