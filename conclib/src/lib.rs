//! Actors on tokio that can be asked from other processes.
//!
//! An actor is a task that owns a state and handles its messages one at a time. Its address is a
//! *URN* in an [`ActorSystem`]. A web server that runs as eight processes on three machines asks
//! `"print_time_actor"` through Redis as easily as a neighbour in the same process does.
//!
//! ```
//! use conclib::prelude::*;
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
//! // The actor process. `Config::from_env()?` is Redis at localhost; this bus needs no installation.
//! let config = Config::memory();
//! let system = ActorSystem::new();
//! let actor = system.spawn(Doubler).await?;
//! start_proxy(&system, &config).await?;
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
//! | to | see |
//! |---|---|
//! | define a message | [`ActorMessage`] |
//! | define an actor | [`Actor`](trait@Actor), [`#[handlers]`](macro@handlers), [`Context`] |
//! | start actors, find them by URN, shut all down | [`ActorSystem`], [`Spawn`](system::Spawn) |
//! | have messages start actors by name, and idle ones end | [`ActorSystem::on_demand`] |
//! | tell, ask, stop and kill an actor | [`ActorRef`]; by message type, without the actor's type: [`Recipient`] |
//! | wait for room, not at all, or for a time | [`tell`](ActorRef::tell), [`try_tell`](ActorRef::try_tell), [`Tell::timeout`](actor::Tell::timeout) |
//! | limit the wait for an answer | [`Ask::timeout`](actor::Ask::timeout) |
//! | stop work whose asker has gone | [`Context::cancelled`], [`Reply::cancelled`], [`CancelFlag`](actor::CancelFlag) |
//! | send from a thread outside tokio | [`Tell::blocking`](actor::Tell::blocking), [`Ask::blocking`](actor::Ask::blocking) |
//! | answer later, from anywhere | [`Reply`], [`ReplyTo`](reply::ReplyTo) |
//! | hand a message on, with its asker | [`ActorRef::forward`] |
//! | refer to an actor without counting | [`WeakActorRef`], [`WeakRecipient`], [`Spawn::while_referenced`](system::Spawn::while_referenced) |
//! | restart after failures | [`ActorSystem::supervise`], [`supervision`] |
//! | give an actor children | [`Context::spawn`], [`Context::supervise`], [`Spawn::escalate`](system::Spawn::escalate) |
//! | start and stop actors together | [`supervisor`] |
//! | end with an actor that the program needs | [`Spawn::essential`](system::Spawn::essential), [`ActorSystem::failed`] |
//! | report failures | [`ActorSystem::on_failure`] |
//! | learn of an actor's end | [`Context::watch`], [`Terminated`], [`ActorRef::stopped`] |
//! | do something later, or regularly | [`Context::after`], [`Context::every`], [`schedule`] |
//! | make messages of a stream | [`Context::attach`] |
//! | do slow I/O without blocking the mailbox | [`Context::pipe`] |
//! | block, or compute for long | [`Context::spawn_blocking`]; in all handlers: [`#[actor(thread)]`](Actor::THREAD) |
//! | put several actors behind one URN | [`pool`] |
//! | tell many actors at once | [`topic`] |
//! | see the state of all actors | [`ActorSystem::snapshot`], [`snapshot`] |
//! | see it from outside; stop, kill or restart actors, drain a node | [`inspect`], [operation](docs::operation) |
//! | test your actors | `conclib::test` (feature `test-util`), [`Context::test`], [`Context::test_in`], [`Reply::channel`] |
//! | be asked from other processes | [`run`](service::run), [`Config`]; in a program with a life of its own [`acquire_lease`](bus::acquire_lease), [`start_proxy`] |
//! | guard data against a process that was replaced | [`Context::token`] |
//! | end a process in good order | [`run`](service::run), [`shutdown_signal`](service::shutdown_signal) |
//! | ask actors of other processes | [`ProxyClient`], [`AskError`] |
//! | ask them from a web server | [`ProxyClient::lazy`], [`AskError::http_status`]; `conclib::web` (feature `axum`) |
//! | retry asks, or limit them | [`AskError::retry_after`]; `bus::AskService` (feature `tower`) |
//! | have a message kept until it is handled | [`durable`] |
//! | deliver a message to another process later | [`RemoteTell::after`](bus::RemoteTell::after), [`RemoteTell::at`](bus::RemoteTell::at) |
//! | pause between attempts | [`Backoff`]: [`Spawn::backoff`](system::Spawn::backoff), [`Config::retry_backoff`] |
//! | send a message whose type is not in the program | [`ProxyClient::ask_named`] |
//! | handle requests undecoded | [`RequestEnvelope`] |
//! | send a tenant or a trace id along with a message | [`Ask::attribute`](actor::Ask::attribute), [`RemoteAsk::attribute`](bus::RemoteAsk::attribute); read by [`Context::attributes`] |
//! | see logs | they go to `tracing`: install a subscriber such as `tracing_subscriber::fmt`; [targets, spans and fields](docs::logging) |
//! | know which message a handler's log is about | the span `handle`, [`Context::request_id`]; [logging](docs::logging) |
//! | follow a request through all processes | [`Config::propagator`], with the crate `conclib-opentelemetry`; [tracing](docs::tracing) |
//! | see leases, members, queues and the server of a bus | [`monitor`] |
//! | change a message while both sides run | [changing a message](docs::changing_a_message), [`ActorSystem::schemas`] |
//! | restrict which clients may do what | [`Config::acl`], `rediss://`, `#[actor(private)]`; [security](docs::security) |
//! | start Redis or a web server | `conclib::daemon` (feature `daemon`, Unix) |
//!
//! # Guarantees
//!
//! - **The system owns its actors.** Dropping references stops no actor. Dropping the last
//!   [`ActorSystem`] stops all.
//! - **A URN is taken when spawning begins.** Messages that arrive wait for `on_start`; if that fails,
//!   they are refused ([`AskError::ActorFailed`]). The URN is free again when [`stopped`](ActorRef::stopped) returns, also after
//!   failures. (The exception are actors that wait for each other's end.)
//! - **A stop** closes the mailbox: waiting and later senders get their message back, the queued
//!   messages are handled, then `on_stop` runs. **A kill** drops the running handler at its next await
//!   and skips the hooks. A full mailbox delays neither.
//! - **A failure** (a panic, or an `Err` of [`Failure`]) ends that actor alone: its asker gets
//!   [`AskError::Failed`], `on_failure` runs instead of `on_stop`, the state is dropped. A build
//!   with `panic = "abort"` has no such isolation: a panic ends the process.
//! - **A restart** keeps the URN, every reference and the queued messages. The message that failed is
//!   not handled again. Timers, tasks, watches and children end with the incarnation that created them.
//! - **An actor on demand ends only without messages.** The decision is one with its mailbox: a message by
//!   URN is handled by it or by the next one, and there are never two at once.
//! - **Children stop before their parent**, the newest first, and after the parent has handled its
//!   queued messages, so that it can still use them.
//! - **Messages of one sender are handled in their order**, across restarts. A tell to oneself never
//!   waits for room.
//! - **Deadlocks are errors.** An actor that would wait for itself, directly or over other actors, gets
//!   [`AskError::AskCycle`] with the chain, and its request was not executed. Asks count, forwarded
//!   ones and those through a [`Pool`](pool::Pool) too, and so do tells that wait for room, and waits for
//!   another actor's start or end within a handler or a hook. (A request that was sent before the
//!   other actor began to wait is still handled. If all waits of the cycle are for ends, one of them
//!   [ends early](ActorRef::stopped).) A [`Reply`] kept for later, a [`Reply::channel`], other tasks and
//!   other processes are not followed: there the deadline ends the wait.
//! - **A durable message is handled at least once**, even if processes end meanwhile, as long as Redis
//!   keeps its data; any other message from another process at most once. The page on
//!   [reliability](docs::reliability) has the table.
//! - **Every ask ends** with a value or an [`AskError`] that says whether the request may have been
//!   executed. Remote asks end by their deadline, 5 s unless set; local ones have none unless set.
//! - **Deadlines are inherited.** An ask within a handler ends by the deadline of the handled message,
//!   also across the bus, and a message past its deadline is not handled. An asker that goes away
//!   cancels its ask: the handler may [stop early](Context::cancelled).
//!
//! # Layers, from bottom to top
//!
//! ```text
//! error urn message trace        words everyone shares
//! time mailbox                   deadlines, backoff and schedules; the bounded queue
//! deadlock reply envelope        which actor waits for which; replies, and requests from the bus
//! actor supervision              traits, references, context; restarts
//! core runner system             URN to actor; the event loop; spawn, look up, shut down
//! supervisor pool topic          groups; workers behind one URN; one message for many actors
//! ticker periodic                regular work
//! bus                            between processes: config, protocol, transports, both ends, durable messages
//! exporter                       the counters for the facade `metrics`
//! service                        run: the turn, the signals and the end of an actor process
//! web                            responses, health checks and deadlines for axum
//! daemon                         start_redis, start_api
//! test                           support for tests of programs with actors
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
//! | `axum` | no | the module `conclib::web`: errors of asks as HTTP responses, health checks, deadlines |
//! | `metrics` | no | the type `conclib::metrics::Exporter`: the counters for the facade of the same name, and so for Prometheus |
//! | `tower` | no | `ProxyClient::service`: asks as a `tower` service |
//! | `cron` | no | moments of the calendar: `Schedule::cron`, `#[periodic(cron = "…")]` |
//! | `test-util` | no | the module `conclib::test`, for your own tests: a bus with faults, failures that fail the test, paused time, probes |

// Without the bus, the core's side of it has no users: replies to and requests from other processes.
#![cfg_attr(
    not(feature = "bus"),
    allow(dead_code, reason = "used by the bus only")
)]
// Docs of a build without the bus still mention it: their links to it are plain text.
#![cfg_attr(not(feature = "bus"), allow(rustdoc::broken_intra_doc_links))]
// docs.rs marks what needs a feature.
#![cfg_attr(docsrs, feature(doc_cfg))]

// The macros' expansions name the crate, also when it is this one.
#[allow(
    unused_extern_crates,
    reason = "used by expansions in examples and tests only"
)]
extern crate self as conclib;

// ---- words everyone shares
pub mod error;
mod labels;
pub mod message;
mod random;
mod stop_reason;
mod sync;
mod time;
pub mod trace;
mod urn;

// ---- queues, waits, requests and replies
mod deadlock;
pub mod envelope;
mod mailbox;
pub mod reply;

// ---- actors and their systems
pub mod actor;
mod core;
mod runner;
pub mod supervision;
pub mod system;

// ---- built on them
mod periodic;
pub mod pool;
pub mod supervisor;
mod ticker;
pub mod topic;

// ---- other processes
#[cfg(feature = "bus")]
pub mod bus;
#[cfg(all(unix, feature = "daemon"))]
pub mod daemon;
#[cfg(feature = "metrics")]
mod exporter;
#[cfg(feature = "bus")]
pub mod service;
#[cfg(feature = "axum")]
pub mod web;

// ---- for users' tests
#[cfg(feature = "test-util")]
pub mod test;

// ---- for readers
#[cfg(any(doc, doctest))]
pub mod docs;

// ---- for the expansions of the macros
#[doc(hidden)]
pub mod __private;

#[cfg(all(test, not(conclib_loom)))]
mod fuzz;

#[doc(inline)]
pub use actor::{Actor, ActorRef, Context, Recipient, WeakActorRef, WeakRecipient};
#[cfg(feature = "bus")]
#[doc(inline)]
pub use bus::{Config, ConnectError, Proxy, ProxyClient, start_proxy};
pub use conclib_macros::{Actor, ActorMessage, handler, handlers};
#[doc(inline)]
pub use envelope::RequestEnvelope;
#[doc(inline)]
pub use error::{AskError, Failure, TellError};
#[doc(inline)]
pub use message::ActorMessage;
#[doc(inline)]
pub use reply::Reply;
pub use stop_reason::{StopReason, Terminated};
#[doc(inline)]
pub use system::{ActorSystem, SpawnError};
#[doc(inline)]
pub use time::backoff::Backoff;
pub use urn::Urn;

/// Durable messages: kept until they are handled, and the dead letters that no actor could handle.
///
/// A message is durable by `#[message(durable)]` on its type, by
/// [`durable`](bus::RemoteTell::durable) on one tell or ask, or by an
/// [`idempotency_key`](bus::RemoteTell::idempotency_key), with which it can be sent again without
/// being handled again. The page on [reliability](docs::reliability) has the guarantees.
///
/// | to | see |
/// |---|---|
/// | deliver a message later | [`after`](bus::RemoteTell::after), [`at`](bus::RemoteTell::at) |
/// | pause after failed deliveries | [`Config::retry_backoff`], `#[message(durable, retry = "1s..5m")]` |
/// | give up after too many of them | [`Config::max_deliveries`] |
/// | wait for an actor that is missing | [`Config::missing_timeout`] |
/// | limit the wait until a message is stored | [`store_timeout`](bus::RemoteAsk::store_timeout) |
/// | take over from a process without heartbeats | [`Config::visibility_timeout`] |
/// | see and replay messages that no actor could handle | [`DeadLetters`](durable::DeadLetters) |
#[cfg(feature = "bus")]
pub mod durable {
    pub use crate::bus::durable::dead_letters::{
        DeadLetter, DeadLetterError, DeadLetters, ListDeadLetters,
    };
}

/// The state of a bus as the bus itself has it, whether or not an actor system serves: for tools and health
/// checks. See [`BusMonitor`](monitor::BusMonitor).
#[cfg(feature = "bus")]
pub mod monitor {
    pub use crate::bus::monitor::{
        BusMonitor, DeadLetterStatus, DurableStatus, LeaseStatus, ListDurable, MemberEntry,
        MonitorError, RoundTrip, ServerStatus, StoredMessage,
    };
}

/// Regular work: schedules, actors with regular messages, and tickers without an actor.
///
/// | to | see |
/// |---|---|
/// | send an actor regular messages | [`PeriodicActor`](schedule::PeriodicActor), `#[periodic]` |
/// | start and cancel a series at run time | [`Context::every`] |
/// | call a closure regularly, without an actor | [`Ticker`](schedule::Ticker) |
/// | say when, at the start and after a delay | [`Schedule`](schedule::Schedule) |
pub mod schedule {
    pub use crate::periodic::PeriodicActor;
    pub use crate::ticker::{Ticker, TickerBuilder};
    #[cfg(feature = "cron")]
    pub use crate::time::schedule::{Cron, CronError};
    pub use crate::time::schedule::{First, Missed, Schedule};
}

#[cfg(feature = "bus")]
pub mod inspect {
    //! Inspection and operation of actor processes from outside.
    #![doc = include_str!("bus/inspect/guide.md")]

    pub use crate::bus::config::LogControl;
    pub use crate::bus::inspect::message::{
        Action, ActionOutcome, ActorDetails, ActorFilter, ActorPage, ActorQuery, ActorsQuery,
        Cursor, CursorError, FailurePage, FailuresQuery, LogQuery, LogState, MAX_LOG_DURATION,
        MAX_PAGE, MemberConfig, MemberMetrics, MemberStatus, MetricsQuery, Query, Refusal,
        RestartBudget, SchemaPage, SchemasQuery, Sort, StatusQuery, Supervision, TreeNode,
        TreePage, TreeQuery, TypePage, TypeSummary, TypesQuery, VERSION, WaitEdge, WaitGraph,
        WaitKind, WaitsFor, WaitsQuery,
    };
    pub use crate::bus::inspect::{
        ActorOf, Audit, FleetActors, FromMember, InspectError, Inspector, MemberAddress,
        MemberStage,
    };
    pub use crate::bus::server::skew_log::UndecodedMessage;
}

/// The state of a system's actors at one moment: see [`ActorSystem::snapshot`].
pub mod snapshot {
    pub use crate::actor::snapshot::{ActorSnapshot, FailedActor, RunningHandler};
    pub use crate::actor::stats::Phase;
    pub use crate::system::snapshot::Snapshot;
}

/// Counters of the messages that actors handle, that are lost, or that are refused, as plain data.
///
/// | counters of | read by |
/// |---|---|
/// | the actors of a system, by type | [`ActorSystem::metrics`] |
/// | the requests that come to a system from the bus | [`Proxy::stats`](bus::Proxy::stats) |
/// | the requests of a client | [`ProxyClient::stats`](bus::ProxyClient::stats) |
/// | the last failures of actors, one by one | [`ActorSystem::failures`] |
///
/// Counters only rise. They are kept whether or not they are read, and reading them stops nothing: counters
/// that are read together may be a few messages apart. All types implement serde's traits.
///
/// A message that passes several places counts at each: a request from the bus that finds a full mailbox is an
/// `Overloaded` of the client, of the proxy, and of the actor's type.
pub mod metrics {
    #[cfg(feature = "bus")]
    pub use crate::bus::client::counters::{ClientStats, MessageStats};
    #[cfg(feature = "bus")]
    pub use crate::bus::fleet::stats::{FleetStats, MemberCounts};
    #[cfg(feature = "bus")]
    pub use crate::bus::link::log_once::{Anomaly, AnomalyCount};
    #[cfg(feature = "bus")]
    pub use crate::bus::server::backlog::BacklogStats;
    #[cfg(feature = "bus")]
    pub use crate::bus::server::counters::{DurableStats, ProxyStats};
    pub use crate::core::FailureRecord;
    #[cfg(feature = "bus")]
    pub use crate::error::outcomes::{ErrorCount, OutcomeCounts};
    #[cfg(feature = "metrics")]
    pub use crate::exporter::Exporter;
    pub use crate::stop_reason::StopKind;
    pub use crate::system::metrics::{
        ActorTypeMetrics, HandlerCount, LostCount, StopCount, SystemMetrics,
    };
    pub use crate::time::durations::{DurationBucket, DurationHistogram};
}

/// Names that nearly every program with actors needs: `use conclib::prelude::*;`.
///
/// These are the traits and macros, the types of the crate's root that appear in actors and in `main`,
/// the schedules, `start_proxy`, `start_redis` and `start_api`, and serde's `Serialize` and
/// `Deserialize`, for messages.
pub mod prelude {
    pub use serde::{Deserialize, Serialize};

    #[cfg(all(unix, feature = "daemon"))]
    pub use crate::daemon::start_api;
    #[cfg(all(unix, feature = "daemon", feature = "redis"))]
    pub use crate::daemon::start_redis;
    pub use crate::envelope::UnexpectedMessage;
    pub use crate::reply::ReplyTo;
    pub use crate::schedule::{First, Missed, PeriodicActor, Schedule, Ticker};
    #[cfg(feature = "bus")]
    pub use crate::service::{RunEnd, run};
    pub use crate::{
        Actor, ActorMessage, ActorRef, ActorSystem, AskError, Context, Failure, Recipient, Reply,
        RequestEnvelope, StopReason, Terminated, handler, handlers,
    };
    #[cfg(feature = "bus")]
    pub use crate::{Config, ProxyClient, start_proxy};
}

/// The code in the README compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
