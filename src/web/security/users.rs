//! Whether a visitor is a user: bcrypt, and what was verified before.
//!
//! A bcrypt check costs a core some hundredths of a second, by design. So one is made at a
//! time, apart from the threads that answer, and what it said yes to is remembered: by a tag
//! under a key of this process, never the password. A tag covers the hash too, so that what
//! was verified against an old one says nothing of a new one. Tags are keyed, so how long a
//! look-up takes says nothing to whoever does not know the key.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ring::hmac::{self, HMAC_SHA256};
use ring::rand::SystemRandom;
use tokio::sync::Semaphore;

use crate::domain::plan::Secret;

/// The most users who are remembered.
const REMEMBERED: usize = 100;

type Tag = [u8; 32];

#[derive(Debug)]
pub(super) struct Users {
    /// `None` where the system has no random numbers: then nothing is remembered.
    key: Option<hmac::Key>,
    known: Mutex<HashSet<Tag>>,
    turn: Arc<Semaphore>,
}

impl Default for Users {
    fn default() -> Self {
        let key = hmac::Key::generate(HMAC_SHA256, &SystemRandom::new()).ok();
        Self { key, known: Mutex::default(), turn: Arc::new(Semaphore::new(1)) }
    }
}

/// What a browser sends in an `Authorization` header.
#[derive(Debug, PartialEq)]
struct Credentials {
    name: String,
    password: Vec<u8>,
}

impl Credentials {
    fn read(header: &[u8]) -> Option<Self> {
        let (scheme, rest) = header.split_at_checked(6)?;
        if !scheme.eq_ignore_ascii_case(b"basic ") {
            return None;
        }
        let decoded = BASE64_STANDARD.decode(rest.trim_ascii()).ok()?;
        let colon = decoded.iter().position(|byte| *byte == b':')?;
        let (name, password) = decoded.split_at_checked(colon)?;
        let name = String::from_utf8(name.to_vec()).ok()?;
        Some(Self { name, password: password.get(1..)?.to_vec() })
    }
}

impl Users {
    /// Whether the credentials are those of one of `users`; where there are none, everybody's.
    pub(super) async fn admits(&self, users: &BTreeMap<String, Secret>, header: Option<&[u8]>) -> bool {
        // Whom nobody knows is checked against somebody else's hash, which takes as long: the
        // answer does not tell which users there are.
        let Some(decoy) = users.values().next() else { return true };
        let Some(credentials) = header.and_then(Credentials::read) else { return false };
        let known = users.get(&credentials.name);
        let hash = known.unwrap_or(decoy);
        let tag = self.tag(&credentials, hash);
        if known.is_some() && tag.is_some_and(|tag| self.known().contains(&tag)) {
            return true;
        }
        let Ok(turn) = self.turn.clone().acquire_owned().await else { return false };
        let hash = hash.clone();
        let check = move || {
            // A visitor who hangs up ends the wait for the check, not the check, nor its turn.
            let _turn = turn;
            bcrypt::verify(&credentials.password, hash.reveal()).unwrap_or(false)
        };
        let is_right = tokio::task::spawn_blocking(check).await.unwrap_or(false);
        let admitted = is_right && known.is_some();
        if let Some(tag) = tag.filter(|_| admitted) {
            let mut remembered = self.known();
            if remembered.len() >= REMEMBERED {
                remembered.clear();
            }
            remembered.insert(tag);
        }
        admitted
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashSet<Tag>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tag(&self, credentials: &Credentials, hash: &Secret) -> Option<Tag> {
        let mut context = hmac::Context::with_key(self.key.as_ref()?);
        for part in [credentials.name.as_bytes(), hash.reveal().as_bytes(), &credentials.password] {
            // With the lengths no two triples are the same bytes.
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        context.sign().as_ref().try_into().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(text: &str) -> Vec<u8> {
        format!("Basic {}", BASE64_STANDARD.encode(text)).into_bytes()
    }

    fn users(pairs: &[(&str, &str)]) -> BTreeMap<String, Secret> {
        let hash = |password: &str| Secret::new(bcrypt::hash(password, 4).expect("can be hashed"));
        pairs.iter().map(|(name, password)| ((*name).to_owned(), hash(password))).collect()
    }

    #[test]
    fn credentials_are_a_name_a_colon_and_anything() {
        let read = |text: &str| {
            let credentials = Credentials::read(&header(text))?;
            Some((credentials.name, String::from_utf8(credentials.password).expect("is text")))
        };
        assert_eq!(read("a:b:c"), Some(("a".to_owned(), "b:c".to_owned())));
        assert_eq!(read(":"), Some((String::new(), String::new())));
        assert_eq!(read("a"), None);
        for unsound in ["", "Basic", "Basic ", "Basic !", "Bearer YTpi", "Basic YTpi YTpi", "Básic YTpi"] {
            assert_eq!(Credentials::read(unsound.as_bytes()), None, "{unsound}");
        }
    }

    #[tokio::test]
    async fn only_a_user_with_the_password_is_let_in() {
        let (door, known) = (Users::default(), users(&[("ann", "pass:word"), ("bob", "other")]));
        for (credentials, expected) in [
            ("ann:pass:word", true),
            ("ann:pass:word", true),
            ("ann:other", false),
            ("bob:other", true),
            // Right for the one whose hash stands in.
            ("eve:pass:word", false),
            ("ann:", false),
            (":pass:word", false),
        ] {
            assert_eq!(door.admits(&known, Some(&header(credentials))).await, expected, "{credentials}");
        }
        assert!(!door.admits(&known, None).await);
        assert!(door.admits(&BTreeMap::new(), None).await);
        assert_eq!(door.known().len(), 2);
    }

    #[tokio::test]
    async fn a_new_password_ends_what_was_remembered() {
        let door = Users::default();
        let ann = header("ann:one");
        assert!(door.admits(&users(&[("ann", "one")]), Some(&ann)).await);
        assert!(!door.admits(&users(&[("ann", "two")]), Some(&ann)).await);
        assert!(!door.admits(&users(&[("bob", "one")]), Some(&ann)).await);
    }

    #[tokio::test]
    async fn a_visitor_who_hangs_up_leaves_no_turn_before_the_check_is_done() {
        let door = Users::default();
        let known = BTreeMap::from([("ann".to_owned(), Secret::new(bcrypt::hash("one", 10).expect("has a hash")))]);
        let ann = header("ann:two");
        let asked = tokio::time::timeout(std::time::Duration::from_millis(1), door.admits(&known, Some(&ann)));
        assert!(asked.await.is_err(), "a check takes longer");
        assert_eq!(door.turn.available_permits(), 0);
    }

    #[tokio::test]
    async fn no_more_are_remembered_than_there_is_room_for() {
        let door = Users::default();
        for n in 0..REMEMBERED + 5 {
            let name = format!("user{n}");
            assert!(door.admits(&users(&[(&name, "p")]), Some(&header(&format!("{name}:p")))).await);
            assert!(door.known().len() <= REMEMBERED);
        }
    }
}
