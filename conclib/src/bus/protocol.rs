//! What crosses the bus: MessagePack arrays, positional, so that both sides may be deployed at
//! different times. Elements that a reader does not know, at the end of an array, are ignored.
//!
//! | frame | elements |
//! |---|---|
//! | request | version, kind, id, client, URN, message, deadline, attributes, contents |
//! | reply | version, epoch, array of answers |
//! | answer | id, status, message, attributes, contents |
//! | record | status, contents, fingerprint of the message |
//! | lease | epoch, `[lowest, highest]` version, `[largest frame]` |
//!
//! The first four elements of a request never change their meaning: whoever can read them can
//! answer, whatever follows. Contents are opaque here: a message, a response, or for an error its
//! details.

use std::fmt;
use std::io;
use std::marker::PhantomData;

use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{Deserialize, Deserializer, IgnoredAny, SeqAccess, Visitor};

use crate::bus::transport::{BusTime, Epoch, Lease};
use crate::envelope::{Attributes, MAX_ATTRIBUTE_BYTES, MAX_ATTRIBUTES};
use crate::error::AskError;
use crate::message::read;
use crate::reply::remote::{ClientId, Origin};

pub(crate) use limits::check;
use limits::{SomeAttributes, check_received};
pub(crate) use reply::{Answer, decode_record, decode_reply, encode_record, encode_reply};

mod limits;
mod reply;

/// The version of the protocol that this library writes, and the only one that it reads.
pub(crate) const VERSION: u8 = 1;

/// The longest text of an error, in bytes. It may repeat what a peer wrote, at any length.
const MAX_TEXT: usize = 512;

/// What a request wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Ask = 0,
    Tell = 1,
    /// Gives an earlier ask of the same client up.
    Cancel = 2,
    /// Wakes an actor system that stops. Its `client` and `id` mean nothing.
    Wake = 3,
}

impl Kind {
    fn from_number(number: u8) -> Option<Self> {
        [Self::Ask, Self::Tell, Self::Cancel, Self::Wake]
            .into_iter()
            .find(|kind| *kind as u8 == number)
    }
}

/// A request, as it is written.
#[derive(Debug, Clone)]
pub(crate) struct Request<'a> {
    pub(crate) kind: Kind,
    pub(crate) origin: Origin,
    pub(crate) urn: &'a str,
    pub(crate) message: &'a str,
    pub(crate) deadline: BusTime,
    pub(crate) attributes: &'a Attributes,
    pub(crate) contents: &'a [u8],
}

/// What a limit on requests is compared with: the parts whose size the asker chooses freely.
pub(crate) fn size(contents: &[u8], attributes: &Attributes) -> usize {
    let texts = attributes
        .iter()
        .map(|(name, value)| name.len() + value.len());
    contents.len() + texts.sum::<usize>()
}

/// Up to this size frames are written into a shared piece of memory …
const SMALL: usize = 1024;

/// … of this size. One that waits keeps all of it, so that it must not be large.
const PIECE: usize = 8 * 1024;

impl Request<'_> {
    /// Writes it to the end of `pieces`, and takes it from there: what many small frames share is
    /// allocated once, and cloned without allocating.
    pub(crate) fn encode_into(&self, pieces: &mut BytesMut) -> Bytes {
        let estimate = self.urn.len() + self.message.len() + size(self.contents, self.attributes);
        let mut alone = BytesMut::new();
        // Beyond the estimate: numbers and lengths.
        let room = estimate + 128;
        let buffer = if estimate > SMALL {
            alone.reserve(room);
            &mut alone
        } else {
            if pieces.capacity() < room {
                pieces.reserve(PIECE);
            }
            pieces
        };
        self.write(&mut buffer.writer());
        buffer.split().freeze()
    }

    pub(crate) fn encode(&self) -> Bytes {
        let mut bytes = Vec::with_capacity(128);
        self.write(&mut bytes);
        bytes.into()
    }

    /// What is written is of types that can always be written, into memory.
    fn write(&self, to: &mut impl io::Write) {
        let elements = (
            VERSION,
            self.kind as u8,
            self.origin.id,
            serde_bytes::Bytes::new(&self.origin.client.0),
            self.urn,
            self.message,
            self.deadline.0,
            self.attributes,
            serde_bytes::Bytes::new(self.contents),
        );
        // Writing to memory cannot fail.
        drop(rmp_serde::encode::write(to, &elements));
    }

    /// What [`Kind::Wake`] looks like.
    pub(crate) fn wake() -> Bytes {
        Request {
            kind: Kind::Wake,
            origin: Origin::default(),
            urn: "",
            message: "",
            deadline: BusTime(0),
            attributes: &Attributes::new(),
            contents: &[],
        }
        .encode()
    }
}

/// A request, as it came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Received<'a> {
    pub(crate) kind: Kind,
    pub(crate) origin: Origin,
    pub(crate) urn: &'a str,
    pub(crate) message: &'a str,
    pub(crate) deadline: BusTime,
    pub(crate) attributes: Attributes,
    pub(crate) contents: Bytes,
}

/// A request that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unreadable {
    /// Whom to tell, if that much can be read.
    pub(crate) origin: Option<Origin>,
    pub(crate) problem: Problem,
}

/// What is wrong with a frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Problem {
    #[error("the other side speaks version {0} of the protocol, this one {VERSION}")]
    Version(u8),
    #[error("unknown kind of request {0}")]
    Kind(u8),
    #[error("the frame cannot be read: {0}")]
    Malformed(String),
    #[error("the {what} has {bytes} bytes, more than {limit}")]
    TooLong {
        what: &'static str,
        bytes: usize,
        limit: usize,
    },
    #[error("{0} attributes are more than {MAX_ATTRIBUTES}")]
    Attributes(usize),
    #[error("attributes of {0} bytes are more than {MAX_ATTRIBUTE_BYTES} bytes")]
    AttributeBytes(usize),
}

/// The elements of a request that never change their meaning.
type Head = (u8, u8, u64, serde_bytes::ByteArray<16>);

/// The elements of a request that this version knows.
type Whole<'a> = (
    u8,
    u8,
    u64,
    serde_bytes::ByteArray<16>,
    &'a str,
    &'a str,
    u64,
    SomeAttributes,
    &'a serde_bytes::Bytes,
);

impl<'a> Received<'a> {
    pub(crate) fn decode(frame: &'a Bytes) -> Result<Self, Unreadable> {
        let whole = match unpack::<Whole<'_>>(frame) {
            Ok(whole) if whole.0 == VERSION => whole,
            other => return Err(Unreadable::judge(frame, other.err())),
        };
        let (_, kind, id, client, urn, message, deadline, attributes, contents) = whole;
        let origin = Origin {
            client: ClientId(client.into_array()),
            id,
        };
        let kind = Kind::from_number(kind).ok_or(Unreadable {
            origin: Some(origin),
            problem: Problem::Kind(kind),
        })?;
        check_received(urn, message, &attributes).map_err(|problem| Unreadable {
            origin: Some(origin),
            problem,
        })?;
        Ok(Self {
            kind,
            origin,
            urn,
            message,
            deadline: BusTime(deadline),
            attributes: attributes.kept,
            contents: frame.slice_ref(contents),
        })
    }
}

impl Unreadable {
    /// What is wrong with a frame that did not read as a whole, and whether its sender is known.
    fn judge(frame: &[u8], problem: Option<Problem>) -> Self {
        let (origin, problem) = match head(frame) {
            Ok((version, kind, id, client)) => {
                let origin = Origin {
                    client: ClientId(client.into_array()),
                    id,
                };
                let problem = match (version, Kind::from_number(kind), problem) {
                    (VERSION, None, _) => Problem::Kind(kind),
                    (VERSION, Some(_), Some(problem)) => problem,
                    (version, _, _) => Problem::Version(version),
                };
                (Some(origin), problem)
            }
            Err(problem) => (None, problem),
        };
        Self { origin, problem }
    }

    /// What the sender hears.
    pub(crate) fn as_ask_error(&self) -> AskError {
        self.problem.as_ask_error()
    }
}

impl Problem {
    /// What the sender of such a request hears.
    fn as_ask_error(&self) -> AskError {
        let reason = self.to_string();
        match *self {
            Self::Version(_) => AskError::Incompatible { reason },
            Self::AttributeBytes(size) => AskError::TooLarge {
                size,
                limit: MAX_ATTRIBUTE_BYTES,
            },
            Self::Kind(_) | Self::Malformed(_) | Self::TooLong { .. } | Self::Attributes(_) => {
                AskError::BadRequest { reason }
            }
        }
    }
}

impl Lease {
    /// The transports write leases, Redis in part by a script.
    #[cfg_attr(
        not(feature = "redis"),
        allow(dead_code, reason = "a bus in memory needs none")
    )]
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Problem> {
        type Elements = (u64, Prefix<(u8, u8)>, Prefix<(u64,)>);
        let (epoch, Prefix(versions), Prefix((max_frame,))) = unpack::<Elements>(bytes)?;
        Ok(Self {
            epoch: Epoch(epoch),
            versions,
            max_frame,
        })
    }

    /// The error for a client that speaks none of the owner's versions.
    pub(crate) fn check_version(&self) -> Result<(), AskError> {
        let (lowest, highest) = self.versions;
        if (lowest..=highest).contains(&VERSION) {
            return Ok(());
        }
        Err(AskError::Incompatible {
            reason: format!("the actor system speaks {lowest} to {highest}, this client {VERSION}"),
        })
    }
}

/// Reads the head of a request, and nothing behind it: that may be cut, or be anything.
fn head(frame: &[u8]) -> Result<Head, Problem> {
    let ([0x94..=0x9f, elements @ ..]
    | [0xdc, _, _, elements @ ..]
    | [0xdd, _, _, _, _, elements @ ..]) = frame
    else {
        return Err(Problem::Malformed("it is no request".to_owned()));
    };
    let mut elements = rmp_serde::Deserializer::from_read_ref(elements);
    let mut read = || -> Result<Head, rmp_serde::decode::Error> {
        Ok((
            Deserialize::deserialize(&mut elements)?,
            Deserialize::deserialize(&mut elements)?,
            Deserialize::deserialize(&mut elements)?,
            Deserialize::deserialize(&mut elements)?,
        ))
    };
    read().map_err(|error| malformed(&error))
}

/// Writes an array. What is written here is ours, and of types that can always be written.
fn pack<T: Serialize>(elements: &T) -> Bytes {
    pack_into(Vec::new(), elements)
}

/// The same, into memory that was allocated before.
fn pack_into<T: Serialize>(mut bytes: Vec<u8>, elements: &T) -> Bytes {
    match rmp_serde::encode::write(&mut bytes, elements) {
        Ok(()) => bytes.into(),
        Err(_) => Bytes::new(),
    }
}

/// Reads an array of at least the elements of `T`.
fn unpack<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, Problem> {
    read::<Prefix<T>>(bytes)
        .map(|Prefix(elements)| elements)
        .map_err(|error| malformed(&error))
}

fn malformed(error: &rmp_serde::decode::Error) -> Problem {
    Problem::Malformed(cut(&error.to_string()).to_owned())
}

/// A tuple, read from an array that may be longer.
struct Prefix<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Prefix<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Elements<T> {
            type Value = Prefix<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<Prefix<T>, S::Error> {
                let elements = T::deserialize(SeqAccessDeserializer::new(&mut seq))?;
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Prefix(elements))
            }
        }

        deserializer.deserialize_seq(Elements(PhantomData))
    }
}

/// A text, but not more of it than [`MAX_TEXT`].
fn cut(text: &str) -> &str {
    crate::error::cut(text, MAX_TEXT)
}

#[cfg(test)]
mod tests;
