//! What the macros' expansions call, and users do not.

use std::future::Future;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::actor::{Context, Handler, Handlers};
use crate::envelope::{RawCall, RequestEnvelope};
use crate::error::Failure;
use crate::message::{ActorMessage, WireCodec};
use crate::reply::Reply;

pub use crate::message::ComposedName;
pub use serde;

/// Says that a handler's future must be `Send`, where the caller of this function says so: the
/// opaque type it returns is `Send` by its bound, so the future around it is not blamed as well.
pub fn send<F: Future + Send>(future: F) -> impl Future<Output = F::Output> + Send {
    future
}

/// The entry of a tick in the mailbox of `A`.
pub fn tick<A: Handler<M>, M: ActorMessage>(message: M) -> A::Inbox {
    A::wrap(message, Reply::for_tell())
}

/// Before a handler that takes a [`Context`] is called: whose answer it is to give.
#[inline]
pub fn begin<A: Handlers, R: Send + 'static>(ctx: &mut Context<A>, reply: &Reply<R>) {
    ctx.set_pending(reply.pending());
}

/// The same for a raw handler.
pub fn begin_raw<A: Handlers>(ctx: &mut Context<A>, call: &RawCall) {
    ctx.set_pending(call.pending());
}

/// After the handler has returned, and before it is answered: so the asker finds itself alone with
/// its answer.
#[inline]
pub fn end<A: Handlers>(ctx: &mut Context<A>) {
    ctx.set_pending(None);
}

/// The codec of a message that derives serde's traits. The response is named a second time, so
/// that an error about it points there.
pub const fn codec<M, R>() -> WireCodec<M>
where
    M: ActorMessage<Response = R> + Wire,
    R: WireResponse,
{
    WireCodec::message_pack()
}

/// The same where the response is written as `Result<T, Failure>`: the error about conclib's
/// [`Failure`] says what to write instead, and another type of that name is a response.
pub const fn codec_unless_failure<M, R, T>() -> WireCodec<M>
where
    M: ActorMessage<Response = R> + Wire,
    R: NoFailure<T>,
{
    WireCodec::message_pack()
}

/// What a message needs to cross the bus, with an error that speaks of messages.
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

/// Says of a response whether it is a `Result` with conclib's [`Failure`]: in that case there is a
/// constant of the type's own, and otherwise that of [`AnyResponse`].
#[derive(Debug)]
pub struct ResponseKind<R>(PhantomData<fn() -> R>);

impl<T> ResponseKind<Result<T, Failure>> {
    /// It is.
    pub const IS_FAILURE: bool = true;
}

/// For every response that [`ResponseKind`] does not speak of itself.
pub trait AnyResponse {
    /// It is none.
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

/// The parameter of a handler that takes the reply: it has what the type of the parameter says,
/// whatever it is called.
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

/// The reply for a handler that answers itself.
#[inline]
pub fn reply<R: Send + 'static, P: ReplyParameter<R>>(reply: Reply<R>) -> P {
    P::from_reply(reply.attach_handler())
}

/// The parameter of a raw handler: its name has chosen it, and its type confirms it.
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

/// What a handler that takes a [`Reply`] may return.
#[diagnostic::on_unimplemented(
    message = "a handler that takes a `Reply` cannot return `{Self}`",
    label = "returns `{Self}`",
    note = "answer with `reply.send(…)`, and return `()` or `Result<(), Failure>`"
)]
pub trait ReplyOutcome {
    /// Nothing, or why the actor fails.
    fn into_result(self) -> Result<(), Failure>;
}

/// What `on_start` may return.
#[diagnostic::on_unimplemented(
    message = "`on_start` cannot return `{Self}`",
    label = "returns `{Self}`",
    note = "return `()`, or `Result<(), Failure>` if the actor may fail to start"
)]
pub trait StartOutcome {
    /// Nothing, or why the actor fails.
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
