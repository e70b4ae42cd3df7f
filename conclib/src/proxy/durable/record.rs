//! What is remembered of a durable message that is over: its answer, so that whoever repeats it
//! hears that instead of having it handled again.

use bytes::Bytes;

use crate::proxy::frame::{Problem, decode_record, encode_record};

/// The name of a record: whose message it was, which, and its key. The lengths before them make
/// sure that no two have the same name.
pub(in crate::proxy) fn scope(urn: &str, message: &str, key: &str) -> String {
    format!("{}:{urn}{}:{message}{key}", urn.len(), message.len())
}

/// A record of an answer. Only values are remembered: an error is not the end of a message.
pub(in crate::proxy) fn write(answer: &[u8]) -> Bytes {
    encode_record(answer)
}

/// The answer in a record.
pub(in crate::proxy) fn read(record: &Bytes) -> Result<Bytes, Problem> {
    decode_record(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_messages_share_a_scope() {
        let texts = ["", "a", "aa", "1:a", ":", "a1:a", "11:a", "ab:"];
        let mut scopes = std::collections::HashMap::new();
        for urn in texts {
            for message in texts {
                for key in texts {
                    let before = scopes.insert(scope(urn, message, key), (urn, message, key));
                    assert_eq!(before, None, "{urn} {message} {key}");
                }
            }
        }
        assert_eq!(
            scope("orders", "Place", "order-17"),
            "6:orders5:Placeorder-17"
        );
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(read(&write(b"answer")), Ok(Bytes::from_static(b"answer")));
        assert_eq!(read(&write(b"")), Ok(Bytes::new()));
        // A later version may remember more, and other ends.
        assert_eq!(
            read(&Bytes::from_static(b"\x93\x00\xc4\x01a\xc0")),
            Ok(Bytes::from_static(b"a"))
        );
        for odd in ["", "x", "\u{12}"] {
            assert!(read(&Bytes::from(odd)).is_err(), "{odd}");
        }
        assert!(read(&Bytes::from_static(b"\x92\x07\xc4\x00")).is_err());
    }
}
