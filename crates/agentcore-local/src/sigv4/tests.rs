//! The golden vectors, each as it is and with one thing changed; and input that means nothing.

use super::*;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

struct Vector {
    id: String,
    presign: bool,
    method: String,
    target: String,
    headers: Headers,
    body: Vec<u8>,
    credentials: Credentials,
    region: String,
    service: String,
    now: i64,
}

impl Vector {
    fn verify(&self) -> Result<(), ServiceError> {
        verify(
            &Signed {
                method: &self.method,
                target: &self.target,
                headers: &self.headers,
                body_sha256: &sha256_hex(&self.body),
            },
            &self.credentials,
            &Scope { region: &self.region, service: &self.service, now: self.now },
        )
    }
}

fn text(value: &Value) -> String {
    value.as_str().expect("a string").to_owned()
}

fn vectors() -> Vec<Vector> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/sigv4.json");
    let file: Value = serde_json::from_slice(&std::fs::read(path).expect("vectors")).expect("JSON");
    file["vectors"].as_array().expect("a list").iter().map(|v| vector(v, &file)).collect()
}

fn vector(v: &Value, file: &Value) -> Vector {
    let (input, expected) = (&v["input"], &v["expected"]);
    let presign = v["kind"] == "presign";
    let url = text(&expected["url"]);
    let rest = url.split_once("://").expect("a scheme").1;
    let (host, target) = rest.split_at(rest.find('/').expect("a path"));
    let mut headers: Headers = input["headers"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|h| (text(&h[0]), text(&h[1])))
        .collect();
    if !headers.contains("host") {
        headers.push("Host", host);
    }
    if !presign {
        for (name, value) in expected["headers_added"].as_object().expect("an object") {
            headers.push(name.as_str(), text(value));
        }
    }
    let keys = &file["credentials"][input["credentials"].as_str().expect("a name")];
    Vector {
        id: text(&v["id"]),
        presign,
        method: text(&input["method"]),
        target: target.to_owned(),
        headers,
        body: STANDARD.decode(text(&input["body_base64"])).expect("base64"),
        credentials: Credentials {
            access_key: text(&keys["access_key_id"]),
            secret_key: text(&keys["secret_access_key"]),
            session_token: keys["session_token"].as_str().map(str::to_owned),
        },
        region: text(&input["region"]),
        service: text(&input["signing_name"]),
        now: clock::parse_amz_date(&text(&input["timestamp"])).expect("a date"),
    }
}

#[test]
fn every_golden_vector_verifies() {
    let all = vectors();
    assert!(all.len() >= 24, "{}", all.len());
    assert!(all.iter().any(|v| v.presign) && all.iter().any(|v| !v.presign));
    for v in all {
        if let Err(error) = v.verify() {
            panic!("{}: {} {}", v.id, error.code, error.message());
        }
    }
}

#[test]
fn one_changed_bit_fails() {
    for original in vectors() {
        for what in ["path", "query", "header", "body", "signature", "method", "secret"] {
            let mut v = Vector { headers: original.headers.clone(), ..vector_copy(&original) };
            match what {
                "path" => v.target.insert(1, 'x'),
                "query" => {
                    let join = if v.target.contains('?') { '&' } else { '?' };
                    v.target = format!("{}{join}extra=1", v.target);
                }
                "header" => {
                    v.headers = v
                        .headers
                        .iter()
                        .map(|(n, value)| {
                            let mut value = value.to_vec();
                            if n.eq_ignore_ascii_case("host") {
                                value[0] ^= 1;
                            }
                            (n.to_owned(), value)
                        })
                        .collect();
                }
                "body" => v.body.push(0),
                "method" => v.method = "PUT".to_owned(),
                "secret" => v.credentials.secret_key.push('x'),
                _ if v.presign => v.target = flip_signature(&v.target),
                _ => {
                    v.headers = v
                        .headers
                        .iter()
                        .map(|(n, value)| {
                            let value = String::from_utf8(value.to_vec()).expect("text");
                            let flipped = n.eq_ignore_ascii_case("authorization");
                            (n.to_owned(), if flipped { flip_signature(&value) } else { value })
                        })
                        .collect();
                }
            }
            let error = v.verify().err();
            let code = error.map(|e| e.code);
            assert_eq!(
                code.as_deref(),
                Some("InvalidSignatureException"),
                "{} with another {what}",
                v.id
            );
        }
    }
}

fn vector_copy(v: &Vector) -> Vector {
    Vector {
        id: v.id.clone(),
        presign: v.presign,
        method: v.method.clone(),
        target: v.target.clone(),
        headers: v.headers.clone(),
        body: v.body.clone(),
        credentials: v.credentials.clone(),
        region: v.region.clone(),
        service: v.service.clone(),
        now: v.now,
    }
}

/// Another last digit in the signature.
fn flip_signature(text: &str) -> String {
    let at = text.find("Signature=").expect("a signature") + "Signature=".len() + 63;
    let other = if text.as_bytes()[at] == b'0' { "1" } else { "0" };
    format!("{}{other}{}", &text[..at], &text[at + 1..])
}

fn code(v: &Vector) -> String {
    v.verify().expect_err("refused").code
}

#[test]
fn clocks_and_keys_and_scopes() {
    for original in vectors() {
        let fresh = || vector_copy(&original);
        let mut v = fresh();
        v.now += if v.presign { 60 } else { SKEW_SECONDS };
        assert!(v.verify().is_ok(), "{}", v.id);
        v.now = original.now - SKEW_SECONDS;
        assert!(v.verify().is_ok(), "{}", v.id);
        v.now -= 1;
        let early = v.verify().expect_err("early");
        assert!(early.message().starts_with("Signature not yet current"));
        v.now = original.now + MAX_EXPIRES;
        let late = v.verify().expect_err("late");
        assert!(late.message().starts_with("Signature expired"));

        let mut v = fresh();
        v.region = "eu-north-1".into();
        assert_eq!(code(&v), "InvalidSignatureException");
        let mut v = fresh();
        v.service = "s3".into();
        assert_eq!(code(&v), "InvalidSignatureException");
        let mut v = fresh();
        v.credentials.access_key.push('X');
        assert_eq!(code(&v), "UnrecognizedClientException");
        let mut v = fresh();
        v.credentials.session_token = match v.credentials.session_token {
            Some(_) => None,
            None => Some("token".into()),
        };
        assert_eq!(code(&v), "UnrecognizedClientException");
        let mut v = fresh();
        v.headers.push("X-Amz-Unsigned", "1");
        assert_eq!(code(&v), "InvalidSignatureException");
        let mut v = fresh();
        v.headers.push("X-Amz-Content-Sha256", "00");
        assert_eq!(code(&v), "InvalidSignatureException");
    }
}

#[test]
fn without_or_with_two_claims() {
    let mut v = vectors().remove(0);
    v.headers.push("Authorization", "Bearer x");
    assert_eq!(code(&v), "IncompleteSignatureException");
    v.headers = Headers::new();
    assert_eq!(code(&v), "MissingAuthenticationTokenException");
    v.headers.push("Authorization", "Bearer x");
    assert_eq!(code(&v), "AccessDeniedException");
}

#[test]
fn duplicates_are_joined_and_spaces_folded() {
    assert_eq!(fold(b"  a   b\t c "), "a b c");
    assert_eq!(canonical_query("b=2&a=x%2fy&a=&c", false), "a=&a=x%2Fy&b=2&c=");
    assert_eq!(canonical_path("/a//b/../c%3A/"), "/a/c%253A/");
}

proptest::proptest! {
    #[test]
    fn never_panics(target in ".{0,200}", value in ".{0,200}", date in ".{0,20}") {
        let mut headers = Headers::new();
        headers.push("Authorization", format!("{ALGORITHM}{value}"));
        headers.push("X-Amz-Date", date);
        let request = Signed { method: "GET", target: &target, headers: &headers, body_sha256: "" };
        let keys = Credentials {
            access_key: "a".into(), secret_key: "b".into(), session_token: None,
        };
        let scope = Scope { region: "r", service: "s", now: 0 };
        let _ = verify(&request, &keys, &scope);
        let request = Signed { headers: &Headers::new(), ..request };
        let _ = verify(&request, &keys, &scope);
    }
}
