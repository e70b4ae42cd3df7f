//! Messages: their names, their responses, and their form on the bus.

use std::convert::Infallible;
use std::fmt;
use std::marker::PhantomData;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::time::backoff::Backoff;
#[cfg(feature = "bus")]
pub use named::NamedMessage;
pub use schema::MessageSchema;
pub use wire_name::WireName;

pub(crate) mod attributes;
mod length_check;
#[cfg(feature = "bus")]
mod named;
mod schema;
pub(crate) mod wire_name;

/// The deepest nesting of arrays and maps that is read from a peer. Each level takes stack, and a
/// stack overflow ends the process.
const MAX_DEPTH: usize = 128;

/// A type that actors handle. Write `#[derive(ActorMessage)]`.
///
/// ```
/// use conclib::prelude::*;
///
/// #[derive(ActorMessage, Serialize, Deserialize)]
/// #[message(response = u32)]
/// struct Add { a: u32, b: u32 }
///
/// #[derive(ActorMessage)]
/// #[message(local)]                      // stays in the process: no serde needed
/// struct Socket(std::net::TcpStream);
///
/// #[derive(ActorMessage, Serialize, Deserialize)]
/// #[message(durable)]                    // kept by the bus until it is handled
/// struct Charge { cents: u64 }
///
/// #[derive(ActorMessage, Serialize, Deserialize)]
/// #[message(durable, retry = "1m..6h")]  // pauses after failed deliveries: the first, the longest
/// struct Remind { order: u32 }
///
/// #[derive(ActorMessage, Serialize, Deserialize)]
/// #[message(name = "Set<{T}>")]          // so that an actor may handle several of them
/// struct Set<T> { to: T }
///
/// assert!(Charge::DURABLE && !Add::DURABLE);
/// assert!(Remind::RETRY.is_some() && Charge::RETRY.is_none());
/// assert_eq!(Add::NAME, "Add");
/// assert_eq!(Set::<u32>::NAME, "Set<u32>");
/// assert!(Socket::WIRE.is_none());
/// ```
///
/// # The name of a generic message
///
/// The name is that of the type alone, `Set`, without its parameters. So an actor
/// handles one `Set`, and a second is an error. With `name = "Set<{T}>"` the name says what the
/// parameters are: `{T}` is the [`WireName`] of the type that stands for `T`, and `{N}` the value of
/// an integer parameter `N`. Peers written in other languages use the same name, `"Set<u32>"`.
/// Adding it changes the name that other processes know: deploy both sides together, as with any
/// renamed message.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a message",
    label = "not an `ActorMessage`",
    note = "write `#[derive(ActorMessage, Serialize, Deserialize)]` on `{Self}`, or `#[message(local)]` beside `#[derive(ActorMessage)]` if it never leaves the process"
)]
pub trait ActorMessage: Sized + Send + 'static {
    /// The type of the response; `()` if it says nothing but "done".
    type Response: Send + 'static;

    /// Its name on the wire: the type's identifier, or `#[message(name = "…")]`. Messages that wait in
    /// queues and streams carry it as well: one with another name is another message.
    const NAME: &'static str;

    /// Its codec for the bus; `None` for a message that stays in the process.
    const WIRE: Option<WireCodec<Self>>;

    /// True if every [`ProxyClient`](crate::ProxyClient) sends it as a durable message:
    /// `#[message(durable)]`. Within the process this changes nothing.
    const DURABLE: bool = false;

    /// The pauses of a durable message after failed deliveries, 24 h at most; `None`: those of
    /// [`Config::retry_backoff`](crate::Config::retry_backoff). `#[message(durable, retry = "1s..5m")]` sets
    /// the first and the longest one; `retry = "10s"` makes all of them equal. The sender's type decides,
    /// since the pauses travel with the message.
    const RETRY: Option<Backoff> = None;

    /// Its fields and its response as a line, for logs and to compare versions; `None` for a message that stays in the
    /// process, and if it is written by hand and does not say.
    const SCHEMA: Option<MessageSchema> = None;
}

/// A message that may cross the bus: every `#[derive(ActorMessage)]` without `#[message(local)]`.
///
/// It is written as MessagePack in serde's human-readable mode: an `IpAddr`, a UUID or a date is its
/// text, on the bus and for a program in another language.
///
/// # Values that do not survive the bus
///
/// A local ask hands the value itself over. The bus carries its serialized form, and these come out
/// as another value, without an error:
///
/// | sent | received |
/// |---|---|
/// | `Some(None)` of an `Option<Option<T>>` | `None` |
/// | `Some(())` of an `Option<()>`, `Some` of anything that writes itself as `()` | `None` |
/// | a variant of an `#[serde(untagged)]` enum that reads like an earlier one | the earlier one |
/// | an `i128` or `u128` in an `#[serde(untagged)]` enum | a variant that takes bytes, or an error |
/// | a field with `#[serde(skip)]` | its default |
///
/// These fail with [`BadRequest`](crate::AskError::BadRequest) or
/// [`BadResponse`](crate::AskError::BadResponse), the response after its handler has run: an `i128` or
/// `u128` under `#[serde(flatten)]` or in a tagged enum, a value that is nested deeper than
/// 128 levels, a field that is left out by `skip_serializing_if` and has no `#[serde(default)]`.
///
/// `conclib::test::round_trips` (feature `test-util`) tests that a message arrives as it was sent.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot cross the bus",
    label = "not a `RemoteMessage`",
    note = "a message with `#[message(local)]` stays in its process; remove `local` and derive `Serialize` and `Deserialize`",
    note = "a type that is no message needs `#[derive(ActorMessage, Serialize, Deserialize)]`"
)]
pub trait RemoteMessage: ActorMessage {
    /// The codec that [`ActorMessage::WIRE`] holds.
    const CODEC: WireCodec<Self>;
}

/// The functions that write and read a message and its response: MessagePack with field names, so
/// that both sides may be deployed at different times.
///
/// Values nested deeper than 128 levels are not read.
///
/// Four function pointers instead of trait bounds: a handler can be reached from the bus without
/// every local message having to be serializable.
pub struct WireCodec<M: ActorMessage> {
    /// Writes the message.
    pub(crate) encode: fn(&M) -> Result<Vec<u8>, CodecError>,
    /// Reads the message.
    pub(crate) decode: fn(&[u8]) -> Result<M, CodecError>,
    /// Writes the response.
    pub(crate) encode_response: fn(&M::Response) -> Result<Vec<u8>, CodecError>,
    /// Reads the response.
    pub(crate) decode_response: fn(&[u8]) -> Result<M::Response, CodecError>,
}

impl<M: ActorMessage> WireCodec<M> {
    /// Writes a message.
    ///
    /// # Errors
    ///
    /// [`CodecError`] if its `Serialize` fails, or MessagePack has no form for it.
    pub fn encode(&self, message: &M) -> Result<Vec<u8>, CodecError> {
        (self.encode)(message)
    }

    /// Reads a message.
    ///
    /// # Errors
    ///
    /// [`CodecError`] if the bytes are not such a message.
    pub fn decode(&self, bytes: &[u8]) -> Result<M, CodecError> {
        (self.decode)(bytes)
    }

    /// Writes a response.
    ///
    /// # Errors
    ///
    /// As for [`encode`](Self::encode).
    pub fn encode_response(&self, response: &M::Response) -> Result<Vec<u8>, CodecError> {
        (self.encode_response)(response)
    }

    /// Reads a response.
    ///
    /// # Errors
    ///
    /// As for [`decode`](Self::decode).
    pub fn decode_response(&self, bytes: &[u8]) -> Result<M::Response, CodecError> {
        (self.decode_response)(bytes)
    }
}

impl<M> WireCodec<M>
where
    M: ActorMessage + Serialize + DeserializeOwned,
    M::Response: Serialize + DeserializeOwned,
{
    /// The codec of every message that derives serde's traits.
    pub const fn message_pack() -> Self {
        Self {
            encode: encode::<M>,
            decode: decode::<M>,
            encode_response: encode::<M::Response>,
            decode_response: decode::<M::Response>,
        }
    }
}

impl<M: ActorMessage> Clone for WireCodec<M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M: ActorMessage> Copy for WireCodec<M> {}

impl<M: ActorMessage> fmt::Debug for WireCodec<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WireCodec<{}>", M::NAME)
    }
}

/// Writes a value as MessagePack with field names, in serde's human-readable mode: a type that
/// writes itself in two ways writes its text. `#[serde(flatten)]`, tagged and untagged enums read
/// through a buffer that always calls itself human-readable, so that nothing else survives them.
pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, CodecError> {
    let mut bytes = Vec::with_capacity(128);
    let mut serializer = rmp_serde::Serializer::new(&mut bytes)
        .with_struct_map()
        .with_human_readable();
    match value.serialize(&mut serializer) {
        Ok(()) => Ok(bytes),
        Err(error) => Err(CodecError::new::<T>("write", error)),
    }
}

/// Reads a value that [`encode`] wrote.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    if !length_check::is_complete(bytes) {
        return Err(CodecError::new::<T>(
            "read",
            "an array, map or string is longer than the input",
        ));
    }
    read(bytes).map_err(|error| CodecError::new::<T>("read", error))
}

/// Reads a MessagePack value from a peer, which is not trusted.
pub(crate) fn read<'de, T: Deserialize<'de>>(
    bytes: &'de [u8],
) -> Result<T, rmp_serde::decode::Error> {
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(bytes).with_human_readable();
    deserializer.set_max_depth(MAX_DEPTH);
    T::deserialize(&mut deserializer)
}

/// A value that could not be written as MessagePack or read from it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot {direction} `{type_name}`: {problem}")]
pub struct CodecError {
    direction: &'static str,
    type_name: &'static str,
    problem: String,
}

impl CodecError {
    fn new<T>(direction: &'static str, problem: impl fmt::Display) -> Self {
        Self {
            direction,
            type_name: std::any::type_name::<T>(),
            problem: problem.to_string(),
        }
    }
}

/// A message without values, for actors of type `A`.
///
/// Every actor handles its own, so that for an actor with one handler type inference does not take
/// any argument for that handler's message: a wrong argument is reported under its own type. An actor
/// without handlers has a second one (`NoMessage<NoMessage<A>>`), for the same reason. It names the actor,
/// and so differs from every message that the actor may be generic over.
pub enum NoMessage<A: ?Sized> {
    #[doc(hidden)]
    Of(PhantomData<fn() -> A>, Infallible),
}

impl<A: ?Sized + 'static> ActorMessage for NoMessage<A> {
    type Response = ();
    const NAME: &'static str = "";
    const WIRE: Option<WireCodec<Self>> = None;
}

impl<A: ?Sized> fmt::Debug for NoMessage<A> {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Of(_, never) => match never {},
        }
    }
}
