//! Session ids: made at random, derived from an application's own keys, or taken
//! from outside under a rule. The service does not check who owns a session, so
//! whoever guesses an id is in it: that shapes what this file offers and names.

use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

use crate::error::{Delivery, Error, ErrorKind, Result};
use crate::protocol::shape;

const FIELD: &str = "session_id";

/// Keeps derived ids apart from any other use of the same secret.
/// Neither this nor the framing may ever change: running conversations would be lost.
const LABEL: &str = "agentcore-client/session-id/v1";

const MIN_SECRET: usize = 16;

/// The id of a runtime session: what ties calls to one running copy of an agent and its memory.
/// Cheap to clone.
///
/// It is no secret to whoever runs the application, and shows in logs and errors; but the
/// service does not check who owns a session, so it must not be guessable for others.
///
/// ```
/// # use agentcore_client::SessionId;
/// let fresh = SessionId::generate();
/// assert_eq!(fresh.as_str().len(), 36);
///
/// # let secret = [7; 32];
/// let of_user = SessionId::derive(&secret, &["tenant", "user", "conversation"])?;
/// assert_eq!(of_user, SessionId::derive(&secret, &["tenant", "user", "conversation"])?);
/// # Ok::<(), agentcore_client::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(Arc<str>);

impl SessionId {
    /// A new id at random: a version 4 UUID, 36 characters.
    pub fn generate() -> Self {
        let mut bytes = [0; 16];
        if getrandom::fill(&mut bytes).is_err() {
            bytes = random_without_os();
        }
        // RFC 9562: version 4, variant 10.
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let mut text = String::with_capacity(36);
        for (index, byte) in bytes.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                text.push('-');
            }
            push_hex(&mut text, *byte);
        }
        Self(text.into())
    }

    /// The id that belongs to these parts (tenant, user, conversation, …) under this secret: the
    /// same in every process and language that knows the secret, and not guessable without it.
    ///
    /// HMAC-SHA256 over the parts, each with its length, so that `["ab", "c"]` and `["a", "bc"]`
    /// differ; 64 characters. Parts are taken as they are: nothing is trimmed or normalised, and
    /// an empty part is a value like any other, so check that a user's id is there before it
    /// becomes a part, or all users without one share a session.
    pub fn derive(secret: &[u8], parts: &[&str]) -> Result<Self> {
        if secret.len() < MIN_SECRET {
            return Err(Error::invalid(
                "secret",
                format_args!("{} bytes", secret.len()),
                format_args!(
                    "needs at least {MIN_SECRET} random bytes, kept like a password; derive_guessable works without one"
                ),
            ));
        }
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).map_err(|source| {
            // HMAC takes keys of any length.
            Error::new(ErrorKind::Internal, Delivery::NotSent, "HMAC refused its key")
                .with_source(source)
        })?;
        frame(parts, |bytes| mac.update(bytes))?;
        Ok(Self::hex(&mac.finalize().into_bytes()))
    }

    /// The id that belongs to these parts, without a secret. **Whoever knows or guesses the parts
    /// knows the id, and with access to the runtime is in the session.** For tests and for
    /// runtimes with one user; otherwise [`derive`](Self::derive).
    pub fn derive_guessable(parts: &[&str]) -> Result<Self> {
        let mut hash = Sha256::new();
        frame(parts, |bytes| hash.update(bytes))?;
        Ok(Self::hex(&hash.finalize()))
    }

    /// An id from outside: 33 to 100 characters, letters, digits, hyphens and underscores, the
    /// first a letter or digit. This is what the service takes everywhere.
    pub fn new(id: &str) -> Result<Self> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if (33..=100).contains(&id.len())
            && id.bytes().all(allowed)
            && id.as_bytes()[0].is_ascii_alphanumeric()
        {
            return Ok(Self(id.into()));
        }
        Err(Error::invalid(
            FIELD,
            shape::of(id),
            "needs 33 to 100 letters, digits, hyphens or underscores, the first a letter or digit; `derive` of SessionId makes one from your own keys, `generate` a random one",
        ))
    }

    /// An id that is in use already and breaks the rule of [`new`](Self::new): 33 to 256 visible
    /// ASCII characters. The service takes such ids for invocations, but does not promise to
    /// return them.
    pub fn existing(id: &str) -> Result<Self> {
        if (33..=256).contains(&id.len()) && is_visible(id) {
            return Ok(Self(id.into()));
        }
        Err(Error::invalid(FIELD, shape::of(id), "needs 33 to 256 visible ASCII characters"))
    }

    /// An id for an agent on this machine, which takes what the service would refuse: 1 to 256
    /// visible ASCII characters.
    pub fn local(id: &str) -> Result<Self> {
        if (1..=256).contains(&id.len()) && is_visible(id) {
            return Ok(Self(id.into()));
        }
        Err(Error::invalid(FIELD, shape::of(id), "needs 1 to 256 visible ASCII characters"))
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn hex(bytes: &[u8]) -> Self {
        let mut text = String::with_capacity(bytes.len() * 2);
        for byte in bytes {
            push_hex(&mut text, *byte);
        }
        Self(text.into())
    }
}

/// The label, then every part, each behind its length in eight bytes, big-endian.
fn frame(parts: &[&str], mut feed: impl FnMut(&[u8])) -> Result<()> {
    if parts.is_empty() {
        return Err(Error::invalid("parts", "none", "needs at least one, such as a user's id"));
    }
    for part in std::iter::once(&LABEL).chain(parts) {
        feed(&(part.len() as u64).to_be_bytes());
        feed(part.as_bytes());
    }
    Ok(())
}

/// In place of the system's random numbers should they fail, which on a running system they do
/// only where a sandbox forbids the call. A fixed or clock-made id would be guessable, and an
/// error here would burden every caller for what nobody sees: so the secret keys that std keeps
/// for its hash maps serve, through SHA-256, with a counter so that no two ids are alike. They
/// come from the system as well; where std itself got none, every `HashMap` of the process has
/// failed before.
fn random_without_os() -> [u8; 16] {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    let mut hash = Sha256::new();
    hash.update(count.to_be_bytes());
    for lane in 0..4_u8 {
        let mut keyed = RandomState::new().build_hasher();
        keyed.write_u64(count);
        keyed.write_u8(lane);
        hash.update(keyed.finish().to_be_bytes());
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.finalize()[..16]);
    bytes
}

fn is_visible(id: &str) -> bool {
    id.bytes().all(|b| b.is_ascii_graphic())
}

fn push_hex(text: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    text.push(char::from(DIGITS[usize::from(byte >> 4)]));
    text.push(char::from(DIGITS[usize::from(byte & 15)]));
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SessionId").field(&self.as_str()).finish()
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for SessionId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// So that a call takes an id or a reference to one.
impl From<&Self> for SessionId {
    fn from(id: &Self) -> Self {
        id.clone()
    }
}

impl FromStr for SessionId {
    type Err = Error;

    fn from_str(id: &str) -> Result<Self> {
        Self::new(id)
    }
}

impl TryFrom<&str> for SessionId {
    type Error = Error;

    fn try_from(id: &str) -> Result<Self> {
        Self::new(id)
    }
}

impl TryFrom<String> for SessionId {
    type Error = Error;

    fn try_from(id: String) -> Result<Self> {
        Self::new(&id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    const VECTORS: &str = include_str!("../../../../tests/vectors/session_ids.json");

    #[test]
    fn derived_ids_are_those_of_the_vectors() {
        let vectors: serde_json::Value = serde_json::from_str(VECTORS).unwrap();
        assert_eq!(vectors["label"], LABEL);
        let rows = vectors["vectors"].as_array().unwrap();
        assert!(rows.len() >= 10);
        let mut seen = HashSet::new();
        for row in rows {
            let secret = unhex(row["secret_hex"].as_str().unwrap());
            let parts: Vec<&str> = row["parts"]
                .as_array()
                .unwrap()
                .iter()
                .map(|part| part.as_str().unwrap())
                .collect();
            let derived = SessionId::derive(&secret, &parts).unwrap();
            assert_eq!(derived.as_str(), row["derive"], "{}", row["id"]);
            let guessable = SessionId::derive_guessable(&parts).unwrap();
            assert_eq!(guessable.as_str(), row["derive_guessable"], "{}", row["id"]);
            assert_eq!(SessionId::new(derived.as_str()).unwrap(), derived);
            assert!(seen.insert(derived) && seen.insert(guessable), "{} is not unique", row["id"]);
        }
    }

    fn unhex(text: &str) -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap())
            .collect()
    }

    #[test]
    fn generated_ids_are_random_uuids() {
        let mut seen = HashSet::new();
        for _ in 0..1000 {
            let id = SessionId::generate();
            check_uuid(id.as_str());
            assert_eq!(SessionId::new(id.as_str()).unwrap(), id);
            assert!(seen.insert(id));
        }
    }

    fn check_uuid(id: &str) {
        let parts: Vec<usize> = id.split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12]);
        assert!(id.bytes().all(|b| b == b'-' || matches!(b, b'0'..=b'9' | b'a'..=b'f')));
        assert_eq!(id.as_bytes()[14], b'4');
        assert!(b"89ab".contains(&id.as_bytes()[19]));
    }

    #[test]
    fn ids_without_the_systems_random_numbers_differ_on_all_threads() {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                std::thread::spawn(|| (0..500).map(|_| random_without_os()).collect::<Vec<_>>())
            })
            .collect();
        let mut seen = HashSet::new();
        for thread in threads {
            for bytes in thread.join().unwrap() {
                assert!(seen.insert(bytes));
            }
        }
    }

    #[test]
    fn a_secret_must_be_one_and_there_must_be_parts() {
        let error = SessionId::derive(b"short", &["a"]).unwrap_err();
        assert_eq!(error.field(), Some("secret"));
        assert!(!error.to_string().contains("short"));
        assert!(SessionId::derive(&[0; 15], &["a"]).is_err());
        assert!(SessionId::derive(&[0; 16], &["a"]).is_ok());
        assert_eq!(SessionId::derive(&[0; 16], &[]).unwrap_err().field(), Some("parts"));
        assert_eq!(SessionId::derive_guessable(&[]).unwrap_err().field(), Some("parts"));
    }

    #[test]
    fn each_door_has_its_rule() {
        let of = |length: usize| "x".repeat(length);
        // (value, new, existing, local)
        for (value, new, existing, local) in [
            (of(0), false, false, false),
            (of(1), false, false, true),
            (of(32), false, false, true),
            (of(33), true, true, true),
            (of(100), true, true, true),
            (of(101), false, true, true),
            (of(256), false, true, true),
            (of(257), false, false, false),
            (format!("-{}", of(40)), false, true, true),
            (format!("_{}", of(40)), false, true, true),
            (format!("a-_{}", of(40)), true, true, true),
            (format!("a:b{}", of(40)), false, true, true),
            (format!("a b{}", of(40)), false, false, false),
            (format!("{}\n", of(40)), false, false, false),
            (format!("é{}", of(40)), false, false, false),
        ] {
            assert_eq!(SessionId::new(&value).is_ok(), new, "new {value:?}");
            assert_eq!(value.parse::<SessionId>().is_ok(), new, "parse {value:?}");
            assert_eq!(SessionId::existing(&value).is_ok(), existing, "existing {value:?}");
            assert_eq!(SessionId::local(&value).is_ok(), local, "local {value:?}");
        }
    }

    #[test]
    fn a_refused_id_is_described_and_not_repeated() {
        let error = SessionId::new("my-session").unwrap_err();
        assert_eq!(error.field(), Some("session_id"));
        assert!(error.to_string().starts_with("session_id: 10 characters; needs 33 to 100"));
        assert!(!error.to_string().contains("my-session"));
    }

    #[test]
    fn an_id_shows_in_debug() {
        let id = SessionId::local("dev").unwrap();
        assert_eq!(format!("{id:?} {id}"), "SessionId(\"dev\") dev");
    }

    proptest! {
        #[test]
        fn parts_never_run_together(a in ".{0,9}", b in ".{0,9}", cut in 0_usize..20) {
            let whole = format!("{a}{b}");
            let cut = whole.char_indices().map(|(i, _)| i).nth(cut).unwrap_or(whole.len());
            let other = [&whole[..cut], &whole[cut..]];
            let same = other == [a.as_str(), b.as_str()];
            let first = SessionId::derive(&[1; 32], &[&a, &b]).unwrap();
            let second = SessionId::derive(&[1; 32], &other).unwrap();
            prop_assert_eq!(first == second, same);
        }

        #[test]
        fn no_input_panics(value in any::<String>()) {
            let _ = (SessionId::new(&value), SessionId::existing(&value), SessionId::local(&value));
        }
    }
}
