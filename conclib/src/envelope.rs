//! Requests from the bus as actors receive them.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use tokio::time::Instant;

use crate::error::{AskError, Failure};
use crate::message::{ActorMessage, CodecError, RemoteMessage, encode};
use crate::reply::dropped::failed_here;
use crate::reply::held::HeldBytes;
use crate::reply::incoming::Incoming;
use crate::reply::remote::{Origin, Outcome, Responder, ResponseSink};
use crate::reply::{Reply, ReplyReceiver, RequestId};
use crate::urn::Urn;

pub use crate::message::attributes::{Attributes, AttributesIter};

/// The name of a request that every actor answers by itself, at its turn: no handler gets it.
pub(crate) const PING: &str = "conclib.ping";

/// A request from another process, undecoded.
///
/// A *raw handler* takes it instead of a message, and gets each request from outside that has no
/// typed handler:
///
/// ```
/// use conclib::prelude::*;
///
/// #[derive(ActorMessage, Serialize, Deserialize)]
/// #[message(response = u32)]
/// struct Double { n: u32 }
///
/// #[derive(Actor)]
/// #[actor(urn = "raw")]
/// struct Raw;
///
/// #[handlers]
/// impl Raw {
///     #[handler]
///     async fn anything(&mut self, envelope: RequestEnvelope) -> Result<(), UnexpectedMessage> {
///         if envelope.matches::<Double>() {
///             let message = envelope.extract::<Double>()?;
///             envelope.respond(message.n * 2);
///             return Ok(());
///         }
///         Err(envelope.unexpected())
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let (envelope, answer) = RequestEnvelope::channel(&Double { n: 21 });
/// Raw.anything(envelope).await.unwrap();
/// assert_eq!(answer.await, Ok(42));
/// # }
/// ```
pub struct RequestEnvelope {
    /// The URN of the requested actor.
    pub(crate) urn: Urn,
    /// The message's name on the wire.
    pub(crate) message: String,
    /// The encoded message.
    pub(crate) contents: Bytes,
    /// The moment after which the asker no longer waits.
    pub(crate) deadline: Option<Instant>,
    /// The moment at which it was taken off the bus, or at which a durable message was given to its actor.
    pub(crate) received_at: Option<Instant>,
    /// Sends the response, and has the attributes; shared with the dispatcher of a raw handler.
    pub(crate) responder: Arc<Responder>,
    /// The share of the bound on bytes from the bus in mailboxes, released on drop.
    #[expect(dead_code, reason = "held for its drop")]
    pub(crate) held: Option<HeldBytes>,
}

impl RequestEnvelope {
    /// Creates an envelope and the receiver of its response, for unit tests of raw handlers.
    ///
    /// # Panics
    ///
    /// If the message cannot be encoded as MessagePack.
    pub fn channel<M: RemoteMessage>(message: &M) -> (Self, ReplyReceiver<M::Response>) {
        let (reply, receiver) = Reply::channel();
        let sink = Arc::new(ChannelSink::<M>(std::sync::Mutex::new(Some(reply))));
        let contents = M::CODEC
            .encode(message)
            .expect("the message can be encoded");
        let envelope = Self {
            urn: Urn::generate(),
            message: M::NAME.to_owned(),
            contents: contents.into(),
            deadline: None,
            received_at: None,
            responder: Arc::new(Responder::new(sink, Origin::default(), true, None)),
            held: None,
        };
        envelope.responder.attach_handler();
        (envelope, receiver)
    }

    /// The URN of the requested actor.
    pub fn urn(&self) -> &Urn {
        &self.urn
    }

    /// The message's name on the wire.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The attributes of the request.
    pub fn attributes(&self) -> &Attributes {
        self.responder.attributes()
    }

    /// The id of the request in logs; `None` if it was made by [`channel`](Self::channel).
    pub fn request_id(&self) -> Option<RequestId> {
        self.responder.request_id()
    }

    /// The encoded message, as received.
    pub fn contents(&self) -> &Bytes {
        &self.contents
    }

    /// The moment after which the asker no longer waits; `None` for requests without a deadline.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// True if the message has the name of `M` on the wire.
    pub fn matches<M: ActorMessage>(&self) -> bool {
        M::WIRE.is_some() && self.message == M::NAME
    }

    /// Decodes the message.
    ///
    /// # Errors
    ///
    /// [`UnexpectedMessage`] if the message has another name or does not decode as an `M`. Returned
    /// from the handler, it becomes the error of the asker, and the actor continues.
    pub fn extract<M: RemoteMessage>(&self) -> Result<M, UnexpectedMessage> {
        if !self.matches::<M>() {
            return Err(self.unexpected());
        }
        M::CODEC.decode(&self.contents).map_err(|error| {
            self.responder.undecoded::<M>(&error);
            UnexpectedMessage {
                message: self.message.clone(),
                malformed: Some(error),
            }
        })
    }

    /// Sends the response: a value of the response type of the message.
    pub fn respond<R: Serialize>(self, response: R) {
        self.responder.respond(encode(&response));
    }

    /// Converts the envelope into the reply of an `M`, which may be sent later and from any task.
    pub fn into_reply<M: RemoteMessage>(self) -> Reply<M::Response> {
        Reply::remote(self.responder, M::CODEC.encode_response)
    }

    /// The error for a message that the handler does not expect.
    pub fn unexpected(&self) -> UnexpectedMessage {
        UnexpectedMessage {
            message: self.message.clone(),
            malformed: None,
        }
    }

    /// A copy of the request that has no attributes and never replies, for reading its message.
    pub(crate) fn to_look_at(&self) -> Self {
        Self {
            urn: self.urn.clone(),
            message: self.message.clone(),
            contents: self.contents.clone(),
            deadline: self.deadline,
            received_at: self.received_at,
            responder: Arc::new(self.responder.muted()),
            held: None,
        }
    }

    /// True if the request only proves that the actor takes messages.
    pub(crate) fn is_ping(&self) -> bool {
        self.message == PING
    }

    /// Decodes the message and makes its reply, for the typed handler of `M`. `None` if it does not
    /// decode: the asker gets the error.
    pub fn open<M: ActorMessage>(self) -> Option<(M, Reply<M::Response>)> {
        let Some(codec) = M::WIRE else {
            self.refuse_unhandled();
            return None;
        };
        match codec.decode(&self.contents) {
            Ok(message) => {
                self.responder.opened();
                let reply = Reply::remote(self.responder, codec.encode_response);
                Some((message, reply))
            }
            Err(error) => {
                self.responder.undecoded::<M>(&error);
                self.responder.refuse(AskError::BadRequest {
                    reason: error.to_string(),
                });
                None
            }
        }
    }

    /// Replies that the actor has no handler for this message.
    pub fn refuse_unhandled(self) {
        self.responder.refuse(AskError::Unhandled {
            urn: self.urn,
            message: self.message,
        });
    }
}

impl fmt::Debug for RequestEnvelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestEnvelope")
            .field("urn", &self.urn)
            .field("message", &self.message)
            .field("bytes", &self.contents.len())
            .finish_non_exhaustive()
    }
}

/// The error of a raw handler for a message that it does not expect, or that does not decode.
///
/// The asker gets [`Unhandled`](AskError::Unhandled) or [`BadRequest`](AskError::BadRequest); the
/// actor continues. Made by [`RequestEnvelope::unexpected`] and [`RequestEnvelope::extract`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unexpected message `{message}`")]
pub struct UnexpectedMessage {
    message: String,
    #[source]
    malformed: Option<CodecError>,
}

impl UnexpectedMessage {
    /// The message's name on the wire.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The error of the asker.
    pub(crate) fn as_ask_error(&self, urn: &Urn) -> AskError {
        match &self.malformed {
            Some(error) => AskError::BadRequest {
                reason: error.to_string(),
            },
            None => AskError::Unhandled {
                urn: urn.clone(),
                message: self.message.clone(),
            },
        }
    }
}

/// The return type of a raw handler: `()`, or a `Result` with [`UnexpectedMessage`] or [`Failure`].
#[diagnostic::on_unimplemented(
    message = "a raw handler cannot return `{Self}`",
    label = "returns `{Self}`",
    note = "return `()`, `Result<(), UnexpectedMessage>` or `Result<(), Failure>`; answer with `envelope.respond(…)`"
)]
pub trait RawOutcome {
    /// Converts the outcome into a result.
    fn into_result(self) -> Result<(), Failure>;
}

impl RawOutcome for () {
    fn into_result(self) -> Result<(), Failure> {
        Ok(())
    }
}

impl RawOutcome for Result<(), UnexpectedMessage> {
    fn into_result(self) -> Result<(), Failure> {
        self.map_err(Failure::from)
    }
}

impl RawOutcome for Result<(), Failure> {
    fn into_result(self) -> Result<(), Failure> {
        self
    }
}

/// One call of a raw handler, from the dispatcher's side: keeps the responder, so that the asker of
/// an unexpected message gets the error.
#[derive(Debug)]
pub struct RawCall {
    urn: Urn,
    responder: Arc<Responder>,
}

impl RawCall {
    /// Begins the call, before the handler gets the envelope.
    pub fn begin(envelope: &RequestEnvelope) -> Self {
        envelope.responder.attach_handler();
        Self {
            urn: envelope.urn.clone(),
            responder: envelope.responder.clone(),
        }
    }

    /// The request, for the context of its handler.
    pub(crate) fn incoming(&self) -> Arc<dyn Incoming> {
        self.responder.clone()
    }

    /// Ends the call, after the handler has returned. An unexpected message is no failure of the
    /// actor.
    ///
    /// # Errors
    ///
    /// The [`Failure`] that the handler returned.
    pub fn finish(self, outcome: impl RawOutcome) -> Result<(), Failure> {
        let Err(failure) = outcome.into_result() else {
            return Ok(());
        };
        if let Some(unexpected) = failure.downcast_ref::<UnexpectedMessage>() {
            self.responder.refuse(unexpected.as_ask_error(&self.urn));
            return Ok(());
        }
        self.responder.refuse(failed_here(&failure));
        Err(failure)
    }
}

/// The sink behind [`RequestEnvelope::channel`].
struct ChannelSink<M: RemoteMessage>(std::sync::Mutex<Option<Reply<M::Response>>>);

impl<M: RemoteMessage> ResponseSink for ChannelSink<M> {
    fn respond(&self, _: Origin, _: Option<Instant>, outcome: Outcome) {
        let reply = self.0.lock().ok().and_then(|mut slot| slot.take());
        let Some(reply) = reply else { return };
        let decoded = outcome.and_then(|contents| {
            M::CODEC
                .decode_response(&contents)
                .map_err(|error| AskError::BadResponse {
                    reason: error.to_string(),
                })
        });
        match decoded {
            Ok(response) => reply.send(response),
            Err(error) => reply.refuse(error),
        }
    }
}
