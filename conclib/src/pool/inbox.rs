//! The mailbox of a pool: its workers' messages, and changes of its size.

use std::fmt;
use std::sync::Arc;

use super::Pool;
use crate::actor::{Actor, Context, Handler, HandlerNames, Handlers, RecipientQuery};
use crate::deadlock::PendingReply;
use crate::envelope::RequestEnvelope;
use crate::error::Failure;
use crate::message::ActorMessage;
use crate::reply::{Limit, Reply};

/// The number of the pool's own message in a snapshot.
const RESIZE: u16 = u16::MAX - 2;

/// An entry of a pool's mailbox.
#[doc(hidden)]
pub struct PoolInbox<W: Handlers>(pub(super) PoolEntry<W>);

pub(super) enum PoolEntry<W: Handlers> {
    Work(Work<W>),
    Resize(usize, Reply<()>),
}

/// A message for a worker.
pub(super) struct Work<W: Handlers> {
    pub(super) inbox: W::Inbox,
    /// The ask, if an actor waits for its reply: deadlock detection follows it to the worker.
    pub(super) pending: Option<Arc<dyn PendingReply>>,
}

impl<W: Handlers> Work<W> {
    fn frame(envelope: Box<RequestEnvelope>) -> Self {
        Self {
            inbox: W::frame(envelope),
            pending: None, // deadlock detection ends at the borders of processes
        }
    }
}

impl<W: Handlers> fmt::Debug for PoolInbox<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PoolInbox")
    }
}

impl<W: Actor> Actor for Pool<W> {
    const MAILBOX: usize = W::MAILBOX;

    /// A private worker cannot be reached through its pool.
    const PRIVATE: bool = W::PRIVATE;
    const SHARED: bool = W::SHARED;
}

// For all `Handlers`, not only for actors: the lookup of a recipient offers a worker's type and its
// pool under the same bound.
impl<W: Handlers> Handlers for Pool<W> {
    type Inbox = PoolInbox<W>;

    async fn dispatch(
        &mut self,
        inbox: &mut Option<PoolInbox<W>>,
        ctx: &mut Context<Self>,
    ) -> Result<(), Failure> {
        match inbox.take() {
            Some(PoolInbox(PoolEntry::Work(work))) => self.forward(work, ctx).await,
            Some(PoolInbox(PoolEntry::Resize(size, reply))) => {
                self.size = size;
                let outcome = self.adjust(ctx).await;
                reply.finish(outcome)
            }
            None => Ok(()),
        }
    }

    fn frame(envelope: Box<RequestEnvelope>) -> PoolInbox<W> {
        PoolInbox(PoolEntry::Work(Work::frame(envelope)))
    }

    fn unframe(inbox: &mut Option<PoolInbox<W>>) -> Option<Box<RequestEnvelope>> {
        match inbox.take() {
            Some(PoolInbox(PoolEntry::Work(Work {
                inbox: work,
                pending,
            }))) => {
                let mut work = Some(work);
                let envelope = W::unframe(&mut work);
                *inbox = work.map(|inbox| PoolInbox(PoolEntry::Work(Work { inbox, pending })));
                envelope
            }
            other => {
                *inbox = other;
                None
            }
        }
    }

    /// Leaves the decoding to the workers, which do it in parallel.
    fn decode(envelope: Box<RequestEnvelope>) -> Option<PoolInbox<W>> {
        Some(Self::frame(envelope))
    }

    /// The worker checks the deadline: the pool does not handle the message itself.
    fn limit(_: &PoolInbox<W>) -> Option<Limit<'_>> {
        None
    }

    fn asker(inbox: &PoolInbox<W>) -> Option<Limit<'_>> {
        match &inbox.0 {
            PoolEntry::Work(work) => W::asker(&work.inbox),
            PoolEntry::Resize(_, reply) => reply.limit(),
        }
    }

    const HANDLERS: u16 = W::HANDLERS;

    fn which(inbox: &PoolInbox<W>) -> u16 {
        match &inbox.0 {
            PoolEntry::Work(work) => W::which(&work.inbox),
            PoolEntry::Resize(..) => RESIZE,
        }
    }

    fn handler(number: u16) -> HandlerNames {
        match number {
            RESIZE => HandlerNames {
                method: "resize",
                message: None,
            },
            number => W::handler(number),
        }
    }

    fn recipient(query: &mut RecipientQuery<'_>) {
        W::recipient(query);
    }

    async fn on_start(&mut self, ctx: &mut Context<Self>) -> Result<(), Failure> {
        self.adjust(ctx).await
    }
}

impl<W: Handlers, M: ActorMessage> Handler<M> for Pool<W>
where
    W: Handler<M>,
{
    fn wrap(message: M, reply: Reply<M::Response>) -> PoolInbox<W> {
        let pending = reply.tracked();
        let inbox = W::wrap(message, reply);
        PoolInbox(PoolEntry::Work(Work { inbox, pending }))
    }

    fn unwrap(inbox: PoolInbox<W>) -> Option<(M, Reply<M::Response>)> {
        match inbox.0 {
            PoolEntry::Work(work) => W::unwrap(work.inbox),
            PoolEntry::Resize(..) => None,
        }
    }

    fn peek(inbox: &PoolInbox<W>) -> Option<&M> {
        match &inbox.0 {
            PoolEntry::Work(work) => W::peek(&work.inbox),
            PoolEntry::Resize(..) => None,
        }
    }
}
