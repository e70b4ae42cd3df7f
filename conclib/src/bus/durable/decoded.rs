//! A stored request in the terms of users.

use bytes::Bytes;

use crate::bus::protocol::Received;
use crate::envelope::Attributes;

/// The parts of a stored request. If it cannot be decoded, the contents are the whole frame, and the rest is
/// empty.
pub(crate) struct Decoded {
    pub(crate) urn: String,
    pub(crate) message: String,
    pub(crate) contents: Bytes,
    pub(crate) attributes: Attributes,
}

impl Decoded {
    pub(crate) fn of(frame: Bytes) -> Self {
        match Received::decode(&frame) {
            Ok(request) if !request.urn.is_empty() => Self {
                urn: request.urn.to_owned(),
                message: request.message.to_owned(),
                contents: request.contents,
                attributes: request.attributes,
            },
            _ => Self {
                urn: String::new(),
                message: String::new(),
                contents: frame,
                attributes: Attributes::default(),
            },
        }
    }
}

/// [`Bytes`] in serde's terms.
pub(crate) mod as_bytes {
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serializer};
    use serde_bytes::ByteBuf;

    pub(crate) fn serialize<S: Serializer>(
        bytes: &Bytes,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Bytes, D::Error> {
        ByteBuf::deserialize(deserializer).map(|bytes| bytes.into_vec().into())
    }
}
