//! Items for the expansions of the macros; not for users, and exempt from semver.

use std::future::Future;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

// Names of the expansions, which do not depend on the modules that users see.
pub use crate::actor::{Actor, Context, Handler, HandlerNames, Handlers, RecipientQuery, Tick};
pub use crate::envelope::{RawCall, RequestEnvelope};
pub use crate::error::Failure;
pub use crate::message::wire_name::ComposedName;
pub use crate::message::{
    ActorMessage, MessageSchema, NoMessage, RemoteMessage, WireCodec, WireName,
};
pub use crate::periodic::PeriodicActor;
pub use crate::reply::{Limit, Reply};
pub use crate::stop_reason::StopReason;
pub use crate::time::backoff::Backoff;
#[cfg(feature = "cron")]
pub use crate::time::schedule::Cron;
pub use crate::time::schedule::{First, Missed, Schedule};
pub use serde;

/// Requires that a handler's future is `Send`, with the error at the caller of this function: the
/// returned opaque type is `Send` by its bound, so the surrounding future gets no second error.
pub fn send<F: Future + Send>(future: F) -> impl Future<Output = F::Output> + Send {
    future
}

/// The mailbox entry of a tick of `A`.
pub fn tick<A: Handler<M>, M: ActorMessage>(message: M) -> A::Inbox {
    A::wrap(message, Reply::for_tell())
}

/// Stores the current message in the [`Context`], before a handler that takes one is called.
#[inline]
pub fn begin<A: Handlers, R: Send + 'static>(ctx: &mut Context<A>, reply: &Reply<R>) {
    ctx.set_message(reply.incoming());
}

/// Like [`begin`], for a raw handler.
pub fn begin_raw<A: Handlers>(ctx: &mut Context<A>, call: &RawCall) {
    ctx.set_message(Some(call.incoming()));
}

/// Removes the current message from the [`Context`], after the handler has returned and before its
/// reply is sent: so the asker has the only reference to its answer, and needs no lock.
#[inline]
pub fn end<A: Handlers>(ctx: &mut Context<A>) {
    ctx.set_message(None);
}

/// The codec of a message that derives serde's traits. The response is a parameter of its own, so
/// that an error about it points there.
pub const fn codec<M, R>() -> WireCodec<M>
where
    M: ActorMessage<Response = R> + Wire,
    R: WireResponse,
{
    WireCodec::message_pack()
}

/// Like [`codec`], for a response written as `Result<T, Failure>`: for conclib's [`Failure`] the
/// error suggests the right form, and any other type of that name is a response.
pub const fn codec_unless_failure<M, R, T>() -> WireCodec<M>
where
    M: ActorMessage<Response = R> + Wire,
    R: NoFailure<T>,
{
    WireCodec::message_pack()
}

/// The bounds of a message that can cross the bus, with an error in terms of messages.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot cross the bus without serde",
    label = "does not implement `Serialize` and `Deserialize`",
    note = "write `#[derive(ActorMessage, Serialize, Deserialize)]` on it, or `#[message(local)]` if it never leaves the process"
)]
pub trait Wire: Serialize + DeserializeOwned {}

#[diagnostic::do_not_recommend]
impl<M: Serialize + DeserializeOwned> Wire for M {}

/// A response that can cross the bus.
#[diagnostic::on_unimplemented(
    message = "the response `{Self}` cannot cross the bus without serde",
    label = "does not implement `Serialize` and `Deserialize`",
    note = "write `#[derive(Serialize, Deserialize)]` on it, or `#[message(local)]` on the message if it never leaves the process"
)]
pub trait WireResponse: Serialize + DeserializeOwned {}

#[diagnostic::do_not_recommend]
impl<R: Serialize + DeserializeOwned> WireResponse for R {}

/// A response written as `Result<T, Failure>` that can cross the bus.
#[diagnostic::on_unimplemented(
    message = "a `Failure` fails the actor and is not a response",
    label = "write `response = {T}`",
    note = "let the handler return `Result<{T}, Failure>`",
    note = "if this `Failure` is a type of yours, write `#[derive(Serialize, Deserialize)]` on it"
)]
pub trait NoFailure<T>: Serialize + DeserializeOwned {}

#[diagnostic::do_not_recommend]
impl<R: Serialize + DeserializeOwned, T> NoFailure<T> for R {}

/// Tells whether a response is a `Result` with conclib's [`Failure`]: such a type has an inherent
/// constant, which takes precedence over the one of [`AnyResponse`].
#[derive(Debug)]
pub struct ResponseKind<R>(PhantomData<fn() -> R>);

impl<T> ResponseKind<Result<T, Failure>> {
    /// True: the response is a `Result` with a [`Failure`].
    pub const IS_FAILURE: bool = true;
}

/// The constant of each response without an inherent one in [`ResponseKind`].
pub trait AnyResponse {
    /// False: the response is no `Result` with a [`Failure`].
    const IS_FAILURE: bool = false;
}

impl<R> AnyResponse for ResponseKind<R> {}

/// Stops the compilation if a response is a `Result` with conclib's [`Failure`].
///
/// # Panics
///
/// With `problem`, at compile time.
#[track_caller]
pub const fn response_is_no_failure(is_failure: bool, problem: &'static str) {
    assert!(!is_failure, "{}", problem);
}

/// Stops the compilation if a message may be an actor's parameter as well.
///
/// # Panics
///
/// With `problem`, at compile time.
#[track_caller]
pub const fn messages_differ(may_be_the_same: bool, problem: &'static str) {
    assert!(!may_be_the_same, "{}", problem);
}

/// Stops the compilation if two messages of one actor have the same name on the wire.
///
/// # Panics
///
/// With `problem`, at compile time.
#[track_caller]
pub const fn wire_names_differ<A: ActorMessage, B: ActorMessage>(problem: &'static str) {
    let same = same(A::NAME.as_bytes(), B::NAME.as_bytes());
    assert!(
        !(same && A::WIRE.is_some() && B::WIRE.is_some()),
        "{}",
        problem
    );
}

const fn same(mut one: &[u8], mut other: &[u8]) -> bool {
    while let ([x, one_rest @ ..], [y, other_rest @ ..]) = (one, other) {
        if *x != *y {
            return false;
        }
        (one, other) = (one_rest, other_rest);
    }
    one.is_empty() && other.is_empty()
}

/// The parameter of a handler that takes the reply: checked by its type, so that an alias of
/// [`Reply`] works too.
#[diagnostic::on_unimplemented(
    message = "a handler cannot take `{Self}` beside its message",
    label = "not `Reply<{R}>`",
    note = "a handler takes at most `(&mut self, message: M, ctx: &mut Context<Self>, reply: Reply<R>)`; the message says that `R` is `{R}`"
)]
pub trait ReplyParameter<R> {
    /// The reply.
    fn from_reply(reply: Reply<R>) -> Self;
}

impl<R> ReplyParameter<R> for Reply<R> {
    #[inline]
    fn from_reply(reply: Reply<R>) -> Self {
        reply
    }
}

/// The reply for a handler that takes one.
#[inline]
pub fn reply<R: Send + 'static, P: ReplyParameter<R>>(reply: Reply<R>) -> P {
    P::from_reply(reply.attach_handler())
}

/// The parameter of a raw handler: recognised by its name, and checked by its type.
#[diagnostic::on_unimplemented(
    message = "a handler of a `RequestEnvelope` is a raw handler, and this is another type of that name",
    label = "not conclib's `RequestEnvelope`",
    note = "to handle it as a message, import it under another name: `use … as …`"
)]
pub trait EnvelopeParameter {
    /// The envelope.
    fn from_envelope(envelope: RequestEnvelope) -> Self;
}

impl EnvelopeParameter for RequestEnvelope {
    fn from_envelope(envelope: RequestEnvelope) -> Self {
        envelope
    }
}

/// The envelope for a raw handler.
pub fn envelope<P: EnvelopeParameter>(envelope: RequestEnvelope) -> P {
    P::from_envelope(envelope)
}

/// The return type of a handler that takes a [`Reply`].
#[diagnostic::on_unimplemented(
    message = "a handler that takes a `Reply` cannot return `{Self}`",
    label = "returns `{Self}`",
    note = "answer with `reply.send(…)`, and return `()` or `Result<(), Failure>`"
)]
pub trait ReplyOutcome {
    /// Converts the outcome into a result; its error is the failure of the actor.
    fn into_result(self) -> Result<(), Failure>;
}

/// The return type of `on_start`.
#[diagnostic::on_unimplemented(
    message = "`on_start` cannot return `{Self}`",
    label = "returns `{Self}`",
    note = "return `()`, or `Result<(), Failure>` if the actor may fail to start"
)]
pub trait StartOutcome {
    /// Converts the outcome into a result; its error is the failure of the actor.
    fn into_result(self) -> Result<(), Failure>;
}

impl ReplyOutcome for () {
    fn into_result(self) -> Result<(), Failure> {
        Ok(())
    }
}

impl ReplyOutcome for Result<(), Failure> {
    fn into_result(self) -> Result<(), Failure> {
        self
    }
}

impl StartOutcome for () {
    fn into_result(self) -> Result<(), Failure> {
        Ok(())
    }
}

impl StartOutcome for Result<(), Failure> {
    fn into_result(self) -> Result<(), Failure> {
        self
    }
}

/// The outcome of a handler that takes a [`Reply`].
///
/// # Errors
///
/// The [`Failure`] that the handler returned.
pub fn replied(outcome: impl ReplyOutcome) -> Result<(), Failure> {
    outcome.into_result()
}

/// The outcome of `on_start`.
///
/// # Errors
///
/// The [`Failure`] that the hook returned.
pub fn started(outcome: impl StartOutcome) -> Result<(), Failure> {
    outcome.into_result()
}
