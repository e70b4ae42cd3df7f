//! Groups of actors that start and stop together.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};
use std::time::Duration;

use futures_core::Stream;
use tokio::sync::mpsc;

use crate::actor::ActorSnapshot;
use crate::actor::any::AnyActor;
use crate::actor::{Actor, ActorRef, Context, IntoActor};
use crate::deadlock::{Edge, Wait, WaitFor};
use crate::error::{AskError, Failure};
use crate::supervision::{Backoff, Budget, Restart};
use crate::system::{Spawn, SpawnError};
use crate::urn::{Urn, UrnError};
use conclib_macros::{Actor, ActorMessage, handlers};

use event::Event;
use group::Group;
use member::{GroupMember, MemberLink};

mod event;
mod group;
mod member;

/// The members of a group that start again when one of them has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Strategy {
    /// Only the failed member: the members do not depend on each other.
    OneForOne,
    /// All members: they depend on each other.
    OneForAll,
    /// The failed member and those that were started after it: each member depends on the ones
    /// before it.
    RestForOne,
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::OneForOne => "one for one",
            Self::OneForAll => "one for all",
            Self::RestForOne => "rest for one",
        })
    }
}

/// An actor that starts a group of members in order, stops them in reverse order, and restarts them
/// when one of them fails.
///
/// A restart keeps URNs, references and queued messages, as with
/// [`ActorSystem::supervise`](crate::ActorSystem::supervise). The members that a [`Strategy`] adds
/// are ended in reverse order, each after its current message (after 5 s its handler is dropped),
/// with [`StopReason::Restarted`](crate::StopReason::Restarted). Then all start again in order,
/// each when the one before it has started. Meanwhile the supervisor keeps handling its own
/// messages. A member that is stopped or killed from outside does not start again, and the others
/// continue without it.
///
/// The members share one budget of restarts: 3 within 5 s by default. When it is spent, the
/// supervisor fails, and its members stop with it. A supervisor may be a member of another group,
/// or [escalate](Spawn::escalate) to its parent.
///
/// ```
/// use conclib::prelude::*;
/// use conclib::supervisor::{ChildSpec, Strategy, Supervisor};
///
/// #[derive(Actor)]
/// #[actor(urn = "db")]
/// struct Db;
///
/// #[handlers]
/// impl Db {}
///
/// #[derive(Actor)]
/// struct Cache { db: ActorRef<Db> }
///
/// #[handlers]
/// impl Cache {}
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let system = ActorSystem::new();
/// let found = system.clone();
/// let group = Supervisor::new(Strategy::RestForOne)
///     .member(ChildSpec::new(|| async { Db }))
///     .member(ChildSpec::new(move || {
///         let db = found.actor("db");
///         async move { Ok::<_, conclib::system::LookupError>(Cache { db: db? }) }
///     }).urn("cache"));
/// let group = system.spawn(group).urn("storage").await?;      // all have started
///
/// let members = group.children().await?;
/// assert_eq!(members.iter().map(|member| member.urn.as_str()).collect::<Vec<_>>(), ["db", "cache"]);
/// # drop(system.shutdown().await);
/// # Ok(()) }
/// ```
#[derive(Actor)]
#[must_use = "a supervisor does nothing until it is spawned"]
pub struct Supervisor {
    group: Group,
    /// The reports of the members; attached to the actor once all members have started.
    events: Option<mpsc::UnboundedReceiver<Event>>,
}

/// Asks a [`Supervisor`] for the snapshots of its members.
#[derive(ActorMessage)]
#[message(local, response = Vec<ActorSnapshot>)]
struct ListChildren;

impl ActorRef<Supervisor> {
    /// Snapshots of the supervisor's members, in the order of their start.
    ///
    /// # Errors
    ///
    /// As for [`ask`](Self::ask): the supervisor has stopped or failed, or waits for the caller.
    ///
    /// # Cancel safety
    ///
    /// Dropped before completion, it has no effect.
    pub async fn children(&self) -> Result<Vec<ActorSnapshot>, AskError> {
        self.ask(ListChildren).await
    }
}

impl Supervisor {
    /// Creates a supervisor without members.
    pub fn new(strategy: Strategy) -> Self {
        let (sender, events) = mpsc::unbounded_channel();
        Self {
            group: Group::new(strategy, sender),
            events: Some(events),
        }
    }

    /// Adds a member, which starts after the members that were added before.
    pub fn member<A, F, Fut>(mut self, member: ChildSpec<F>) -> Self
    where
        A: Actor,
        F: FnMut() -> Fut + Send + 'static,
        Fut: Future<Output: IntoActor<Actor = A>> + Send + 'static,
    {
        self.group.add(Box::new(member));
        self
    }

    /// Limits the restarts of the group: to 3 within 5 s by default.
    pub fn budget(mut self, restarts: u32, within: Duration) -> Self {
        self.group.budget = Budget::new(restarts, within);
        self
    }

    /// Restarts without a limit, as with [`Spawn::unlimited`].
    pub fn unlimited(mut self) -> Self {
        self.group.budget = self.group.budget.unlimited();
        self
    }

    /// Sets the delay before a failed member starts again.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.group.backoff = backoff;
        self
    }
}

#[handlers]
impl Supervisor {
    async fn on_start(&mut self, ctx: &mut Context<Self>) -> Result<(), Failure> {
        let Some(mut events) = self.events.take() else {
            unreachable!("a supervisor starts once");
        };
        self.group.advance(ctx)?;
        while !self.group.has_started() {
            // Recorded for deadlock detection: a starting member may wait for its supervisor.
            let starting = self.group.starting();
            let mut waits: Vec<_> = starting.map(|member| (member, Wait::default())).collect();
            let next = poll_fn(|cx| {
                // A stop does not wait for members that start slowly.
                if ctx.is_stopping() {
                    return Poll::Ready(None);
                }
                let event = events.poll_recv(cx);
                if event.is_pending() {
                    wait_for_starts(&mut waits);
                }
                event
            });
            let Some(event) = next.await else {
                return Ok(());
            };
            self.group.on_event(event, ctx)?;
        }
        ctx.attach(GroupEvents(events));
        Ok(())
    }

    #[handler]
    fn event(&mut self, event: Event, ctx: &mut Context<Self>) -> Result<(), Failure> {
        self.group.on_event(event, ctx)
    }

    #[handler]
    fn children(&mut self, _: ListChildren) -> Vec<ActorSnapshot> {
        self.group.snapshot()
    }
}

/// The events of a group, as a stream.
struct GroupEvents(mpsc::UnboundedReceiver<Event>);

impl Stream for GroupEvents {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Option<Event>> {
        self.0.poll_recv(cx)
    }
}

/// Records that the supervisor waits for the start of these members.
fn wait_for_starts(members: &mut [(Arc<dyn AnyActor>, Wait)]) {
    for (member, wait) in members {
        let edge = || Edge::new(member.clone(), WaitFor::Started);
        if let Some(cycle) = wait.record(edge) {
            cycle.break_up();
        }
    }
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervisor")
            .field("group", &self.group)
            .finish_non_exhaustive()
    }
}

/// A member of a [`Supervisor`]'s group: a factory makes the state of each incarnation.
#[derive(Debug)]
#[must_use = "a member does nothing until it is added to a `Supervisor`"]
pub struct ChildSpec<F> {
    factory: F,
    urn: Option<Result<Urn, UrnError>>,
    mailbox: Option<usize>,
    restart: Restart,
}

impl<F> ChildSpec<F> {
    /// A member that this factory makes: `ChildSpec::new(|| async { Db::connect().await })`.
    pub fn new(factory: F) -> Self {
        Self {
            factory,
            urn: None,
            mailbox: None,
            restart: Restart::default(),
        }
    }

    /// Sets the URN of the actor, instead of the one of its type.
    pub fn urn<U>(mut self, urn: U) -> Self
    where
        U: TryInto<Urn>,
        U::Error: Into<UrnError>,
    {
        self.urn = Some(urn.try_into().map_err(Into::into));
        self
    }

    /// Sets the capacity of the actor's mailbox in messages, instead of the one of its type.
    pub fn mailbox(mut self, messages: usize) -> Self {
        self.mailbox = Some(messages);
        self
    }

    /// Sets the ends after which the group restarts this member: failures by default. If the
    /// strategy restarts it together with another member, it starts again in any case.
    pub fn restart(mut self, restart: Restart) -> Self {
        self.restart = restart;
        self
    }
}

/// A member that has not been started, with its type erased.
trait PendingChild: Send {
    fn start(
        self: Box<Self>,
        ctx: &Context<Supervisor>,
        link: MemberLink,
    ) -> Result<Arc<dyn AnyActor>, SpawnError>;
}

impl<A, F, Fut> PendingChild for ChildSpec<F>
where
    A: Actor,
    F: FnMut() -> Fut + Send + 'static,
    Fut: Future<Output: IntoActor<Actor = A>> + Send + 'static,
{
    fn start(
        self: Box<Self>,
        ctx: &Context<Supervisor>,
        link: MemberLink,
    ) -> Result<Arc<dyn AnyActor>, SpawnError> {
        let source = GroupMember::new(self.factory, self.restart, link);
        let mut spawn: Spawn<A, GroupMember<F>> = ctx.child(None, source);
        if self.restart == Restart::Always {
            spawn = spawn.restarts_itself();
        }
        if let Some(urn) = self.urn {
            spawn = spawn.urn(urn?);
        }
        if let Some(mailbox) = self.mailbox {
            spawn = spawn.mailbox(mailbox);
        }
        Ok(spawn.begin_now()?.cell().clone())
    }
}
