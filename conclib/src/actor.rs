//! What an actor is: three traits, which two macros implement.
//!
//! | trait | says | implemented by |
//! |---|---|---|
//! | [`Actor`] | what it is: URN, mailbox size, ticks | `#[derive(Actor)]` on the struct |
//! | [`Handlers`] | what it does: its inbox, how a message is dispatched, its hooks | `#[handlers]` on the impl |
//! | [`Handler<M>`] | that it handles `M` | `#[handlers]`, one per message |
//!
//! All are ordinary traits. This is what the macros make of an actor with one handler:
//!
//! ```
//! use conclib::prelude::*;
//! use conclib::{Handler, Handlers, Limit, NoMessage, Outcome, Wanted};
//!
//! #[derive(ActorMessage, Serialize, Deserialize)]
//! #[message(response = u32)]
//! struct Double { n: u32 }
//!
//! struct Doubler;
//!
//! // #[derive(Actor)]  #[actor(urn = "doubler")]
//! impl Actor for Doubler {
//!     const URN: Option<&'static str> = Some("doubler");
//! }
//!
//! // #[handlers]
//! impl Doubler {
//!     // #[handler]
//!     async fn double(&mut self, message: Double) -> u32 { message.n * 2 }
//! }
//!
//! // One variant per handler, and one for what comes undecoded from the bus.
//! pub struct Inbox(Kind);
//! enum Kind {
//!     Double(Double, Reply<u32>),
//!     Frame(Box<RequestEnvelope>),
//! }
//!
//! impl Handlers for Doubler {
//!     type Inbox = Inbox;
//!
//!     async fn dispatch(
//!         &mut self,
//!         inbox: &mut Option<Inbox>,
//!         _ctx: &mut Context<Self>,
//!     ) -> Result<(), Failure> {
//!         match inbox.take() {
//!             Some(Inbox(Kind::Double(message, reply))) => {
//!                 let outcome = self.double(message).await;
//!                 reply.finish(outcome)
//!             }
//!             // The runner has decoded frames before it dispatches.
//!             Some(Inbox(Kind::Frame(_))) | None => Ok(()),
//!         }
//!     }
//!
//!     fn frame(envelope: Box<RequestEnvelope>) -> Inbox {
//!         Inbox(Kind::Frame(envelope))
//!     }
//!
//!     fn unframe(inbox: &mut Option<Inbox>) -> Option<Box<RequestEnvelope>> {
//!         match inbox.take() {
//!             Some(Inbox(Kind::Frame(envelope))) => Some(envelope),
//!             other => { *inbox = other; None }
//!         }
//!     }
//!
//!     fn decode(envelope: Box<RequestEnvelope>) -> Option<Inbox> {
//!         if envelope.matches::<Double>() {
//!             let (message, reply) = envelope.open::<Double>()?;
//!             return Some(Inbox(Kind::Double(message, reply)));
//!         }
//!         envelope.refuse_unhandled();
//!         None
//!     }
//!
//!     fn limit(inbox: &Inbox) -> Option<Limit<'_>> {
//!         match &inbox.0 {
//!             Kind::Double(_, reply) => reply.limit(),
//!             Kind::Frame(_) => None, // the runner looks at its deadline itself
//!         }
//!     }
//!
//!     fn recipient(wanted: &mut Wanted<'_>) {
//!         wanted.offer::<Self, Double>();
//!     }
//! }
//!
//! impl Handler<Double> for Doubler {
//!     fn wrap(message: Double, reply: Reply<u32>) -> Inbox {
//!         Inbox(Kind::Double(message, reply))
//!     }
//!     fn unwrap(inbox: Inbox) -> Option<(Double, Reply<u32>)> {
//!         match inbox {
//!             Inbox(Kind::Double(message, reply)) => Some((message, reply)),
//!             Inbox(Kind::Frame(_)) => None,
//!         }
//!     }
//!     fn peek(inbox: &Inbox) -> Option<&Double> {
//!         match inbox {
//!             Inbox(Kind::Double(message, _)) => Some(message),
//!             Inbox(Kind::Frame(_)) => None,
//!         }
//!     }
//! }
//!
//! // So that inference does not guess for an actor with a single handler.
//! impl Handler<NoMessage<Doubler>> for Doubler {
//!     fn wrap(message: NoMessage<Doubler>, _: Reply<()>) -> Inbox { match message {} }
//!     fn unwrap(_: Inbox) -> Option<(NoMessage<Doubler>, Reply<()>)> { None }
//!     fn peek(_: &Inbox) -> Option<&NoMessage<Doubler>> { None }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let system = ActorSystem::new();
//! let doubler = system.spawn(Doubler).await?;
//! assert_eq!(doubler.ask(Double { n: 21 }).await?, 42);
//! # Ok(()) }
//! ```

use std::future::{Future, ready};

use crate::envelope::RequestEnvelope;
use crate::error::Failure;
use crate::message::ActorMessage;
use crate::reply::{Limit, Reply};
use crate::stop_reason::StopReason;

pub use actor_ref::{ActorRef, WeakActorRef};
pub use context::{Context, Task};
pub use recipient::{Recipient, Wanted, WeakRecipient};
pub use send::{Ask, Forward, ForwardError, Tell};
pub use snapshot::{ActorSnapshot, FailedActor, RunningHandler};
pub use stats::Phase;
pub use tick::Tick;
pub use timers::Timer;

mod actor_ref;
pub(crate) mod any;
mod blocking;
pub(crate) mod cell;
pub(crate) mod context;
pub(crate) mod control;
pub(crate) mod host;
pub(crate) mod links;
mod recipient;
pub(crate) mod resources;
mod send;
mod snapshot;
pub(crate) mod stats;
mod tick;
mod timers;
pub(crate) mod wait_stopped;

/// How many messages wait in front of an actor that does not say: 1024.
pub const DEFAULT_MAILBOX: usize = 1024;

/// What an actor is. Write `#[derive(Actor)]`.
///
/// ```
/// use conclib::prelude::*;
///
/// #[derive(Actor)]
/// #[actor(urn = "example_actor", mailbox = 64)]
/// struct ExampleActor;
///
/// #[handlers]
/// impl ExampleActor {}
///
/// assert_eq!(ExampleActor::URN, Some("example_actor"));
/// assert_eq!(ExampleActor::MAILBOX, 64);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an actor",
    label = "not an `Actor`",
    note = "write `#[derive(Actor)]` on `{Self}` and `#[handlers]` on an `impl` block of it",
    note = "with `#[periodic(tick = M, …)]` it needs a handler for `M`"
)]
pub trait Actor: Handlers {
    /// The URN of every actor of this type, unless its spawner names another; without one it is
    /// generated.
    const URN: Option<&'static str> = None;

    /// How many messages may wait in its mailbox.
    const MAILBOX: usize = DEFAULT_MAILBOX;

    /// True if other processes do not find it: over the bus they hear
    /// [`ActorNotFound`](crate::AskError::ActorNotFound), as if nobody lived at its URN. Within the
    /// process it is an actor like any other. `#[actor(private)]` sets it.
    const PRIVATE: bool = false;

    /// The messages that it is sent at regular intervals; see
    /// [`PeriodicActor`](crate::PeriodicActor).
    fn ticks() -> &'static [Tick<Self>] {
        &[]
    }
}

/// What an actor does. Write `#[handlers]` on an `impl` block.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no handlers",
    label = "no `#[handlers]` block",
    note = "write `#[handlers] impl {Self} {{ … }}`; the block may be empty"
)]
pub trait Handlers: Sized + Send + 'static {
    /// Its messages: an enum with a variant per handler.
    type Inbox: Send + 'static;

    /// True if there is no [`on_start`](Self::on_start), so that nobody has to wait for it.
    /// `#[handlers]` sets it.
    const STARTS_AT_ONCE: bool = false;

    /// Runs the handler of the message in `inbox`, and takes it out.
    ///
    /// # Errors
    ///
    /// A [`Failure`] that the handler returned: the actor fails.
    fn dispatch(
        &mut self,
        inbox: &mut Option<Self::Inbox>,
        ctx: &mut Context<Self>,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Wraps a request from the bus, to be decoded in the actor's own task.
    fn frame(envelope: Box<RequestEnvelope>) -> Self::Inbox;

    /// Takes the request out if `inbox` holds what [`frame`](Self::frame) made.
    fn unframe(inbox: &mut Option<Self::Inbox>) -> Option<Box<RequestEnvelope>>;

    /// Turns a request into the message that it names. `None` if it names none of this actor's
    /// messages or does not decode: its asker then has the answer.
    fn decode(envelope: Box<RequestEnvelope>) -> Option<Self::Inbox>;

    /// The number of the handler that takes this message, for those who look from outside.
    fn which(_inbox: &Self::Inbox) -> u16 {
        0
    }

    /// The name of the handler with that number.
    fn handler_name(_number: u16) -> &'static str {
        "handler"
    }

    /// The deadline of the message, if somebody waits until one for its answer: what
    /// [`Reply::limit`] says. The runner looks before it dispatches: a message that is too late is
    /// not handled. (An asker whose message it does not hear of here is told
    /// [`Delivered::No`](crate::Delivered::No) at its deadline, as if nobody had begun.) Frames have
    /// theirs with them.
    fn limit(inbox: &Self::Inbox) -> Option<Limit<'_>>;

    /// Offers a [`Recipient`] for each message to somebody who looks for one.
    fn recipient(wanted: &mut Wanted<'_>);

    /// Runs before the first message. Messages that arrive meanwhile wait.
    ///
    /// # Errors
    ///
    /// A [`Failure`] makes the spawn fail and refuses the messages that wait.
    fn on_start(
        &mut self,
        _ctx: &mut Context<Self>,
    ) -> impl Future<Output = Result<(), Failure>> + Send {
        ready(Ok(()))
    }

    /// Runs after the last message when the actor stops in good order.
    fn on_stop(
        &mut self,
        _ctx: &mut Context<Self>,
        _reason: &StopReason,
    ) -> impl Future<Output = ()> + Send {
        ready(())
    }

    /// Runs instead of [`on_stop`](Self::on_stop) when a handler panicked or returned a
    /// [`Failure`]. The state may be half changed.
    fn on_failure(
        &mut self,
        _ctx: &mut Context<Self>,
        _failure: &Failure,
    ) -> impl Future<Output = ()> + Send {
        ready(())
    }
}

/// That an actor handles `M`. `#[handlers]` implements it for each `#[handler]`.
#[diagnostic::on_unimplemented(
    message = "{Self} has no handler for {M}",
    label = "no handler for `{M}`",
    note = "write `#[handler] async fn …(&mut self, message: {M})` in the `#[handlers]` block of `{Self}`"
)]
pub trait Handler<M: ActorMessage>: Handlers {
    /// Makes it an entry of the actor's mailbox, in its place there: it runs under the mailbox's
    /// lock, and must do nothing else.
    fn wrap(message: M, reply: Reply<M::Response>) -> Self::Inbox;

    /// Takes it back out of an entry that did not get in; `None` if the entry is another message.
    fn unwrap(inbox: Self::Inbox) -> Option<(M, Reply<M::Response>)>;

    /// Looks at it; `None` if the entry is another message.
    fn peek(inbox: &Self::Inbox) -> Option<&M>;
}

/// What a handler may return: the response, or `Result` of it and a [`Failure`].
#[diagnostic::on_unimplemented(
    message = "a handler cannot return `{Self}` here",
    label = "returns `{Self}`",
    note = "the message says that its response is `{R}`: return `{R}` or `Result<{R}, Failure>`, or change `#[message(response = …)]`"
)]
pub trait Outcome<R> {
    /// The response, or why the actor fails.
    fn into_result(self) -> Result<R, Failure>;
}

impl<R> Outcome<R> for R {
    fn into_result(self) -> Result<R, Failure> {
        Ok(self)
    }
}

impl<R> Outcome<R> for Result<R, Failure> {
    fn into_result(self) -> Result<R, Failure> {
        self
    }
}

impl<R: Send + 'static> Reply<R> {
    /// Answers with what a handler returned; a failure goes on to the runner, and the asker hears
    /// [`Failed`](crate::AskError::Failed).
    ///
    /// # Errors
    ///
    /// The [`Failure`] that the handler returned.
    #[inline]
    pub fn finish(self, outcome: impl Outcome<R>) -> Result<(), Failure> {
        match outcome.into_result() {
            Ok(response) => {
                self.send(response);
                Ok(())
            }
            Err(failure) => {
                self.refuse(crate::reply::dropped::failed_here(&failure));
                Err(failure)
            }
        }
    }
}

/// What makes an actor: the actor itself, or a `Result` of it and an error.
///
/// It is what the factory of [`ActorSystem::supervise`](crate::ActorSystem::supervise) returns.
#[diagnostic::on_unimplemented(
    message = "a factory cannot return `{Self}`",
    label = "returns `{Self}`",
    note = "return an actor, or `Result` of an actor and an error"
)]
pub trait IntoActor {
    /// The actor.
    type Actor: Actor;

    /// The actor, or why there is none.
    fn into_actor(self) -> Result<Self::Actor, Failure>;
}

impl<A: Actor> IntoActor for A {
    type Actor = A;

    fn into_actor(self) -> Result<A, Failure> {
        Ok(self)
    }
}

impl<A: Actor, E: Into<Failure>> IntoActor for Result<A, E> {
    type Actor = A;

    fn into_actor(self) -> Result<A, Failure> {
        self.map_err(Into::into)
    }
}
