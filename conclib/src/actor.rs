//! Actors: three traits, which two macros implement; references to actors, and the context that an
//! actor's own code gets.
//!
//! | trait | defines | implemented by |
//! |---|---|---|
//! | [`Actor`] | the URN, the mailbox's capacity, its own thread, the ticks | `#[derive(Actor)]` on the struct |
//! | [`Handlers`] | the inbox, the dispatch of a message, the hooks | `#[handlers]` on the impl |
//! | [`Handler<M>`] | the handler of `M` | `#[handlers]`, one per message |
//!
//! All are ordinary traits. For an actor with one handler, the macros expand to this:
//!
//! ```
//! use conclib::prelude::*;
//! use conclib::actor::{Handler, Handlers, Outcome, RecipientQuery};
//! use conclib::message::NoMessage;
//! use conclib::reply::Limit;
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
//! // One variant per handler, and one for requests from the bus that are not decoded yet.
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
//!             // Not reached: the runner decodes frames before it dispatches.
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
//!             Kind::Frame(_) => None, // the runner reads a frame's deadline itself
//!         }
//!     }
//!
//!     fn recipient(query: &mut RecipientQuery<'_>) {
//!         query.accept::<Self, Double>();
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
//! // A second implementation, so that type inference does not pick a message by itself.
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

pub use actor_ref::ActorRef;
pub use ask::Ask;
pub use cancel_flag::CancelFlag;
pub use context::{BlockingTask, Context, Task};
pub(crate) use failure_event::FailureEvent;
pub use forward::{Forward, ForwardError};
pub use into_actor::{IntoActor, MaybeActor};
pub use listing::Listing;
pub(crate) use recipient::Goal;
pub use recipient::{Recipient, RecipientQuery, WeakRecipient};
pub(crate) use snapshot::{ActorSnapshot, FailedActor};
pub use tell::Tell;
pub use tick::Tick;
pub use timers::Timer;
pub use traits::{Actor, DEFAULT_MAILBOX, Handler, HandlerNames, Handlers, Outcome};
pub use weak_ref::WeakActorRef;

mod actor_ref;
pub(crate) mod any;
mod ask;
mod blocking;
mod cancel_flag;
pub(crate) mod cell;
pub(crate) mod closures;
pub(crate) mod context;
pub(crate) mod control;
pub(crate) mod failure_event;
mod forward;
pub(crate) mod host;
mod into_actor;
pub(crate) mod links;
pub(crate) mod listing;
pub(crate) mod not_handled;
pub(crate) mod recipient;
pub(crate) mod resources;
mod send;
pub(crate) mod snapshot;
pub(crate) mod stats;
pub(crate) mod stopped;
pub(crate) mod supervision;
mod tell;
mod tick;
mod timers;
mod traits;
pub(crate) mod type_counters;
mod weak_ref;
