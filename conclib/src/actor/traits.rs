//! The traits of actors, which the macros implement.

use std::future::{Future, ready};

use crate::actor::{Context, RecipientQuery, Tick};
use crate::envelope::RequestEnvelope;
use crate::error::Failure;
use crate::message::ActorMessage;
use crate::reply::{Limit, Reply};
use crate::stop_reason::StopReason;

/// The names of a handler, as snapshots and logs show them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HandlerNames {
    /// The name of the method.
    pub method: &'static str,
    /// The name of its message, [`ActorMessage::NAME`]; `None` if it handles messages of many names.
    pub message: Option<&'static str>,
}

impl Default for HandlerNames {
    fn default() -> Self {
        Self {
            method: "handler",
            message: None,
        }
    }
}

/// The default capacity of a mailbox, in messages.
pub const DEFAULT_MAILBOX: usize = 1024;

/// An actor: a type with state and handlers, which runs in a task of its own.
///
/// Implemented by `#[derive(Actor)]`:
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
    /// The URN of actors of this type, unless the spawn sets another. `None`: the spawn generates one.
    const URN: Option<&'static str> = None;

    /// The capacity of the mailbox, in messages.
    const MAILBOX: usize = DEFAULT_MAILBOX;

    /// True if the actor is hidden from other processes: their requests get
    /// [`ActorNotFound`](crate::AskError::ActorNotFound). Within the process it is an actor like any
    /// other. `#[actor(private)]` sets it.
    const PRIVATE: bool = false;

    /// True if the actor shares its URN with actors of other members of a fleet: see
    /// [`Spawn::shared`](crate::system::Spawn::shared). `#[actor(shared)]` sets it.
    const SHARED: bool = false;

    /// True if the actor runs on a thread of its own, so that its handlers may block: for an embedded
    /// database, a PDF library, an interpreter. `#[actor(thread)]` sets it.
    ///
    /// The thread is called like the actor's URN, starts with the spawn and ends with the actor;
    /// restarts keep it. Within handlers and hooks, the spawning runtime is the current one: timers,
    /// `tokio::spawn` and `.await` work as elsewhere, and so do calls that block:
    /// [`Ask::blocking`](crate::actor::Ask::blocking), `Handle::block_on`, blocking clients. All else is
    /// as for other actors; children and [tasks](crate::Context::pipe) of the actor run on the runtime.
    /// The workers of a [`Pool`](crate::pool::Pool) have a thread each, and so have actors
    /// [on demand](crate::ActorSystem::on_demand): set their [`max`](crate::system::OnDemand::max) to a number of
    /// threads that the process may have.
    ///
    /// A kill and a shutdown cannot interrupt a handler while it blocks. A shutdown lists such an actor
    /// as [`stuck`](crate::system::ShutdownReport::stuck) and returns; the thread ends when the handler
    /// returns. A handler that blocks for long looks at its
    /// [`cancel_flag`](crate::Context::cancel_flag). When the runtime ends, so does the actor, once its
    /// handler has returned; neither the runtime nor the process waits for the thread.
    ///
    /// In tests with paused time, tokio's clock does not know that the thread is busy, and moves on.
    ///
    /// ```
    /// use conclib::prelude::*;
    ///
    /// #[derive(ActorMessage, Serialize, Deserialize)]
    /// #[message(response = usize)]
    /// struct Read { path: String }
    ///
    /// #[derive(Actor)]
    /// #[actor(urn = "files", thread)]
    /// struct Files;
    ///
    /// #[handlers]
    /// impl Files {
    ///     #[handler]
    ///     fn read(&mut self, Read { path }: Read) -> Result<usize, Failure> {
    ///         assert_eq!(std::thread::current().name(), Some("files"));
    ///         Ok(std::fs::read(path)?.len())           // blocks this thread only
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let system = ActorSystem::new();
    /// let files = system.spawn(Files).await?;
    /// assert!(files.ask(Read { path: "Cargo.toml".into() }).await? > 0);
    /// # Ok(()) }
    /// ```
    const THREAD: bool = false;

    /// The messages that the actor is sent at regular intervals; see
    /// [`PeriodicActor`](crate::schedule::PeriodicActor).
    fn ticks() -> &'static [Tick<Self>] {
        &[]
    }
}

/// The behaviour of an actor: its messages, their dispatch, and its hooks.
///
/// Implemented by `#[handlers]` on an `impl` block:
///
/// ```
/// use conclib::prelude::*;
///
/// #[derive(ActorMessage, Serialize, Deserialize)]
/// #[message(response = u64)]
/// struct Add(u64);
///
/// #[derive(Actor)]
/// struct Counter { total: u64 }
///
/// #[handlers]
/// impl Counter {
///     #[handler]
///     fn add(&mut self, Add(n): Add) -> u64 {
///         self.total += n;
///         self.total
///     }
///
///     fn on_stop(&mut self, reason: &StopReason) {
///         println!("stopped at {}: {reason}", self.total);
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let system = ActorSystem::new();
/// let counter = system.spawn(Counter { total: 40 }).await?;
/// assert_eq!(counter.ask(Add(2)).await?, 42);
/// # Ok(()) }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no handlers",
    label = "no `#[handlers]` block",
    note = "write `#[handlers] impl {Self} {{ … }}`; the block may be empty"
)]
pub trait Handlers: Sized + Send + 'static {
    /// The actor's messages: an enum with a variant per handler.
    type Inbox: Send + 'static;

    /// True if there is no [`on_start`](Self::on_start), so that a spawn need not wait for the task, and the
    /// task does not call it. `#[handlers]` sets it.
    const STARTS_AT_ONCE: bool = false;

    /// Takes the message out of `inbox` and runs its handler.
    ///
    /// # Errors
    ///
    /// The [`Failure`] that the handler returned: the actor fails.
    fn dispatch(
        &mut self,
        inbox: &mut Option<Self::Inbox>,
        ctx: &mut Context<Self>,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Wraps a request from the bus. It is decoded later, in the actor's own task.
    fn frame(envelope: Box<RequestEnvelope>) -> Self::Inbox;

    /// Takes a request from the bus out of `inbox`, if [`frame`](Self::frame) made the entry.
    fn unframe(inbox: &mut Option<Self::Inbox>) -> Option<Box<RequestEnvelope>>;

    /// Decodes a request from the bus into the message that it names. Returns `None` if it names none
    /// of this actor's messages or does not decode; the asker has got an error by then.
    fn decode(envelope: Box<RequestEnvelope>) -> Option<Self::Inbox>;

    /// The number of handlers that are numbered from 0 on; all others have the numbers behind them.
    const HANDLERS: u16 = 0;

    /// The number of the handler that handles this message, for snapshots.
    fn which(_inbox: &Self::Inbox) -> u16 {
        0
    }

    /// The names of the handler with this number, for snapshots and logs.
    fn handler(_number: u16) -> HandlerNames {
        HandlerNames::default()
    }

    /// The deadline of the message's asker, if there is one: the result of [`Reply::limit`]. The
    /// runner checks it before it dispatches, and skips a message whose deadline has passed.
    ///
    /// If an implementation returns `None` for an ask with a deadline, an expired ask is reported as
    /// [`Delivered::No`](crate::error::Delivered::No) even when its handler ran. For requests from the bus
    /// that are not decoded yet, return `None`: the runner reads their deadline itself.
    fn limit(inbox: &Self::Inbox) -> Option<Limit<'_>>;

    /// The same of an actor that leaves the decision to another one: for the span of the message.
    #[doc(hidden)]
    fn asker(inbox: &Self::Inbox) -> Option<Limit<'_>> {
        Self::limit(inbox)
    }

    /// Offers a [`Recipient`](crate::Recipient) for each message that the actor handles. Logs have the
    /// names of messages from here as well.
    fn recipient(query: &mut RecipientQuery<'_>);

    /// Runs before the first message. Messages that arrive meanwhile wait in the mailbox.
    ///
    /// # Errors
    ///
    /// A [`Failure`] fails the spawn; messages in the mailbox are refused.
    fn on_start(
        &mut self,
        _ctx: &mut Context<Self>,
    ) -> impl Future<Output = Result<(), Failure>> + Send {
        ready(Ok(()))
    }

    /// Runs after the last message of an incarnation that ends without a failure: the actor stops, or
    /// restarts with its group. It does not run when the actor is killed.
    fn on_stop(
        &mut self,
        _ctx: &mut Context<Self>,
        _reason: &StopReason,
    ) -> impl Future<Output = ()> + Send {
        ready(())
    }

    /// Runs instead of [`on_stop`](Self::on_stop) when a handler panicked or returned a
    /// [`Failure`]. The handler may have left the actor's state inconsistent.
    fn on_failure(
        &mut self,
        _ctx: &mut Context<Self>,
        _failure: &Failure,
    ) -> impl Future<Output = ()> + Send {
        ready(())
    }
}

/// The handling of messages of type `M`. Implemented by `#[handlers]` for each `#[handler]`.
///
/// As a bound, it accepts any actor that handles the message:
///
/// ```
/// use conclib::actor::Handler;
/// use conclib::prelude::*;
///
/// #[derive(ActorMessage, Serialize, Deserialize)]
/// struct Ping;
///
/// async fn ping<A: Handler<Ping>>(actor: &ActorRef<A>) -> Result<(), AskError> {
///     actor.ask(Ping).await
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "{Self} has no handler for {M}",
    label = "no handler for `{M}`",
    note = "write `#[handler] async fn …(&mut self, message: {M})` in the `#[handlers]` block of `{Self}`"
)]
pub trait Handler<M: ActorMessage>: Handlers {
    /// Makes a message an entry of the actor's mailbox. It runs under the mailbox's lock, and must do
    /// nothing else.
    fn wrap(message: M, reply: Reply<M::Response>) -> Self::Inbox;

    /// Returns the message of an entry that a mailbox has given back; `None` if the entry is of
    /// another type.
    fn unwrap(inbox: Self::Inbox) -> Option<(M, Reply<M::Response>)>;

    /// Returns a reference to the message of an entry; `None` if the entry is of another type.
    fn peek(inbox: &Self::Inbox) -> Option<&M>;
}

/// The return type of a handler: the message's response, or a `Result` of it and a [`Failure`].
///
/// ```
/// use conclib::prelude::*;
///
/// #[derive(ActorMessage, Serialize, Deserialize)]
/// #[message(response = u32)]
/// struct Parse(String);
///
/// #[derive(Actor)]
/// struct Parser;
///
/// #[handlers]
/// impl Parser {
///     // Could also return `u32`.
///     #[handler]
///     fn parse(&mut self, Parse(text): Parse) -> Result<u32, Failure> { Ok(text.parse()?) }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "a handler cannot return `{Self}` here",
    label = "returns `{Self}`",
    note = "the message says that its response is `{R}`: return `{R}` or `Result<{R}, Failure>`, or change `#[message(response = …)]`"
)]
pub trait Outcome<R> {
    /// Converts the value into a `Result`.
    ///
    /// # Errors
    ///
    /// The [`Failure`] with which the actor fails.
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
    /// Replies with the outcome of a handler. For a failure, the asker gets
    /// [`Failed`](crate::AskError::Failed), and the failure is returned for the runner.
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
