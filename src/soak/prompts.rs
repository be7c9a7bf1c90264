//! What is asked: prompts of one length, each beginning with words of its own.
//!
//! A prefix cache compares from the first token on, so the unique words come first. They
//! are plain short words, of which most tokenizers make one token each: the length of a
//! prompt does not vary as that of a random number would.

use rand::{Rng, RngExt as _};

use crate::domain::GenerateRequest;
use crate::domain::plan::{Prompts, RequestPlan};

/// Unique words before each prompt: with 128 to choose from, 42 bits.
const PREFIX_WORDS: usize = 6;

const INSTRUCTION: &str =
    "write a very long and detailed story with many scenes and people in which the following things all play a part";

const WORDS: [&str; 128] = [
    "apple", "arm", "army", "art", "ball", "band", "bank", "bar", "base", "bed", "bell", "bird", "blood", "blue",
    "boat", "body", "bone", "book", "box", "boy", "bread", "bridge", "brown", "bus", "call", "camp", "car", "card",
    "case", "cat", "chair", "child", "church", "city", "class", "cloud", "club", "coat", "cold", "corn", "cow",
    "cross", "cup", "dance", "day", "desk", "dog", "door", "dream", "dress", "drink", "earth", "east", "egg", "end",
    "eye", "face", "farm", "field", "fire", "fish", "floor", "food", "foot", "forest", "game", "garden", "girl",
    "glass", "gold", "grass", "green", "hand", "hat", "head", "heart", "hill", "home", "horse", "house", "ice",
    "island", "judge", "key", "king", "lake", "land", "leaf", "light", "line", "milk", "moon", "mother", "mouth",
    "music", "name", "night", "north", "nose", "oil", "page", "paper", "park", "plant", "rain", "red", "ring", "river",
    "road", "rock", "room", "salt", "sand", "school", "sea", "ship", "shop", "silver", "snow", "song", "star", "stone",
    "street", "sun", "table", "tree", "water", "wind",
];

/// The requests of a batch.
pub fn requests(plan: &RequestPlan, count: u32, output_tokens: u32, random: &mut impl Rng) -> Vec<GenerateRequest> {
    let mut requests = Vec::with_capacity(count as usize);
    // A start of its own for each sample: every line gets its turn in every cell.
    let first = random.random_range(0..plan.prompts.count());
    for index in first..first + count as usize {
        let body = match &plan.prompts {
            Prompts::BuiltIn { tokens } => built_in(*tokens as usize, plan.avoid_prefix_cache),
            Prompts::Lines { lines, .. } => lines.get(index % lines.len().max(1)).cloned().unwrap_or_default(),
        };
        let prompt = if plan.avoid_prefix_cache { format!("{} {body}", prefix(random)) } else { body };
        requests.push(GenerateRequest { prompt, output_tokens, seed: random.random_range(0..u32::MAX >> 1) });
    }
    requests
}

fn prefix(random: &mut impl Rng) -> String {
    let mut word = || WORDS.get(random.random_range(0..WORDS.len())).copied().unwrap_or_default();
    let words: [&str; PREFIX_WORDS] = std::array::from_fn(|_| word());
    words.join(" ")
}

/// A prompt of about `tokens` tokens, those of a unique prefix included.
fn built_in(tokens: usize, with_prefix: bool) -> String {
    let room = tokens.saturating_sub(if with_prefix { PREFIX_WORDS } else { 0 }).max(1);
    let words: Vec<&str> = INSTRUCTION.split(' ').chain(WORDS.into_iter().cycle()).take(room).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soak::order::generator;

    fn prompts(plan: &RequestPlan, count: u32, seed: u64) -> Vec<String> {
        requests(plan, count, 10, &mut generator(seed, &[])).into_iter().map(|request| request.prompt).collect()
    }

    #[test]
    fn prompts_have_one_length_and_differ_from_the_first_words_on() {
        let prompts = prompts(&RequestPlan::default(), 200, 1);
        assert!(prompts.iter().all(|prompt| prompt.split(' ').count() == 64));
        let starts: std::collections::BTreeSet<String> =
            prompts.iter().map(|prompt| prompt.split(' ').take(PREFIX_WORDS).collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(starts.len(), 200);
    }

    #[test]
    fn an_allowed_cache_gets_the_prompts_as_they_are() {
        let lines = vec!["one".to_owned(), "two".to_owned()];
        let prompts_of = Prompts::Lines { lines, digest: String::new() };
        let plan = RequestPlan { avoid_prefix_cache: false, prompts: prompts_of, ..RequestPlan::default() };
        let taken = prompts(&plan, 3, 1);
        assert!(taken == ["one", "two", "one"] || taken == ["two", "one", "two"], "{taken:?}");
        let plan = RequestPlan { avoid_prefix_cache: false, ..RequestPlan::default() };
        let built_in = prompts(&plan, 2, 1);
        assert_eq!(built_in[0], built_in[1]);
        assert_eq!(built_in[0].split(' ').count(), 64);
    }
}
