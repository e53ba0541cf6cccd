//! Bearer tokens: checks them against a local key set, and mints some for tests.
//! HS256 with a secret of this run, RS256 and ES256 with public keys from a JWKS document.

use crate::encoding::{constant_time_eq, random_bytes};
use crate::headers::Headers;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde_json::{Map, Value, json};
use sha2::Sha256;
use std::fmt;

/// How far the issuer's clock may be off.
const LEEWAY_SECONDS: i64 = 60;

/// How a runtime checks bearer tokens.
#[derive(Clone)]
pub struct JwtAuth {
    issuer: String,
    audiences: Vec<String>,
    clients: Vec<String>,
    secret: Vec<u8>,
    keys: Vec<Key>,
}

impl fmt::Debug for JwtAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtAuth")
            .field("issuer", &self.issuer)
            .field("audiences", &self.audiences)
            .field("clients", &self.clients)
            .field("keys", &self.keys.len())
            .finish_non_exhaustive()
    }
}

#[derive(Clone)]
struct Key {
    id: Option<String>,
    material: Material,
}

#[derive(Clone)]
enum Material {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256 { point: Vec<u8> },
}

/// A key set that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadKeySet(&'static str);

impl fmt::Display for BadKeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the key set is not usable: {}", self.0)
    }
}

impl std::error::Error for BadKeySet {}

impl JwtAuth {
    /// Tokens of this issuer, signed with a random HS256 secret until keys are given.
    pub fn new(issuer: impl Into<String>) -> Self {
        Self {
            issuer: issuer.into(),
            audiences: Vec::new(),
            clients: Vec::new(),
            secret: hex::encode(random_bytes::<32>()).into_bytes(),
            keys: Vec::new(),
        }
    }

    /// Demands one of these in `aud`; may be called more than once.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audiences.push(audience.into());
        self
    }

    /// Demands one of these in `client_id`; may be called more than once.
    pub fn client_id(mut self, client: impl Into<String>) -> Self {
        self.clients.push(client.into());
        self
    }

    /// The HS256 secret, in place of the random one.
    pub fn hs256_secret(mut self, secret: impl Into<Vec<u8>>) -> Self {
        self.secret = secret.into();
        self
    }

    /// Accepts RS256 and ES256 signatures of the keys in a JWKS document.
    pub fn jwks(mut self, document: &str) -> Result<Self, BadKeySet> {
        let value: Value = serde_json::from_str(document).map_err(|_| BadKeySet("not JSON"))?;
        let keys = value["keys"].as_array().ok_or(BadKeySet("no list 'keys'"))?;
        for key in keys {
            let part = |name: &str| key[name].as_str().and_then(|t| URL_SAFE_NO_PAD.decode(t).ok());
            let material = match key["kty"].as_str() {
                Some("RSA") => {
                    let missing = BadKeySet("an RSA key without n and e");
                    Material::Rsa {
                        n: part("n").ok_or(missing.clone())?,
                        e: part("e").ok_or(missing)?,
                    }
                }
                Some("EC") if key["crv"] == "P-256" => {
                    let missing = BadKeySet("an EC key without x and y");
                    let mut point = vec![4];
                    point.extend(part("x").ok_or(missing.clone())?);
                    point.extend(part("y").ok_or(missing)?);
                    Material::P256 { point }
                }
                _ => continue,
            };
            self.keys.push(Key { id: key["kid"].as_str().map(str::to_owned), material });
        }
        if self.keys.is_empty() {
            return Err(BadKeySet("no RSA or P-256 key in it"));
        }
        Ok(self)
    }

    pub(crate) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Signs claims with HS256. What the checks demand is filled in unless the claims say otherwise;
    /// a claim of `null` is left out.
    pub(crate) fn mint(&self, claims: &Value, now: i64) -> String {
        let mut all = Map::new();
        all.insert("iss".into(), json!(self.issuer));
        all.insert("sub".into(), json!("local-user"));
        all.insert("iat".into(), json!(now));
        all.insert("exp".into(), json!(now + 3_600));
        if let Some(audience) = self.audiences.first() {
            all.insert("aud".into(), json!(audience));
        }
        if let Some(client) = self.clients.first() {
            all.insert("client_id".into(), json!(client));
        }
        if let Some(given) = claims.as_object() {
            all.extend(given.clone());
        }
        all.retain(|_, v| !v.is_null());
        let part = |v: Value| URL_SAFE_NO_PAD.encode(v.to_string());
        let head = part(json!({ "alg": "HS256", "typ": "JWT" }));
        let signed = format!("{head}.{}", part(Value::Object(all)));
        let signature = self.hs256(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn hs256(&self, data: &[u8]) -> Vec<u8> {
        // A key of any length is a valid HMAC key.
        Hmac::<Sha256>::new_from_slice(&self.secret).map_or_else(
            |_| Vec::new(),
            |mut mac| {
                mac.update(data);
                mac.finalize().into_bytes().to_vec()
            },
        )
    }

    /// Checks the bearer token of a request; the error is a reason without any part of the token.
    pub(crate) fn verify(&self, headers: &Headers, now: i64) -> Result<(), &'static str> {
        let token = headers
            .get("authorization")
            .and_then(|v| v.split_once(' '))
            .map(|(_, token)| token.trim())
            .ok_or("Missing bearer token")?;
        let mut parts = token.split('.');
        let (Some(head), Some(body), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err("Token is not a JWT");
        };
        let decode = |t: &str| URL_SAFE_NO_PAD.decode(t).map_err(|_| "Token is not a JWT");
        let json = |t: &str| {
            serde_json::from_slice::<Value>(&decode(t)?).map_err(|_| "Token is not a JWT")
        };
        let (header, claims) = (json(head)?, json(body)?);
        let signed = &token.as_bytes()[..head.len() + 1 + body.len()];
        self.check_signature(&header, signed, &decode(signature)?)?;
        self.check_claims(&claims, now)
    }

    fn check_signature(
        &self,
        header: &Value,
        signed: &[u8],
        signature: &[u8],
    ) -> Result<(), &'static str> {
        let algorithm = header["alg"].as_str().unwrap_or_default();
        let id = header["kid"].as_str();
        let mut candidates = self.keys.iter().filter(|k| id.is_none() || k.id.as_deref() == id);
        let good = match algorithm {
            "HS256" => constant_time_eq(&self.hs256(signed), signature),
            "RS256" => candidates.any(|k| match &k.material {
                Material::Rsa { n, e } => RsaPublicKeyComponents { n, e }
                    .verify(&RSA_PKCS1_2048_8192_SHA256, signed, signature)
                    .is_ok(),
                Material::P256 { .. } => false,
            }),
            "ES256" => candidates.any(|k| match &k.material {
                Material::P256 { point } => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
                    .verify(signed, signature)
                    .is_ok(),
                Material::Rsa { .. } => false,
            }),
            _ => return Err("Token has an unsupported algorithm"),
        };
        if good { Ok(()) } else { Err("Token signature is invalid") }
    }

    fn check_claims(&self, claims: &Value, now: i64) -> Result<(), &'static str> {
        let time =
            |name: &str| claims[name].as_i64().or_else(|| claims[name].as_f64().map(|f| f as i64));
        match time("exp") {
            None => return Err("Token has no expiry"),
            Some(exp) if exp <= now => return Err("Token has expired"),
            Some(_) => {}
        }
        if time("nbf").is_some_and(|nbf| nbf > now.saturating_add(LEEWAY_SECONDS)) {
            return Err("Token is not valid yet");
        }
        if claims["iss"].as_str() != Some(&self.issuer) {
            return Err("Token issuer is not the configured one");
        }
        let named = |value: &Value, allowed: &[String]| match value {
            Value::String(one) => allowed.contains(one),
            Value::Array(many) => {
                many.iter().filter_map(Value::as_str).any(|v| allowed.iter().any(|a| a == v))
            }
            _ => false,
        };
        if !self.audiences.is_empty() && !named(&claims["aud"], &self.audiences) {
            return Err("Token audience is not allowed");
        }
        if !self.clients.is_empty() && !named(&claims["client_id"], &self.clients) {
            return Err("Token client is not allowed");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};

    const NOW: i64 = 1_768_480_496;

    fn auth() -> JwtAuth {
        JwtAuth::new("https://issuer.example").audience("agents").client_id("app")
    }

    fn check(auth: &JwtAuth, token: &str) -> Result<(), &'static str> {
        let headers = Headers::from_iter([("Authorization", format!("Bearer {token}"))]);
        auth.verify(&headers, NOW)
    }

    #[test]
    fn minted_tokens_and_their_flaws() {
        let auth = auth();
        let mint = |claims| auth.mint(&claims, NOW);
        assert_eq!(check(&auth, &mint(json!({}))), Ok(()));
        assert_eq!(check(&auth, &mint(json!({"aud": ["x", "agents"]}))), Ok(()));
        for (claims, reason) in [
            (json!({"exp": NOW}), "expired"),
            (json!({"exp": null}), "no expiry"),
            (json!({"nbf": NOW + 61}), "not valid yet"),
            (json!({"iss": "x"}), "issuer"),
            (json!({"aud": null}), "audience"),
            (json!({"client_id": "x"}), "client"),
        ] {
            let error = check(&auth, &mint(claims)).expect_err("refused");
            assert!(error.contains(reason), "{error}");
        }
        let other = JwtAuth::new("https://issuer.example").audience("agents").client_id("app");
        assert_eq!(check(&other, &mint(json!({}))), Err("Token signature is invalid"));
        let part = |v: Value| URL_SAFE_NO_PAD.encode(v.to_string());
        let none = format!("{}.{}.", part(json!({"alg": "none"})), part(json!({})));
        assert_eq!(check(&auth, &none), Err("Token has an unsupported algorithm"));
        for junk in ["", "a", "a.b", "a.b.c", "a.b.c.d", "é.é.é"] {
            assert!(check(&auth, junk).is_err());
        }
    }

    #[test]
    fn es256_from_a_key_set() {
        let random = SystemRandom::new();
        let pkcs8 =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random)
                .expect("a pair");
        let point = pair.public_key().as_ref();
        let jwks = json!({"keys": [
            {"kty": "oct", "k": "AA"},
            {"kty": "EC", "crv": "P-256", "kid": "one",
             "x": URL_SAFE_NO_PAD.encode(&point[1..33]), "y": URL_SAFE_NO_PAD.encode(&point[33..])},
        ]});
        let auth = auth().jwks(&jwks.to_string()).expect("keys");
        let part = |v: Value| URL_SAFE_NO_PAD.encode(v.to_string());
        let claims = json!({"iss": "https://issuer.example", "aud": "agents", "client_id": "app",
            "exp": NOW + 10});
        let token = |kid: &str| {
            let signed =
                format!("{}.{}", part(json!({"alg": "ES256", "kid": kid})), part(claims.clone()));
            let signature = pair.sign(&random, signed.as_bytes()).expect("signed");
            format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
        };
        assert_eq!(check(&auth, &token("one")), Ok(()));
        assert_eq!(check(&auth, &token("two")), Err("Token signature is invalid"));
        assert!(JwtAuth::new("i").jwks("{\"keys\":[]}").is_err());
    }
}
