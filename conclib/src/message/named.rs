//! Messages whose types are not in this program.

use std::fmt;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::message::{ActorMessage, CodecError, WireCodec, decode, encode};

/// An encoded message of a type that is not in this program, with a response of type `R`: see
/// [`ProxyClient::ask_named`](crate::ProxyClient::ask_named).
///
/// It is only sent, and no `RemoteMessage`: its name is that of the call, and not one of the type.
pub struct NamedMessage<R> {
    /// The message; its error is that of the call.
    contents: Result<Vec<u8>, CodecError>,
    response: PhantomData<fn() -> R>,
}

impl<R> NamedMessage<R> {
    pub(crate) fn new(message: &impl Serialize) -> Self {
        Self {
            contents: encode(message),
            response: PhantomData,
        }
    }
}

// Not a type that users write where the compiler misses a message.
#[diagnostic::do_not_recommend]
impl<R: DeserializeOwned + Send + 'static> ActorMessage for NamedMessage<R> {
    type Response = R;
    const NAME: &'static str = "";
    const WIRE: Option<WireCodec<Self>> = Some(WireCodec {
        encode: |message| message.contents.clone(),
        decode: |_| Err(CodecError::new::<Self>("read", ONLY_SENT)),
        encode_response: |_| Err(CodecError::new::<R>("write", ONLY_SENT)),
        decode_response: decode::<R>,
    });
}

/// The problem of an actor that handles a message without a type.
const ONLY_SENT: &str = "a message by its name alone is only sent";

impl<R> fmt::Debug for NamedMessage<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NamedMessage")
    }
}
