//! Keeps secrets out of what servers say: some, and proxies before them, repeat what they were sent.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::domain::plan::Secret;

/// What is shorter, bytes, keeps no secret, and would be found in any text.
const SHORTEST: usize = 4;
/// The same of a part of a value, which may be a word of any language.
const SHORTEST_PART: usize = 8;

/// What must not come back in what is told of an error.
#[derive(Clone, Debug, Default)]
pub(super) struct Secrets {
    /// The longest first: one may be a part of another.
    known: Vec<Secret>,
}

impl Secrets {
    /// Of the values of headers.
    pub(super) fn of<'a>(values: impl IntoIterator<Item = &'a Secret>) -> Self {
        values.into_iter().fold(Self::default(), |secrets, value| secrets.and(value))
    }

    /// These and one more, whole and in its parts, for a server may repeat the key alone.
    pub(super) fn and(&self, value: &Secret) -> Self {
        let text = value.reveal();
        let decoded = basic(text).unwrap_or_default();
        let (user, password) = decoded.split_once(':').unwrap_or_default();
        let wholes = [text, &decoded, user, password].into_iter().filter(|whole| whole.len() >= SHORTEST);
        let parts = parts(text).filter(|part| part.len() >= SHORTEST_PART);
        let mut known = self.known.clone();
        for part in wholes.chain(parts) {
            // As it is within a JSON text, too.
            let quoted = serde_json::Value::from(part).to_string();
            let quoted = quoted.trim_matches('"');
            known.extend([part, quoted].map(Secret::new));
        }
        known.sort_by(|a, b| b.reveal().len().cmp(&a.reveal().len()).then_with(|| a.reveal().cmp(b.reveal())));
        known.dedup();
        Self { known }
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.known.len()
    }

    /// The text without any of them.
    pub(super) fn hidden_in(&self, text: &str) -> String {
        self.known.iter().fold(text.to_owned(), |text, secret| text.replace(secret.reveal(), "<secret>"))
    }
}

/// What could be a key in the value of a header: `Bearer KEY`, `session=KEY; path=/`.
fn parts(value: &str) -> impl Iterator<Item = &str> {
    value.split(|c: char| c.is_whitespace() || matches!(c, ';' | ',' | '=' | ':' | '"'))
}

/// The user and the password of a header's value (RFC 7617), where it has them.
fn basic(value: &str) -> Option<String> {
    let (scheme, encoded) = value.split_once(' ')?;
    let decoded = BASE64_STANDARD.decode(encoded.trim()).ok()?;
    String::from_utf8(decoded).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is left of `said` by the server that was sent a header of that value.
    fn check(value: &str, said: &str, expected: &str) {
        assert_eq!(Secrets::of([&Secret::new(value)]).hidden_in(said), expected, "{value}");
    }

    #[test]
    fn a_key_is_hidden_without_its_scheme() {
        let value = "Bearer sk-0123456789";
        check(value, "Incorrect API key provided: sk-0123456789.", "Incorrect API key provided: <secret>.");
        check(value, "got 'Bearer sk-0123456789'", "got '<secret>'");
        check(value, "a Bearer token is needed", "a Bearer token is needed");
    }

    #[test]
    fn both_halves_of_basic_authentication_are_hidden() {
        // operator:correcthorse
        let value = "Basic b3BlcmF0b3I6Y29ycmVjdGhvcnNl";
        check(value, "no user operator:correcthorse", "no user <secret>");
        check(value, "wrong password correcthorse", "wrong password <secret>");
        check(value, "got b3BlcmF0b3I6Y29ycmVjdGhvcnNl", "got <secret>");
        // me:1234
        check("basic bWU6MTIzNA==", "me, 1234 is wrong", "me, <secret> is wrong");
    }

    #[test]
    fn cookies_and_quoted_keys_are_hidden() {
        check("session=0123456789; path=/", "expired: 0123456789", "expired: <secret>");
        check(r#"k"ey\0123456789"#, r#"{"got":"k\"ey\\0123456789"}"#, r#"{"got":"<secret>"}"#);
    }

    #[test]
    fn what_is_too_short_to_be_a_secret_is_left_alone() {
        check("0", "400: no such field", "400: no such field");
        check("", "nothing", "nothing");
        check("eu1", "eu1 is full", "eu1 is full");
    }

    #[test]
    fn a_secret_that_is_part_of_another_leaves_nothing_of_it() {
        let [short, long] = ["0123456789", "0123456789abcdef"].map(Secret::new);
        for values in [[&short, &long], [&long, &short]] {
            assert_eq!(Secrets::of(values).hidden_in("got 0123456789abcdef"), "got <secret>");
        }
    }
}
