//! Percent-encoding as signatures want it, hex, and random identifiers.
//! Written out rather than borrowed, so that it is judged by the specification alone.

use ring::rand::{SecureRandom, SystemRandom};
use sha2::{Digest, Sha256};

fn unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Every byte outside the unreserved set becomes `%XX`; `/` stays when `keep_slash`.
pub(crate) fn percent_encode(bytes: &[u8], keep_slash: bool) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = String::with_capacity(bytes.len() + 16);
    for &b in bytes {
        if unreserved(b) || (keep_slash && b == b'/') {
            out.push(char::from(b));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(b >> 4)]));
            out.push(char::from(HEX[usize::from(b & 15)]));
        }
    }
    out
}

/// Undoes `%XX`. A `+` stays a `+`: the protocol writes a space as `%20` only.
/// A broken escape stays as it is, so that nothing is lost.
pub(crate) fn percent_decode(text: &str) -> Vec<u8> {
    let b = text.as_bytes();
    let mut out = Vec::with_capacity(b.len());
    let mut i = 0;
    while i < b.len() {
        let pair = (b[i] == b'%').then(|| b.get(i + 1..i + 3)).flatten();
        match pair.and_then(|p| {
            let digit = |c: u8| char::from(c).to_digit(16).and_then(|d| u8::try_from(d).ok());
            Some(digit(p[0])? << 4 | digit(p[1])?)
        }) {
            Some(byte) => {
                out.push(byte);
                i += 3;
            }
            None => {
                out.push(b[i]);
                i += 1;
            }
        }
    }
    out
}

/// The query's pairs, decoded. Text that is not UTF-8 is replaced, which never equals a legal value.
pub(crate) fn query_pairs(query: &str) -> Vec<(String, String)> {
    query
        .split('&')
        .filter(|p| !p.is_empty())
        .map(|p| {
            let (name, value) = p.split_once('=').unwrap_or((p, ""));
            let text = |s: &str| String::from_utf8_lossy(&percent_decode(s)).into_owned();
            (text(name), text(value))
        })
        .collect()
}

/// Lower-case hex of the SHA-256.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Compares without telling by its duration how much was equal.
pub(crate) fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0u8, |acc, (x, y)| acc | (x ^ y)) == 0
}

/// `N` bytes from the system's random source.
pub(crate) fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0u8; N];
    if SystemRandom::new().fill(&mut bytes).is_err() {
        // Keys are made from this: without randomness there is nothing sensible to go on with.
        std::process::abort();
    }
    bytes
}

/// A random UUID (version 4).
pub(crate) fn uuid() -> String {
    let mut b = random_bytes::<16>();
    b[6] = b[6] & 0x0f | 0x40;
    b[8] = b[8] & 0x3f | 0x80;
    let h = hex::encode(b);
    format!("{}-{}-{}-{}-{}", &h[..8], &h[8..12], &h[12..16], &h[16..20], &h[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes() {
        assert_eq!(percent_encode("a b/ü~".as_bytes(), false), "a%20b%2F%C3%BC~");
        assert_eq!(percent_encode(b"/a%3Ab", true), "/a%253Ab");
        assert_eq!(percent_decode("a%20b%2f+%zz%"), b"a b/+%zz%");
    }

    #[test]
    fn ids_are_random() {
        assert_eq!(uuid().len(), 36);
        assert_ne!(uuid(), uuid());
    }
}
