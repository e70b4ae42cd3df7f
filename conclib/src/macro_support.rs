//! What the macros' expansions call, and users do not.

use std::future::Future;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::actor::{Context, Handler, Handlers};
use crate::envelope::RawCall;
use crate::error::Failure;
use crate::message::{ActorMessage, WireCodec};
use crate::reply::Reply;

pub use serde;

/// Says that a handler's future must be `Send`, where the caller of this function says so: the
/// opaque type it returns is `Send` by its bound, so the future around it is not blamed as well.
pub fn send<F: Future + Send>(future: F) -> impl Future<Output = F::Output> + Send {
    future
}

/// The entry of a tick in the mailbox of `A`.
pub fn tick<A: Handler<M>, M: ActorMessage>(message: M) -> A::Inbox {
    A::wrap(message, Reply::nobody())
}

/// Before a handler that takes a [`Context`] is called: whose answer it is to give.
#[inline]
pub fn begin<A: Handlers, R: Send + 'static>(ctx: &mut Context<A>, reply: &Reply<R>) {
    ctx.has_in_hand(reply.question_of_asker());
}

/// The same for a raw handler.
pub fn begin_raw<A: Handlers>(ctx: &mut Context<A>, call: &RawCall) {
    ctx.has_in_hand(call.question_of_asker());
}

/// After the handler has returned, and before it is answered: so the asker finds itself alone with
/// its answer.
#[inline]
pub fn end<A: Handlers>(ctx: &mut Context<A>) {
    ctx.has_in_hand(None);
}

/// The codec of a message that derives serde's traits. The response is named a second time, so
/// that an error about it points there.
pub const fn codec<M, R>() -> WireCodec<M>
where
    M: ActorMessage<Response = R> + Wire,
    R: Serialize + DeserializeOwned,
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
