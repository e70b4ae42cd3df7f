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
///
/// The runtime may drop this midway, the last parameter first: the tenancy ends before the spawn
/// hears of it.
pub(crate) async fn run<A: Actor>(
    started: oneshot::Sender<Result<(), StopReason>>,
    mut tenancy: Tenancy<A>,
    mut ctx: Context<A>,
) {
    let Tenancy {
        cell,
        actor: Some(actor),
        batch,
        reason,
        ..
    } = &mut tenancy
    else {
        return; // not reached: the state leaves when the tenancy ends
    };
    let mut hooks = Hooks {
        actor,
        ctx: &mut ctx,
        cell,
    };
    if let Some(end) = hooks.start().await {
        *reason = Some(end.clone());
        drop(tenancy); // the URN is free when the spawn returns
        drop(started.send(Err(end))); // nobody listens if the spawn was dropped
        return;
    }
    drop(started.send(Ok(())));
    let served = guarded(cell, serve(cell, hooks.actor, hooks.ctx, batch)).await;
    *reason = Some(hooks.ended(served).await);
}

/// Handles messages and ticks until the mailbox is closed and empty, or a handler fails.
async fn serve<A: Actor>(
    cell: &ActorCell<A>,
    actor: &mut A,
    ctx: &mut Context<A>,
    batch: &mut VecDeque<A::Inbox>,
) -> Result<(), Failure> {
    let mut events = Events::new(cell, batch);
    // Messages come straight into this place and are handled from there: each move counts.
    let mut inbox = None;
    while events.next(&mut inbox).await {
        if let Some(envelope) = A::unframe(&mut inbox) {
            inbox = if envelope.has_expired() {
                None
            } else {
                A::decode(envelope)
            };
        }
        if inbox.is_some() {
            actor.dispatch(&mut inbox, ctx).await?;
        }
        if cell.control.is_killed() {
            tokio::task::yield_now().await; // and there it ends
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
    batch: &'a mut VecDeque<A::Inbox>,
    /// `None` for an actor without ticks, which then never looks at a clock.
    ticks: Option<Ticks<A>>,
    /// The last event was a tick, so that a message has its turn if there is one.
    ticked: bool,
}

impl<'a, A: Actor> Events<'a, A> {
    fn new(cell: &'a ActorCell<A>, batch: &'a mut VecDeque<A::Inbox>) -> Self {
        Self {
            cell,
            batch,
            ticks: Ticks::new(A::ticks()),
            ticked: false,
        }
    }

    /// Puts the next message into `inbox`; false when the mailbox is closed and empty.
    async fn next(&mut self, inbox: &mut Option<A::Inbox>) -> bool {
        loop {
            if !self.ticked && self.due_tick(inbox) {
                self.ticked = true;
                return true;
            }
            if self.cell.mailbox.take(self.batch, inbox) {
                self.ticked = false;
                return true;
            }
            match self.wait().await {
                Wake::Messages => {}
                Wake::Tick => self.ticked = false,
                Wake::Closed => return false,
            }
        }
    }

    /// Ticks end when the actor is asked to stop; messages that wait are still handled.
    fn due_tick(&mut self, inbox: &mut Option<A::Inbox>) -> bool {
        let Some(ticks) = &mut self.ticks else {
            return false;
        };
        let Some(tick) = ticks.due(Instant::now()) else {
            return false;
        };
        if self.cell.mailbox.is_closed() {
            self.ticks = None;
            return false;
        }
        *inbox = Some(tick);
        true
    }

    fn wait(&mut self) -> impl Future<Output = Wake> {
        poll_fn(|cx| {
            match self.cell.mailbox.poll_refill(cx, self.batch) {
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
        let Self { actor, ctx, cell } = self;
        let outcome = guarded(cell, async { actor.on_start(ctx).await }).await;
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
                let hook = guarded(cell, async { actor.on_stop(ctx, &reason).await }).await;
                (reason, hook)
            }
            Ok(Err(failure)) | Err(Interrupted::Panicked(failure)) => {
                error!(%urn, %failure, "actor failed");
                cell.mailbox.close();
                let hook = guarded(cell, async { actor.on_failure(ctx, &failure).await }).await;
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
                cell.mailbox.admit_before_waiting();
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
/// task), the mailbox is closed, the state is dropped, what waits is refused, the URN is free, and
/// those who wait for the stop hear of it, in this order.
pub(crate) struct Tenancy<A: Actor> {
    cell: Arc<ActorCell<A>>,
    registry: Arc<Registry>,
    /// The state. Here, and not in the code that may unwind, so that it is dropped on its own.
    actor: Option<A>,
    /// The messages in hand that are not handled yet. Here, so that a panic fails no other
    /// message than the one that is being handled.
    batch: VecDeque<A::Inbox>,
    /// Why the actor stopped, once that is known.
    reason: Option<StopReason>,
}

impl<A: Actor> Tenancy<A> {
    pub(crate) fn new(cell: Arc<ActorCell<A>>, registry: Arc<Registry>, actor: A) -> Self {
        Self {
            cell,
            registry,
            actor: Some(actor),
            batch: VecDeque::new(),
            reason: None,
        }
    }
}

impl<A: Actor> Drop for Tenancy<A> {
    fn drop(&mut self) {
        let waiting = self.cell.mailbox.close_and_drain();
        drop_quietly(self.actor.take());
        // Each on its own: a message whose drop panics takes no other with it.
        self.batch.drain(..).chain(waiting).for_each(drop_quietly);
        self.registry.release(&self.cell.urn, self.cell.id());
        self.cell.control.forget_task();
        let reason = self.reason.take().unwrap_or(StopReason::Killed);
        // Set once: nobody else does.
        drop(self.cell.stopped.set(reason));
    }
}
