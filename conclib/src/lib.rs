//! Actors on tokio that can be asked from other processes.
//!
//! An actor is a task that owns a state and handles its messages one at a time. It lives at a
//! *URN* in an [`ActorSystem`]. A web server that runs as eight processes on three machines asks
//! `"print_time_actor"` through Redis as easily as a neighbour in the same process does.
//!
//! ```
//! use conclib::prelude::*;
//! use conclib::{Config, ProxyClient, start_proxy};
//!
//! #[derive(ActorMessage, Serialize, Deserialize)]
//! #[message(response = u32)]
//! struct Double { n: u32 }
//!
//! #[derive(Actor)]
//! #[actor(urn = "doubler")]
//! struct Doubler;
//!
//! #[handlers]
//! impl Doubler {
//!     #[handler]
//!     async fn double(&mut self, message: Double) -> u32 { message.n * 2 }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // The actor process. `Config::default()` is Redis at localhost; this bus needs no installation.
//! let config = Config::memory();
//! let system = ActorSystem::new();
//! start_proxy(&system, &config).await?;
//! let actor = system.spawn(Doubler).await?;
//! assert_eq!(actor.ask(Double { n: 21 }).await?, 42);
//!
//! // Any other process.
//! let client = ProxyClient::connect(&config).await?;
//! assert_eq!(client.ask("doubler", Double { n: 21 }).await?, 42);
//! # Ok(()) }
//! ```
//!
//! # Where to look
//!
//! | you want to | look at |
//! |---|---|
//! | define a message | [`ActorMessage`] |
//! | define an actor | [`Actor`](trait@Actor), [`#[handlers]`](macro@handlers), [`Context`] |
//! | start actors, find them by URN, shut all down | [`ActorSystem`], [`Spawn`] |
//! | tell, ask, stop and kill an actor | [`ActorRef`]; known only by a message: [`Recipient`] |
//! | wait for room, or not, or only so long | [`tell`](ActorRef::tell), [`try_tell`](ActorRef::try_tell), [`Tell::timeout`] |
//! | wait for an answer only so long | [`Ask::timeout`] |
//! | stop work that nobody waits for any more | [`Context::cancelled`], [`Reply::cancelled`] |
//! | send from a thread outside tokio | [`Tell::blocking`], [`Ask::blocking`] |
//! | answer later, from anywhere | [`Reply`] |
//! | hand a message on, with its asker | [`forward`](ActorRef::forward), [`ForwardError`] |
//! | refer to an actor without counting | [`WeakActorRef`], [`WeakRecipient`], [`Spawn::while_referenced`] |
//! | start again after failures | [`ActorSystem::supervise`], [`Restart`], [`Backoff`] |
//! | actors that belong to an actor | [`Context::spawn`], [`Context::supervise`], [`Spawn::escalate`] |
//! | groups that start and stop together | [`Supervisor`], [`Strategy`] |
//! | hear of an actor's end | [`Context::watch`], [`Terminated`], [`ActorRef::wait_stopped`] |
//! | do something later, or regularly | [`Context::after`], [`Context::every`], [`PeriodicActor`], [`Ticker`] |
//! | at intervals, or by the calendar | [`Schedule`], [`Missed`], [`Schedule::cron`] |
//! | make messages of a stream | [`Context::attach`] |
//! | do slow I/O or compute without blocking the mailbox | [`Context::pipe`], [`Context::blocking`] |
//! | several actors behind one URN | [`Pool`], [`Route`] |
//! | tell many actors at once | [`Topic`] |
//! | see what all actors are doing | [`ActorSystem::snapshot`] |
//! | test your actors | `conclib::test` (feature `test-util`), [`Context::test`], [`Reply::channel`] |
//! | be asked from other processes | [`start_proxy`], [`Config`] |
//! | ask actors of other processes | [`ProxyClient`], [`AskError`] |
//! | have a message kept until it is handled | `#[message(durable)]`, [`RemoteTell::durable`], [`RemoteTell::idempotency_key`] |
//! | look after what nobody could handle | [`DeadLetters`] |
//! | take messages as they come | [`RequestEnvelope`] |
//! | let in who may, to what they may | [`Config::acl`], `rediss://`, `#[actor(private)]`; `docs/security.md` |
//! | start Redis or a web server | `start_redis`, `start_api` |
//!
//! # What is promised
//!
//! - **The system owns its actors.** Dropping references stops nothing. Dropping the last
//!   [`ActorSystem`] stops all.
//! - **A URN is taken the moment spawning begins.** Messages that arrive wait for `on_start`; if
//!   that fails they are refused. The URN is free again when
//!   [`wait_stopped`](ActorRef::wait_stopped) returns, whatever happened, unless that is called by
//!   one of those that the actor itself waits for.
//! - **Stop** closes the mailbox: senders that wait and senders that come get the message back,
//!   what was queued is handled, then `on_stop` runs. **Kill** drops the running handler at its
//!   next await and skips the hooks. A full mailbox delays neither.
//! - **A failure** (a panic, or an `Err` of [`Failure`]) ends that actor alone: its asker hears
//!   [`AskError::Failed`], `on_failure` runs instead of `on_stop`, the state is dropped. A build
//!   with `panic = "abort"` has no such isolation: a panic ends the process.
//! - **A restart** keeps the URN, every reference and the messages that wait. The message that
//!   failed is not run again. What a life has set up ends with it: timers, tasks, watches, children.
//! - **Children stop before their parent**, the newest first, and after it has handled what was
//!   queued, so that it can still use them.
//! - **First in, first out**, for each sender, across restarts. What an actor tells itself never
//!   waits for room.
//! - **Deadlocks are answers.** An actor that would wait for itself, over however many others, hears
//!   [`AskError::AskCycle`] with the chain, and its request was not executed. This holds for asks,
//!   also those that are forwarded or that a [`Pool`] hands on, and for tells that wait for room.
//!   The start and the end of an actor that is waited for within a handler or a hook count as well:
//!   an ask or a tell in such a circle ends. (Its request is still handled, if it had been sent
//!   before the other began to wait.) If all of them wait for ends, one of those waits
//!   [ends early](ActorRef::wait_stopped), once the actor that it waits for is about to stop. Who
//!   waits for several at once waits for each of them. It ends where a handler keeps its [`Reply`]
//!   for later, at a [`Reply::channel`], and at tasks and processes of their own: there the deadline
//!   is the guard.
//! - **A durable message is handled at least once**, whoever dies meanwhile, as long as Redis keeps its
//!   data; any other message from outside at most once. `docs/reliability.md` has the table.
//! - **Every ask ends** with a value or an [`AskError`] that says what is known. Remote asks end
//!   by their deadline, 5 s unless set; local ones have none unless set.
//! - **A deadline goes along.** What a handler asks ends by the deadline of the current message, also
//!   across the bus, and a message past its deadline is not handled. An asker that goes away cancels
//!   its ask: a handler may [stop early](Context::cancelled) then.
//!
//! # Layers, from bottom to top
//!
//! ```text
//! error urn message deadline         words everyone shares
//! cancelled responder reply envelope the duty to answer, and what is to be answered
//! mailbox schedule                   queues, and when something is due
//! supervision                        who starts again, and when
//! actor                              traits, references, context; who waits for whom
//! registry runner system             URN to actor; the event loop; spawn, look up, shut down
//! supervisor pool topic              groups; workers behind one URN; one message for many actors
//! ticker periodic                    regular work
//! proxy                              the bus: config, frames, durable messages, transports, server, client
//! daemon                             start_redis, start_api
//! test_util                          support for tests of programs with actors
//! ```
//!
//! # Features
//!
//! | feature | default | brings |
//! |---|---|---|
//! | `bus` | yes, by `redis` | asks between processes: [`start_proxy`], [`ProxyClient`]; without `redis` on the bus in memory |
//! | `redis` | yes | the Redis transport |
//! | `tls` | no | Redis over TLS, `rediss://`, with rustls: see [`Config`] |
//! | `daemon` | yes | `start_api`, and with `redis` also `start_redis` (Unix) |
//! | `cron` | no | moments of the calendar: [`Schedule::cron`], `#[periodic(cron = "…")]` |
//! | `test-util` | no | the module `conclib::test`, for your own tests: a bus with faults, failures that fail the test, paused time, probes |

// Without the bus, the core's side of it has no users: replies to and requests from other processes.
#![cfg_attr(
    not(feature = "bus"),
    allow(dead_code, reason = "used by the bus only")
)]
// docs.rs marks what needs a feature.
#![cfg_attr(docsrs, feature(doc_cfg))]

// The macros' expansions name the crate, also when it is this one.
#[allow(
    unused_extern_crates,
    reason = "used by expansions in examples and tests only"
)]
extern crate self as conclib;

// ---- words everyone shares
mod error;
mod message;
mod random;
mod stop_reason;
mod sync;
mod time;
mod urn;

// ---- queues, waits, requests and replies
mod deadlock;
mod envelope;
mod mailbox;
mod reply;

// ---- actors and their systems
mod actor;
mod core;
mod runner;
mod supervision;
mod system;

// ---- built on them
mod periodic;
mod pool;
mod supervisor;
mod ticker;
mod topic;

// ---- other processes
#[cfg(feature = "bus")]
mod bus;
#[cfg(all(unix, feature = "daemon"))]
mod daemon;

// ---- for users' tests
#[cfg(feature = "test-util")]
mod test_util;

// ---- for the expansions of the macros
#[doc(hidden)]
pub mod __private;

#[cfg(all(test, not(conclib_loom)))]
mod fuzz;

pub use actor::{
    Actor, ActorRef, ActorSnapshot, Ask, Context, DEFAULT_MAILBOX, FailedActor, Forward,
    ForwardError, Handler, Handlers, IntoActor, Outcome, Phase, Recipient, RunningHandler, Task,
    Tell, Tick, Timer, Wanted, WeakActorRef, WeakRecipient,
};
#[cfg(feature = "bus")]
pub use bus::{
    Config, ConfigError, ConnectError, ConnectionState, DeadLetter, DeadLetterError, DeadLetters,
    ListDeadLetters, OpenError, Proxy, ProxyClient, ProxyEnd, RemoteAsk, RemoteTell, Role,
    StartProxyError, start_proxy,
};
pub use conclib_macros::{Actor, ActorMessage, handler, handlers};
#[cfg(all(unix, feature = "daemon"))]
pub use daemon::{ApiDaemon, LastLines, StartApi, StartApiError, StopDaemonError, start_api};
#[cfg(all(unix, feature = "daemon", feature = "redis"))]
pub use daemon::{RedisDaemon, StartRedisError, start_redis};
pub use envelope::{
    Attributes, MAX_ATTRIBUTE_BYTES, MAX_ATTRIBUTES, RawCall, RawOutcome, RequestEnvelope,
    UnexpectedMessage,
};
pub use error::{AskError, Delivered, Failure, FailureCause, TellError};
pub use message::{ActorMessage, CodecError, NoMessage, RemoteMessage, WireCodec, WireName};
pub use periodic::PeriodicActor;
pub use pool::{Pool, Route};
pub use reply::cancelled::Cancelled;
pub use reply::{Limit, Reply, ReplyReceiver};
pub use stop_reason::{StopReason, Terminated};
pub use supervision::{Backoff, Restart};
pub use supervisor::{Children, GroupMember, Strategy, Supervisor};
pub use system::{
    ActorFailure, ActorSystem, LookupError, Once, Shutdown, ShutdownReport, Snapshot, Source,
    Spawn, SpawnError, Supervised,
};
pub use ticker::{Ticker, TickerBuilder};
#[cfg(feature = "cron")]
pub use time::schedule::{Cron, CronError};
pub use time::schedule::{First, Missed, Schedule, When};
pub use topic::{Published, Topic};
pub use urn::{MAX_URN_BYTES, Urn, UrnError};

/// For tests of programs with actors: a bus with faults, failures that fail the test, paused time,
/// and probes. Needs the feature `test-util`.
///
/// ```toml
/// [dev-dependencies]
/// conclib = { version = "0.1", features = ["test-util"] }
/// tokio = { version = "1", features = ["macros", "rt", "test-util"] }
/// ```
///
/// | you want | look at |
/// |---|---|
/// | a test to fail when an actor of it fails | [`TestSystem`](test::TestSystem) |
/// | to see what an actor sends, and answer it | [`Probe`](test::Probe) |
/// | hours to pass at once, one timer after another | [`advance`](test::advance) |
/// | to be sure that a message arrives as it was sent | [`round_trips`](test::round_trips) |
/// | a bus that is late, loses and repeats | [`Faults`](test::Faults), [`Config::faults`] |
///
/// ```
/// use conclib::prelude::*;
/// use conclib::test::{Probe, TestSystem};
///
/// #[derive(ActorMessage, Debug, PartialEq)]
/// #[message(local)]
/// struct Note(String);
///
/// #[derive(ActorMessage, Serialize, Deserialize)]
/// struct Visit { name: String }
///
/// /// What is to be tested: it writes down who comes.
/// #[derive(Actor)]
/// struct Porter { log: Recipient<Note> }
///
/// #[handlers]
/// impl Porter {
///     #[handler]
///     async fn visit(&mut self, Visit { name }: Visit) -> Result<(), Failure> {
///         Ok(self.log.tell(Note(format!("{name} came"))).await?)
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // In a `#[tokio::test(start_paused = true)]`:
/// let system = TestSystem::new();
/// let log = Probe::<Note>::spawn(&system).await?;
/// let porter = system.spawn(Porter { log: log.recipient() }).await?;
/// porter.tell(Visit { name: "Ada".into() }).await?;
/// assert_eq!(log.expect().await, Note("Ada came".into()));
/// system.finish().await; // panics if an actor failed
/// # Ok(()) }
/// ```
#[cfg(feature = "test-util")]
pub mod test {
    #[cfg(feature = "bus")]
    pub use crate::bus::Faults;
    pub use crate::test_util::{
        Probe, RoundTripError, SpawnProbe, TestSystem, advance, round_trips,
    };
}

/// What nearly every program with actors needs: `use conclib::prelude::*;`.
pub mod prelude {
    pub use serde::{Deserialize, Serialize};

    #[cfg(all(unix, feature = "daemon"))]
    pub use crate::start_api;
    #[cfg(all(unix, feature = "daemon", feature = "redis"))]
    pub use crate::start_redis;
    pub use crate::{
        Actor, ActorMessage, ActorRef, ActorSystem, AskError, Context, Failure, First, Missed,
        PeriodicActor, Recipient, Reply, RequestEnvelope, Schedule, StopReason, Ticker,
        UnexpectedMessage, handler, handlers,
    };
    #[cfg(feature = "bus")]
    pub use crate::{Config, ProxyClient, start_proxy};
}

/// The code in the README compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

/// And that of the page for those who deploy.
#[cfg(doctest)]
#[doc = include_str!("../../docs/security.md")]
struct Security;
