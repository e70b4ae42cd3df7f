//! Cached results of durable messages, so that a duplicate is answered without being handled again.

use bytes::Bytes;
use sha1_smol::Sha1;

use crate::bus::protocol::{Problem, decode_result, encode_result};

/// Identifies a message and its duplicates: recipient, message name and idempotency key. The lengths
/// in front keep the dedup keys of different messages apart.
pub(crate) fn dedup_key(urn: &str, message: &str, key: &str) -> String {
    format!("{}:{urn}{}:{message}{key}", urn.len(), message.len())
}

/// Tells a duplicate from another message with the same dedup key: 16 bytes derived from the
/// contents, equal in every version and process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fingerprint([u8; 16]);

impl Fingerprint {
    /// The fingerprint of a message with these contents, whose name is part of the dedup key: a UUID of
    /// version 5 (RFC 9562) in the namespace of zeros, which is SHA-1 with six bits set.
    pub(crate) fn of(contents: &[u8]) -> Self {
        let mut digest = Sha1::new();
        digest.update(&[0; 16]);
        digest.update(contents);
        let digest = digest.digest().bytes();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        bytes[6] = bytes[6] & 0x0f | 0x50;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Self(bytes)
    }
}

/// A cached result. Only responses are cached, since a message that ended in an error is delivered
/// again or becomes a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CachedResult {
    /// The encoded response.
    pub(crate) response: Bytes,
    /// The fingerprint of the message, if the entry has one that can be read.
    fingerprint: Option<Fingerprint>,
}

impl CachedResult {
    /// False if the result belongs to a message with other contents. A result without a fingerprint
    /// belongs to every message of its dedup key.
    pub(crate) fn is_of(&self, fingerprint: Fingerprint) -> bool {
        self.fingerprint.is_none_or(|own| own == fingerprint)
    }

    /// Encodes the response to a message.
    pub(crate) fn encode(response: &[u8], fingerprint: Fingerprint) -> Bytes {
        encode_result(response, &fingerprint.0)
    }

    pub(crate) fn decode(encoded: &Bytes) -> Result<Self, Problem> {
        let (response, fingerprint) = decode_result(encoded)?;
        let fingerprint = fingerprint.and_then(|bytes| bytes[..].try_into().ok());
        Ok(Self {
            response,
            fingerprint: fingerprint.map(Fingerprint),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dedup_keys_of_different_messages_differ() {
        let texts = ["", "a", "aa", "1:a", ":", "a1:a", "11:a", "ab:"];
        let mut keys = std::collections::HashMap::new();
        for urn in texts {
            for message in texts {
                for key in texts {
                    let before = keys.insert(dedup_key(urn, message, key), (urn, message, key));
                    assert_eq!(before, None, "{urn} {message} {key}");
                }
            }
        }
        assert_eq!(
            dedup_key("orders", "Place", "order-17"),
            "6:orders5:Placeorder-17"
        );
    }

    #[test]
    fn fingerprints_are_stable() {
        let hex = |contents: &[u8]| {
            let Fingerprint(bytes) = Fingerprint::of(contents);
            bytes.map(|byte| format!("{byte:02x}")).concat()
        };
        assert_eq!(hex(b"contents"), "947443dc45d75b85b557ee4aac0e7b0e");
        assert_eq!(hex(b""), "e129f27c51035c5c844bcdf0a15e160d");
    }

    #[test]
    fn results_survive_encoding_and_decoding() {
        let (own, other) = (Fingerprint::of(b"a"), Fingerprint::of(b"b"));
        for response in ["response", ""] {
            let encoded = CachedResult::encode(response.as_bytes(), own);
            let result = CachedResult::decode(&encoded).unwrap();
            assert_eq!(result.response, response);
            assert!(result.is_of(own) && !result.is_of(other));
        }
        // An earlier version writes no fingerprint, and a later one may write more fields.
        for odd in [
            &b"\x92\x00\xc4\x01a"[..],
            b"\x93\x00\xc4\x01a\xc0",
            b"\x93\x00\xc4\x01a\xc4\x01b",
            b"\x94\x00\xc4\x01a\xc0\xc0",
        ] {
            let result = CachedResult::decode(&Bytes::from_static(odd)).unwrap();
            assert_eq!(result.response, "a");
            assert!(result.is_of(own) && result.is_of(other));
        }
        for odd in ["", "x", "\u{12}"] {
            assert!(CachedResult::decode(&Bytes::from(odd)).is_err(), "{odd}");
        }
        assert!(CachedResult::decode(&Bytes::from_static(b"\x92\x07\xc4\x00")).is_err());
    }
}
