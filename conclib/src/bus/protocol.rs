//! The frames of the bus: positional MessagePack arrays. A reader ignores additional elements at the
//! end of an array, so that both sides can be deployed at different times. No I/O.
//!
//! | frame | elements |
//! |---|---|
//! | request | version, kind, id, client, URN, message, deadline, attributes, contents; then one byte each, if there is one to say: whether it is for this node of a fleet only, whether it is left out of the traces |
//! | reply | version, epoch, array of answers |
//! | answer | id, status, message, attributes, contents |
//! | cached result | status, contents, fingerprint of the message |
//! | member of a fleet | node, part of generated URNs that names its process, state, array of shared URNs |
//! | lease | epoch, `[lowest, highest]` version, `[largest frame]`, length in ms, whether its owner serves, and more for other owners |
//!
//! The first four elements of a request never change their meaning: a reader of any version can refuse
//! a request with them. Contents are opaque here: a message, a response, or the details of an error.

use std::fmt;
use std::marker::PhantomData;

use bytes::{Bytes, BytesMut};
use serde::Serialize;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{Deserialize, Deserializer, IgnoredAny, SeqAccess, Visitor};

use crate::bus::transport::{Frame, ServerTime};
use crate::envelope::Attributes;
use crate::error::AskError;
use crate::message::read;
use crate::reply::remote::{ClientId, Origin};

use frame_writer::FrameWriter;
use limits::{BoundedAttributes, check_received};
pub(crate) use limits::{MAX_REQUESTS, check_limits};
pub(crate) use reply::{
    Answer, ReceivedAnswer, ReceivedRefusal, decode_reply, decode_result, encode_reply,
    encode_result,
};

mod frame_writer;
mod lease;
mod limits;
mod member;
mod reply;

/// The version of the protocol that this library writes, and the only one that it reads.
pub(crate) const VERSION: u8 = 1;

/// The longest text of an error, in bytes. It may repeat what a peer wrote, at any length.
const MAX_TEXT: usize = 512;

/// The kind of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Ask = 0,
    Tell = 1,
    /// Cancels an earlier ask of the same client.
    Cancel = 2,
    /// Wakes an actor system that stops. Its `client` and `id` are unused.
    Wake = 3,
    /// Confirms that large reply frames came in. Its `id` is the number of their bytes.
    Confirm = 4,
}

impl Kind {
    fn from_number(number: u8) -> Option<Self> {
        use Kind::{Ask, Cancel, Confirm, Tell, Wake};
        let all = [Ask, Tell, Cancel, Wake, Confirm];
        all.into_iter().find(|kind| *kind as u8 == number)
    }
}

/// A request to be encoded, without its contents.
#[derive(Debug, Clone)]
pub(crate) struct Request<'a> {
    pub(crate) kind: Kind,
    pub(crate) origin: Origin,
    pub(crate) urn: &'a str,
    pub(crate) message: &'a str,
    pub(crate) deadline: ServerTime,
    pub(crate) attributes: &'a Attributes,
    /// In a fleet: the request is for this node, whichever member has the URN.
    pub(crate) is_direct: bool,
    /// The request is left out of the traces.
    pub(crate) is_left_out: bool,
}

/// The size of a request as limits count it: the parts whose size the asker chooses.
pub(crate) fn payload_size(contents: &[u8], attributes: &Attributes) -> usize {
    contents.len() + attributes.bytes()
}

/// Size from which on a client confirms the frame of a reply.
pub(crate) const LARGE_REPLY: usize = 64 * 1024;

/// Bytes of such frames that a client confirms together, at least.
pub(crate) const CONFIRM_BYTES: usize = 1024 * 1024;

impl Request<'_> {
    /// Encodes the request with its contents, at the end of a buffer that requests share.
    pub(crate) fn encode_into(&self, contents: Vec<u8>, shared: &mut BytesMut) -> Frame {
        let texts = self.urn.len() + self.message.len() + payload_size(&contents, self.attributes);
        let mut frame = FrameWriter::new(shared, texts + 128);
        let flags = Flags::of_request(self);
        frame.array(9 + flags.len());
        frame.value(&VERSION);
        frame.value(&(self.kind as u8));
        frame.value(&self.origin.id);
        frame.value(serde_bytes::Bytes::new(&self.origin.client.0));
        frame.value(self.urn);
        frame.value(self.message);
        frame.value(&self.deadline.0);
        frame.value(self.attributes);
        frame.contents(contents);
        for flag in flags.iter() {
            frame.value(flag);
        }
        frame.finish()
    }

    /// Encodes the request with its contents, in memory of its own.
    pub(crate) fn encode(&self, contents: Vec<u8>) -> Bytes {
        self.encode_into(contents, &mut BytesMut::new())
            .into_bytes()
    }

    /// A request frame with another id; one that cannot be decoded stays as it is.
    pub(crate) fn with_id(frame: Frame, id: u64) -> Frame {
        let frame = frame.into_bytes();
        let Ok(request) = Received::decode(&frame) else {
            return frame.into();
        };
        let origin = Origin {
            id,
            ..request.origin
        };
        let again = Request {
            kind: request.kind,
            origin,
            urn: request.urn,
            message: request.message,
            deadline: request.deadline,
            attributes: &request.attributes,
            is_direct: request.is_direct,
            is_left_out: request.is_left_out,
        };
        again.encode(request.contents.to_vec()).into()
    }

    /// A request frame with another deadline; one that cannot be decoded stays as it is.
    pub(crate) fn with_deadline(frame: Bytes, deadline: ServerTime) -> Bytes {
        let Ok(request) = Received::decode(&frame) else {
            return frame;
        };
        Request {
            kind: request.kind,
            origin: request.origin,
            urn: request.urn,
            message: request.message,
            deadline,
            attributes: &request.attributes,
            is_direct: request.is_direct,
            is_left_out: request.is_left_out,
        }
        .encode(request.contents.to_vec())
    }

    /// A frame of [`Kind::Wake`].
    pub(crate) fn wake() -> Bytes {
        Request {
            kind: Kind::Wake,
            origin: Origin::default(),
            urn: "",
            message: "",
            deadline: ServerTime(0),
            attributes: &Attributes::new(),
            is_direct: false,
            is_left_out: false,
        }
        .encode(Vec::new())
    }
}

/// A decoded request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Received<'a> {
    pub(crate) kind: Kind,
    pub(crate) origin: Origin,
    pub(crate) urn: &'a str,
    pub(crate) message: &'a str,
    pub(crate) deadline: ServerTime,
    pub(crate) attributes: Attributes,
    pub(crate) contents: Bytes,
    /// The request is for this node, whichever member of the fleet has the URN.
    pub(crate) is_direct: bool,
    /// The request is left out of the traces.
    pub(crate) is_left_out: bool,
}

/// A request that cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unreadable {
    /// The sender, if that much can be decoded.
    pub(crate) origin: Option<Origin>,
    pub(crate) problem: Problem,
}

/// A problem of a frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Problem {
    #[error("the other side speaks version {0} of the protocol, this one {VERSION}")]
    Version(u8),
    #[error("unknown kind of request {0}")]
    Kind(u8),
    #[error("the frame cannot be read: {0}")]
    Malformed(String),
    #[error("the {part} has {bytes} bytes, more than {limit}")]
    TooLong {
        part: &'static str,
        bytes: usize,
        limit: usize,
    },
    #[error("{0} attributes are more than {max}", max = Attributes::MAX_LEN)]
    Attributes(usize),
    #[error("attributes of {0} bytes are more than {max} bytes", max = Attributes::MAX_BYTES)]
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
    BoundedAttributes,
    &'a serde_bytes::Bytes,
);

impl<'a> Received<'a> {
    /// The sender of a request of which only the beginning is known.
    pub(crate) fn origin_of(head: &[u8]) -> Option<Origin> {
        Unreadable::diagnose(head, None).origin
    }

    pub(crate) fn decode(frame: &'a Bytes) -> Result<Self, Unreadable> {
        let whole = match unpack::<Whole<'_>>(frame) {
            Ok(whole) if whole.0 == VERSION => whole,
            other => return Err(Unreadable::diagnose(frame, other.err())),
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
        let Flags([is_direct, is_left_out]) = Flags::read(frame);
        Ok(Self {
            kind,
            origin,
            urn,
            message,
            deadline: ServerTime(deadline),
            attributes: attributes.kept,
            contents: frame.slice_ref(contents),
            is_direct,
            is_left_out,
        })
    }
}

/// The additional elements of a request: whether it is for one node only, and whether it is left out of the traces.
struct Flags([bool; 2]);

impl Flags {
    fn of_request(request: &Request<'_>) -> Self {
        Self([request.is_direct, request.is_left_out])
    }

    /// The number of elements up to the last one that says something.
    fn len(&self) -> usize {
        match self.0 {
            [false, false] => 0,
            [_, false] => 1,
            [_, true] => 2,
        }
    }

    fn iter(&self) -> impl Iterator<Item = &bool> {
        self.0.iter().take(self.len())
    }

    /// Reads the elements from the end of a frame, as each has one byte. Other additional elements are ignored.
    fn read(frame: &[u8]) -> Self {
        const TRUE: u8 = 0xc3;
        match *frame {
            [0x9a, .., direct] => Self([direct == TRUE, false]),
            [0x9b, .., direct, left_out] => Self([direct == TRUE, left_out == TRUE]),
            _ => Self([false; 2]),
        }
    }
}

impl Unreadable {
    /// The problem of a frame that did not decode as a whole, and its sender if that is known.
    fn diagnose(frame: &[u8], problem: Option<Problem>) -> Self {
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

    /// The error for the sender.
    pub(crate) fn as_ask_error(&self) -> AskError {
        self.problem.as_ask_error()
    }
}

impl Problem {
    /// The error for the sender of such a request.
    fn as_ask_error(&self) -> AskError {
        let reason = self.to_string();
        match *self {
            Self::Version(_) => AskError::Incompatible { reason },
            Self::AttributeBytes(size) => AskError::TooLarge {
                size,
                limit: Attributes::MAX_BYTES,
            },
            Self::Kind(_) | Self::Malformed(_) | Self::TooLong { .. } | Self::Attributes(_) => {
                AskError::BadRequest { reason }
            }
        }
    }
}

/// Decodes the head of a request, and nothing behind it: the rest may be missing, or malformed.
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

/// Encodes an array of this end's own values, whose types can always be encoded.
fn pack<T: Serialize>(elements: &T) -> Bytes {
    let mut bytes = Vec::new();
    match rmp_serde::encode::write(&mut bytes, elements) {
        Ok(()) => bytes.into(),
        Err(_) => Bytes::new(),
    }
}

/// Decodes an array of at least the elements of `T`.
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

/// The first [`MAX_TEXT`] bytes of a text.
fn cut(text: &str) -> &str {
    crate::error::cut(text, MAX_TEXT)
}

#[cfg(test)]
mod tests;
