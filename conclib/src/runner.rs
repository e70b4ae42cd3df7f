//! The event loop of an actor: the only place that runs handlers and catches their panics.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Poll, ready};

use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep};
use tracing::{debug, error};

use crate::actor::cell::{ActorCell, Current, drop_quietly};
use crate::actor::{Actor, Context, Handlers, StopReason};
use crate::error::Failure;
use crate::mailbox::Refill;
use crate::registry::Registry;
use crate::schedule::{Due, Tick};

/// Runs an actor from `on_start` to its end. `started` hears how `on_start` went.
pub(crate) async fn run<A: Actor>(
    mut actor: A,
    mut ctx: Context<A>,
    mut tenancy: Tenancy<A>,
    started: oneshot::Sender<Result<(), StopReason>>,
) {
    let cell = tenancy.cell.clone();
    let mut hooks = Hooks {
        actor: &mut actor,
        ctx: &mut ctx,
        cell: &cell,
    };

    let mut end = hooks.start().await;
    if let Some(reason) = &end {
        drop(started.send(Err(reason.clone()))); // nobody listens if the spawn was dropped
    } else {
        drop(started.send(Ok(())));
        let served = guarded(&cell, serve(&cell, hooks.actor, hooks.ctx)).await;
        let reason = hooks.ended(served).await;
        end = Some(reason);
    }

    // From here on nobody can send; what waits is refused when the tenancy ends.
    cell.mailbox.close();
    drop_quietly(actor);
    tenancy.reason = end;
}

/// Handles messages and ticks until the mailbox is closed and empty, or a handler fails.
async fn serve<A: Actor>(
    cell: &ActorCell<A>,
    actor: &mut A,
    ctx: &mut Context<A>,
) -> Result<(), Failure> {
    let mut events = Events::new(cell);
    while let Some(inbox) = events.next().await {
        let mut inbox = Some(inbox);
        if let Some(envelope) = A::unframe(&mut inbox) {
            if envelope.has_expired() {
                continue;
            }
            inbox = A::decode(envelope);
        }
        if inbox.is_some() {
            actor.dispatch(&mut inbox, ctx).await?;
        }
        // A handler that never waits would keep the thread to itself.
        tokio::task::coop::consume_budget().await;
    }
    Ok(())
}

/// Where an actor's next message comes from: its batch, its ticks, its mailbox.
struct Events<'a, A: Actor> {
    cell: &'a ActorCell<A>,
    /// What was swapped out of the mailbox and is not handled yet.
    batch: VecDeque<A::Inbox>,
    /// `None` for an actor without ticks, which then never looks at a clock.
    ticks: Option<Ticks<A>>,
    /// The last event was a tick, so that a message has its turn.
    ticked: bool,
}

impl<'a, A: Actor> Events<'a, A> {
    fn new(cell: &'a ActorCell<A>) -> Self {
        Self {
            cell,
            batch: VecDeque::new(),
            ticks: Ticks::new(A::ticks()),
            ticked: false,
        }
    }

    /// The next message; `None` when the mailbox is closed and empty.
    async fn next(&mut self) -> Option<A::Inbox> {
        loop {
            if !self.ticked
                && let Some(tick) = self.due_tick()
            {
                self.ticked = true;
                return Some(tick);
            }
            self.ticked = false;
            if let Some(message) = self.cell.mailbox.take(&mut self.batch) {
                return Some(message);
            }
            match self.wait().await {
                Wake::Messages | Wake::Tick => {}
                Wake::Closed => return None,
            }
        }
    }

    /// Ticks end when the actor is asked to stop; messages that wait are still handled.
    fn due_tick(&mut self) -> Option<A::Inbox> {
        let ticks = self.ticks.as_mut()?;
        let tick = ticks.due(Instant::now())?;
        if self.cell.mailbox.is_closed() {
            self.ticks = None;
            return None;
        }
        Some(tick)
    }

    fn wait(&mut self) -> impl Future<Output = Wake> {
        poll_fn(|cx| {
            match self.cell.mailbox.poll_refill(cx, &mut self.batch) {
                Poll::Ready(Refill::Ready) => return Poll::Ready(Wake::Messages),
                Poll::Ready(Refill::Closed) => return Poll::Ready(Wake::Closed),
                Poll::Pending => {}
            }
            let Some(ticks) = &mut self.ticks else {
                return Poll::Pending;
            };
            ready!(ticks.timer.as_mut().poll(cx));
            Poll::Ready(Wake::Tick)
        })
    }
}

enum Wake {
    Messages,
    Tick,
    Closed,
}

/// The ticks of one actor, with one timer for all.
struct Ticks<A: Handlers> {
    table: &'static [Tick<A>],
    /// When each entry is due next.
    due: Box<[Due]>,
    /// Fires at the earliest of them.
    timer: Pin<Box<Sleep>>,
}

impl<A: Handlers> Ticks<A> {
    fn new(table: &'static [Tick<A>]) -> Option<Self> {
        let now = Instant::now();
        let due: Box<[Due]> = table.iter().map(|tick| tick.schedule.start(now)).collect();
        let earliest = due.iter().map(|due| due.at).min()?;
        Some(Self {
            table,
            due,
            timer: Box::pin(tokio::time::sleep_until(earliest)),
        })
    }

    /// The message of the entry that has been due longest, if one is due.
    fn due(&mut self, now: Instant) -> Option<A::Inbox> {
        if now < self.timer.deadline() {
            return None;
        }
        let (entry, due) = self.due.iter().enumerate().min_by_key(|(_, due)| due.at)?;
        let tick = &self.table[entry];
        self.due[entry] = tick.schedule.next(*due, now);
        let earliest = self.due.iter().map(|due| due.at).min()?;
        self.timer.as_mut().reset(earliest);
        Some((tick.message)())
    }
}

/// The hooks of an actor, each run so that its panic ends nothing but itself.
struct Hooks<'a, A: Actor> {
    actor: &'a mut A,
    ctx: &'a mut Context<A>,
    cell: &'a ActorCell<A>,
}

impl<A: Actor> Hooks<'_, A> {
    /// Runs `on_start`; why the actor ends, if that is its end.
    async fn start(&mut self) -> Option<StopReason> {
        let outcome = guarded(self.cell, self.actor.on_start(self.ctx)).await;
        match outcome {
            Ok(Ok(())) => None,
            Ok(Err(failure)) | Err(Interrupted::Panicked(failure)) => {
                Some(StopReason::Failed(failure))
            }
            Err(Interrupted::Killed) => Some(StopReason::Killed),
        }
    }

    /// Runs the hook that fits how serving ended, and says why it did.
    async fn ended(&mut self, served: Result<Result<(), Failure>, Interrupted>) -> StopReason {
        let Self { actor, ctx, cell } = self;
        let urn = &cell.urn;
        let (reason, hook) = match served {
            Ok(Ok(())) => {
                let reason = cell.control.cause();
                debug!(%urn, %reason, "actor stops");
                let hook = guarded(cell, actor.on_stop(ctx, &reason)).await;
                (reason, hook)
            }
            Ok(Err(failure)) | Err(Interrupted::Panicked(failure)) => {
                error!(%urn, %failure, "actor failed");
                cell.mailbox.close();
                let hook = guarded(cell, actor.on_failure(ctx, &failure)).await;
                (StopReason::Failed(failure), hook)
            }
            Err(Interrupted::Killed) => {
                debug!(%urn, "actor was killed");
                return StopReason::Killed;
            }
        };
        match hook {
            Ok(()) => reason,
            Err(Interrupted::Killed) => StopReason::Killed,
            Err(Interrupted::Panicked(failure)) => {
                error!(%urn, %failure, "the last hook of an actor failed");
                reason
            }
        }
    }
}

/// What ended an actor's code before it returned.
enum Interrupted {
    Killed,
    Panicked(Failure),
}

/// Runs an actor's code: with the actor marked as the current one, stopped by a kill between two
/// polls, its panics caught. A handler that waits lets senders in meanwhile.
async fn guarded<A: Handlers, F: Future>(
    cell: &ActorCell<A>,
    code: F,
) -> Result<F::Output, Interrupted> {
    let mut code = pin!(Some(code));
    let mut waker = None;
    let outcome = poll_fn(|cx| {
        cell.control.register(cx.waker(), &mut waker);
        if cell.control.is_killed() {
            return Poll::Ready(Err(Interrupted::Killed));
        }
        let Some(running) = code.as_mut().as_pin_mut() else {
            return Poll::Pending;
        };
        let _current = Current::enter(cell.id());
        match catch_unwind(AssertUnwindSafe(|| running.poll(cx))) {
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Ok(Poll::Pending) => {
                cell.mailbox.admit();
                Poll::Pending
            }
            Err(panic) => Poll::Ready(Err(Interrupted::Panicked(caught(panic)))),
        }
    })
    .await;
    // What a killed handler held is dropped now, and may panic as well.
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| code.set(None))) {
        error!(urn = %cell.urn, failure = %caught(panic), "dropping a handler panicked");
    }
    outcome
}

fn caught(panic: Box<dyn std::any::Any + Send>) -> Failure {
    let failure = Failure::from_panic(&*panic);
    drop_quietly(panic);
    failure
}

/// An actor's stay in its system. When it ends, whatever ended it (the runtime may just drop the
/// task), the mailbox is closed, what waits is refused, the URN is free, and those who wait for
/// the stop hear of it, in this order.
pub(crate) struct Tenancy<A: Actor> {
    cell: Arc<ActorCell<A>>,
    registry: Arc<Registry>,
    /// Why the actor stopped, once that is known.
    reason: Option<StopReason>,
}

impl<A: Actor> Tenancy<A> {
    pub(crate) fn new(cell: Arc<ActorCell<A>>, registry: Arc<Registry>) -> Self {
        Self {
            cell,
            registry,
            reason: None,
        }
    }
}

impl<A: Actor> Drop for Tenancy<A> {
    fn drop(&mut self) {
        self.cell.refuse_waiting();
        self.registry.release(&self.cell.urn, self.cell.id());
        let reason = self.reason.take().unwrap_or(StopReason::Killed);
        // Set once: nobody else does.
        drop(self.cell.stopped.set(reason));
    }
}
