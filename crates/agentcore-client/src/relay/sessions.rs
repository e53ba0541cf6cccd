//! Whose session answers. A socket never names a runtime session: it names a
//! conversation, which only together with the secret and with who asks becomes an
//! id, or shows a sealed token that was made for it.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;

use super::event::Wishes;
use super::hooks::Refusal;
use crate::error::{Delivery, Error, ErrorKind, Result};
use crate::protocol::session::SessionId;

/// A key for one purpose, made of the relay's secret.
pub(super) fn key_for(secret: &[u8], purpose: &str) -> [u8; 32] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), purpose.as_bytes());
    let mut key = [0; 32];
    key.copy_from_slice(tag.as_ref());
    key
}

/// Who asks: the principal, or the connection of somebody whom nobody knows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker<'a> {
    pub(super) principal: Option<&'a str>,
    pub(super) connection_id: &'a str,
}

impl Asker<'_> {
    fn name(&self) -> &str {
        self.principal.unwrap_or(self.connection_id)
    }
}

/// The session that a message belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) session: SessionId,
    /// Whether a token of the client's chose it.
    pub(super) resumed: bool,
}

/// Chooses sessions, and seals tokens to come back to them.
pub(super) struct Sessions {
    secret: Vec<u8>,
    key: LessSafeKey,
    lifetime: Duration,
    /// Whether a token of somebody unknown serves on another connection, too.
    anyone_resumes: bool,
    trust_client_ids: bool,
}

impl Sessions {
    pub(super) fn new(
        secret: &[u8],
        lifetime: Duration,
        anyone_resumes: bool,
        trust_client_ids: bool,
    ) -> Result<Self> {
        // The rule for secrets is the one of derived ids.
        SessionId::derive(secret, &["check"])?;
        let key = key_for(secret, "agentcore-client/relay/resume/v1");
        let key = UnboundKey::new(&AES_256_GCM, &key).map_err(|_| {
            Error::new(ErrorKind::Internal, Delivery::NotSent, "AES refused its key")
        })?;
        let key = LessSafeKey::new(key);
        Ok(Self { secret: secret.to_vec(), key, lifetime, anyone_resumes, trust_client_ids })
    }

    pub(super) fn choose(
        &self,
        asker: Asker<'_>,
        wishes: &Wishes,
        now: SystemTime,
    ) -> Result<Chosen, Refusal> {
        if let Some(id) = &wishes.session_id {
            if !self.trust_client_ids {
                return Err(Refusal::invalid(
                    "sessionId is not taken from clients; send a conversation of your own naming",
                ));
            }
            let session = SessionId::new(id).or_else(|_| self.derive(&[id]))?;
            return Ok(Chosen { session, resumed: false });
        }
        if let Some(session) = wishes.resume.as_ref().and_then(|token| self.open(asker, token, now))
        {
            return Ok(Chosen { session, resumed: true });
        }
        // Without a conversation of its own, a socket is one.
        let conversation = wishes.conversation.as_deref().unwrap_or(asker.connection_id);
        let session = self.derive(&[asker.name(), conversation])?;
        Ok(Chosen { session, resumed: false })
    }

    fn derive(&self, parts: &[&str]) -> Result<SessionId, Refusal> {
        SessionId::derive(&self.secret, parts).map_err(|_| Refusal::failed())
    }

    /// What a token is tied to without holding it.
    fn bound_to(&self, asker: Asker<'_>) -> Aad<Vec<u8>> {
        let (kind, name) = match asker.principal {
            Some(principal) => (b'p', principal),
            None if self.anyone_resumes => (b'a', ""),
            None => (b'c', asker.connection_id),
        };
        let mut bound = vec![kind];
        bound.extend_from_slice(name.as_bytes());
        Aad::from(bound)
    }

    /// A token by which its owner comes back to this session.
    pub(super) fn seal(
        &self,
        asker: Asker<'_>,
        session: &SessionId,
        now: SystemTime,
    ) -> Result<String, Refusal> {
        let expiry = now.checked_add(self.lifetime).ok_or_else(Refusal::failed)?;
        let expiry = expiry.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(|_| Refusal::failed())?;
        let mut sealed = expiry.to_be_bytes().to_vec();
        sealed.extend_from_slice(session.as_str().as_bytes());
        let nonce_used = Nonce::assume_unique_for_key(nonce);
        self.key
            .seal_in_place_append_tag(nonce_used, self.bound_to(asker), &mut sealed)
            .map_err(|_| Refusal::failed())?;
        let mut token = nonce.to_vec();
        token.append(&mut sealed);
        Ok(URL_SAFE_NO_PAD.encode(token))
    }

    /// The session of a token; `None` for one that is forged, out of date or somebody else's.
    fn open(&self, asker: Asker<'_>, token: &str, now: SystemTime) -> Option<SessionId> {
        let mut bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (nonce, sealed) = bytes.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let plain = self.key.open_in_place(nonce, self.bound_to(asker), sealed).ok()?;
        let (expiry, session) = plain.split_at_checked(8)?;
        let expiry = Duration::from_secs(u64::from_be_bytes(expiry.try_into().ok()?));
        let session = SessionId::local(std::str::from_utf8(session).ok()?).ok()?;
        (now.duration_since(SystemTime::UNIX_EPOCH).ok()? < expiry).then_some(session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"a secret of more than 16 bytes";

    fn sessions(anyone: bool, trust: bool) -> Sessions {
        Sessions::new(SECRET, Duration::from_secs(60), anyone, trust).unwrap()
    }

    fn asker<'a>(principal: Option<&'a str>, connection_id: &'a str) -> Asker<'a> {
        Asker { principal, connection_id }
    }

    fn wish(conversation: Option<&str>, resume: Option<&str>) -> Wishes {
        Wishes {
            conversation: conversation.map(str::to_owned),
            resume: resume.map(str::to_owned),
            ..Wishes::default()
        }
    }

    #[test]
    fn a_conversation_belongs_to_whoever_names_it() {
        let sessions = sessions(false, false);
        let now = SystemTime::now();
        let of = |asker: Asker<'_>, conversation| {
            sessions.choose(asker, &wish(conversation, None), now).unwrap().session
        };
        let mine = of(asker(None, "A="), Some("1"));
        assert_eq!(mine, of(asker(None, "A="), Some("1")));
        assert_ne!(mine, of(asker(None, "B="), Some("1")));
        assert_ne!(mine, of(asker(None, "A="), Some("2")));
        assert_ne!(mine, of(asker(None, "A="), None));
        // A user's other tab is the same user; the id is the one that an application derives.
        let ada = of(asker(Some("ada"), "A="), Some("1"));
        assert_eq!(ada, of(asker(Some("ada"), "B="), Some("1")));
        assert_eq!(ada, SessionId::derive(SECRET, &["ada", "1"]).unwrap());
        assert_ne!(ada, of(asker(Some("bob"), "A="), Some("1")));
        assert_ne!(of(asker(Some("ada"), "A="), None), of(asker(Some("ada"), "B="), None));
    }

    #[test]
    fn a_token_leads_its_owner_back_and_nobody_else() {
        let now = SystemTime::now();
        let (ada, bob) = (asker(Some("ada"), "A="), asker(Some("bob"), "A="));
        let ours = sessions(false, false);
        let chosen = ours.choose(ada, &wish(Some("1"), None), now).unwrap();
        let token = ours.seal(ada, &chosen.session, now).unwrap();
        assert_ne!(token, ours.seal(ada, &chosen.session, now).unwrap());

        let with = |sessions: &Sessions, asker: Asker<'_>, token: &str, now| {
            sessions.choose(asker, &wish(Some("2"), Some(token)), now).unwrap()
        };
        let resumed = with(&ours, asker(Some("ada"), "new="), &token, now);
        assert_eq!(resumed, Chosen { session: chosen.session.clone(), resumed: true });
        for (who, token, at) in [
            (bob, token.clone(), now),
            (asker(None, "A="), token.clone(), now),
            (ada, token.clone(), now + Duration::from_secs(61)),
            (ada, token[..token.len() - 2].to_owned(), now),
            (
                ada,
                token.replace(&token[30..31], if &token[30..31] == "A" { "B" } else { "A" }),
                now,
            ),
            (ada, "AAAA".to_owned(), now),
            (ada, "no base64!".to_owned(), now),
        ] {
            let fresh = with(&ours, who, &token, at);
            assert!(!fresh.resumed);
            assert_ne!(fresh.session, chosen.session);
        }
        let other = Sessions::new(b"another secret of some length", Duration::ZERO, true, true);
        assert!(!with(&other.unwrap(), ada, &token, now).resumed);
    }

    #[test]
    fn a_token_of_somebody_unknown_stays_on_its_connection_unless_told_otherwise() {
        let now = SystemTime::now();
        let (here, there) = (asker(None, "A="), asker(None, "B="));
        let session = SessionId::generate();
        let strict = sessions(false, false);
        let token = strict.seal(here, &session, now).unwrap();
        assert_eq!(strict.open(here, &token, now), Some(session.clone()));
        assert_eq!(strict.open(there, &token, now), None);
        let lenient = sessions(true, false);
        let token = lenient.seal(here, &session, now).unwrap();
        assert_eq!(lenient.open(there, &token, now), Some(session.clone()));
        assert_eq!(lenient.open(asker(Some("bob"), "B="), &token, now), None);
    }

    #[test]
    fn raw_ids_are_taken_only_on_request_and_short_ones_made_compliant() {
        let now = SystemTime::now();
        let with = |id: &str| Wishes { session_id: Some(id.into()), ..Wishes::default() };
        let refused = sessions(false, false).choose(asker(None, "A="), &with("x"), now);
        assert_eq!(refused.unwrap_err().code(), "invalid_message");
        let trusting = sessions(false, true);
        let of = |connection, id: &str| {
            let chosen = trusting.choose(asker(None, connection), &with(id), now);
            chosen.unwrap().session
        };
        let long = SessionId::generate();
        assert_eq!(of("A=", long.as_str()), long);
        assert_eq!(of("A=", "short"), of("B=", "short"));
        assert!(SessionId::new(of("A=", "short").as_str()).is_ok());
        assert_ne!(of("A=", "short"), of("A=", "shor"));
    }

    #[test]
    fn a_short_secret_is_refused() {
        let error = Sessions::new(b"short", Duration::ZERO, false, false).err().unwrap();
        assert_eq!(error.field(), Some("secret"));
    }
}
