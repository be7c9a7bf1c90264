//! The words of the answers. They need no escaping in JSON, so that a chunk costs no parser.

/// One word is one token. ASCII letters alone: [`words`] promises it.
const WORDS: [&str; 32] = [
    "the",
    "river",
    "a",
    "stone",
    "of",
    "morning",
    "and",
    "walked",
    "to",
    "quiet",
    "in",
    "harbour",
    "it",
    "garden",
    "was",
    "lantern",
    "that",
    "winter",
    "he",
    "window",
    "she",
    "letter",
    "for",
    "mountain",
    "on",
    "story",
    "with",
    "traveller",
    "as",
    "bridge",
    "they",
    "silver",
];

/// `count` words, the first being number `from` of the answer; a space before each.
pub(super) fn words(answer: u64, from: u32, count: u32) -> String {
    let mut text = String::with_capacity(count as usize * 8);
    for position in from..from.saturating_add(count) {
        // The upper bits of a multiplicative hash: neighbours get unlike words.
        let mixed = (answer ^ u64::from(position)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let index = usize::try_from(mixed >> 59).unwrap_or(0);
        text.push(' ');
        text.push_str(WORDS.get(index).copied().unwrap_or("word"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_reads_the_same_however_it_is_cut() {
        let whole = words(99, 0, 40);
        assert_eq!(format!("{}{}{}", words(99, 0, 1), words(99, 1, 20), words(99, 21, 19)), whole);
        assert_ne!(words(98, 0, 40), whole);
        assert_eq!(whole.split_whitespace().count(), 40);
        assert!(whole.bytes().all(|byte| byte == b' ' || byte.is_ascii_lowercase()));
    }
}
