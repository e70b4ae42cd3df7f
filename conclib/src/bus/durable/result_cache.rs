//! What is remembered of a durable message that is over: its answer, so that whoever repeats it
//! hears that instead of having it handled again.

use bytes::Bytes;
use sha1_smol::Sha1;

use crate::bus::protocol::{Problem, decode_record, encode_record};

/// The name of a record: whose message it was, which, and its key. The lengths before them make
/// sure that no two have the same name.
pub(crate) fn dedup_key(urn: &str, message: &str, key: &str) -> String {
    format!("{}:{urn}{}:{message}{key}", urn.len(), message.len())
}

/// Tells a repetition of a message from another one with the same scope: 16 bytes that follow from
/// the contents, in every version and process alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fingerprint([u8; 16]);

impl Fingerprint {
    /// The fingerprint of a message with these contents, whose name is part of the scope: a UUID of
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

/// A remembered answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CachedResult {
    /// Only values are remembered: an error is not the end of a message.
    pub(crate) answer: Bytes,
    /// Of the message that was answered, if it can be read.
    fingerprint: Option<Fingerprint>,
}

impl CachedResult {
    /// True if it is about a message with this fingerprint, as far as is known.
    pub(crate) fn is_of(&self, fingerprint: Fingerprint) -> bool {
        self.fingerprint.is_none_or(|own| own == fingerprint)
    }
}

/// A record of the answer to a message.
pub(crate) fn write(answer: &[u8], fingerprint: Fingerprint) -> Bytes {
    encode_record(answer, &fingerprint.0)
}

/// Reads a record.
pub(crate) fn read(record: &Bytes) -> Result<CachedResult, Problem> {
    let (answer, fingerprint) = decode_record(record)?;
    let fingerprint = fingerprint.and_then(|bytes| bytes[..].try_into().ok());
    Ok(CachedResult {
        answer,
        fingerprint: fingerprint.map(Fingerprint),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_messages_share_a_scope() {
        let texts = ["", "a", "aa", "1:a", ":", "a1:a", "11:a", "ab:"];
        let mut dedup_keys = std::collections::HashMap::new();
        for urn in texts {
            for message in texts {
                for key in texts {
                    let before =
                        dedup_keys.insert(dedup_key(urn, message, key), (urn, message, key));
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
    fn fingerprint_stays_what_it_is() {
        let hex = |contents: &[u8]| {
            let Fingerprint(bytes) = Fingerprint::of(contents);
            bytes.map(|byte| format!("{byte:02x}")).concat()
        };
        assert_eq!(hex(b"contents"), "947443dc45d75b85b557ee4aac0e7b0e");
        assert_eq!(hex(b""), "e129f27c51035c5c844bcdf0a15e160d");
    }

    #[test]
    fn what_is_written_is_read() {
        let (own, other) = (Fingerprint::of(b"a"), Fingerprint::of(b"b"));
        for answer in ["answer", ""] {
            let record = read(&write(answer.as_bytes(), own)).unwrap();
            assert_eq!(record.answer, answer);
            assert!(record.is_of(own) && !record.is_of(other));
        }
        // An earlier version has no fingerprint, and a later one may remember more.
        for odd in [
            &b"\x92\x00\xc4\x01a"[..],
            b"\x93\x00\xc4\x01a\xc0",
            b"\x93\x00\xc4\x01a\xc4\x01b",
            b"\x94\x00\xc4\x01a\xc0\xc0",
        ] {
            let record = read(&Bytes::from_static(odd)).unwrap();
            assert_eq!(record.answer, "a");
            assert!(record.is_of(own) && record.is_of(other));
        }
        for odd in ["", "x", "\u{12}"] {
            assert!(read(&Bytes::from(odd)).is_err(), "{odd}");
        }
        assert!(read(&Bytes::from_static(b"\x92\x07\xc4\x00")).is_err());
    }
}
