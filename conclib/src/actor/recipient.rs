//! References to whoever handles a message.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::cell::{ActorCell, Parcel};
use super::{Ask, Handler, Tell};
use crate::mailbox::{Closed, Ticket};
use crate::message::ActorMessage;
use crate::pool::Pool;
use crate::urn::Urn;

/// Where to send messages of type `M`, whatever actor handles them.
///
/// ```
/// use conclib::prelude::*;
///
/// #[derive(ActorMessage, Serialize, Deserialize)]
/// struct Note(String);
///
/// #[derive(Actor)]
/// #[actor(urn = "log")]
/// struct Log(Vec<String>);
///
/// #[handlers]
/// impl Log {
///     #[handler]
///     fn note(&mut self, Note(text): Note) { self.0.push(text); }
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let system = ActorSystem::new();
/// system.spawn(Log(Vec::new())).await?;
/// let log: Recipient<Note> = system.recipient("log")?;
/// log.tell(Note("hello".to_owned())).await?;
/// # Ok(()) }
/// ```
pub struct Recipient<M: ActorMessage> {
    target: Arc<dyn Receives<M>>,
}

/// What a [`Recipient`] needs of the actor behind it.
pub(crate) trait Receives<M: ActorMessage>: Send + Sync {
    fn urn(&self) -> &Urn;
    /// Sends the parcel, or waits for room; on `Closed` the parcel is back in its place.
    fn poll_send(
        &self,
        cx: &mut Context<'_>,
        ticket: &mut Option<Ticket>,
        parcel: &mut Option<Parcel<M>>,
    ) -> Poll<Result<(), Closed>>;
    /// Stops waiting for room.
    fn withdraw(&self, ticket: Ticket) -> Option<Parcel<M>>;
    fn add_reference(&self);
    fn drop_reference(&self);
}

impl<M: ActorMessage> Recipient<M> {
    pub(crate) fn new(target: Arc<dyn Receives<M>>) -> Self {
        target.add_reference();
        Self { target }
    }

    /// The actor's address.
    pub fn urn(&self) -> &Urn {
        self.target.urn()
    }

    /// Sends a message; like [`ActorRef::tell`].
    pub fn tell(&self, message: M) -> Tell<M> {
        Tell::new(self.clone(), message)
    }

    /// Sends a message and waits for its answer; like [`ActorRef::ask`].
    pub fn ask(&self, message: M) -> Ask<M> {
        Ask::new(self.clone(), message)
    }

    pub(super) fn target(&self) -> &dyn Receives<M> {
        &*self.target
    }
}

impl<M: ActorMessage> Clone for Recipient<M> {
    fn clone(&self) -> Self {
        Self::new(self.target.clone())
    }
}

impl<M: ActorMessage> Drop for Recipient<M> {
    fn drop(&mut self) {
        self.target.drop_reference();
    }
}

impl<M: ActorMessage> fmt::Debug for Recipient<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Recipient").field(self.urn()).finish()
    }
}

/// Somebody looks for a [`Recipient`] of a message type that only they know.
///
/// An actor offers one for each message that it handles; the one that fits is kept.
pub struct Wanted<'a> {
    /// An `Option<Recipient<M>>` of the `M` that is wanted.
    slot: &'a mut dyn Any,
    /// The cell of the actor that was found: an `Arc<ActorCell<_>>`.
    found: Arc<dyn Any + Send + Sync>,
}

impl<'a> Wanted<'a> {
    pub(crate) fn new<M: ActorMessage>(
        slot: &'a mut Option<Recipient<M>>,
        found: Arc<dyn Any + Send + Sync>,
    ) -> Self {
        Self { slot, found }
    }

    /// Offers the actor that was found as a recipient of `M`: an `A`, or a
    /// [`Pool`](crate::Pool) of `A`.
    pub fn offer<A: Handler<M>, M: ActorMessage>(&mut self) {
        let Some(slot) = self.slot.downcast_mut::<Option<Recipient<M>>>() else {
            return;
        };
        let found = self.found.clone();
        *slot = match found.downcast::<ActorCell<A>>() {
            Ok(actor) => Some(Recipient::new(actor)),
            Err(found) => {
                let pool = found.downcast::<ActorCell<Pool<A>>>().ok();
                pool.map(|pool| Recipient::new(pool))
            }
        };
    }
}

impl fmt::Debug for Wanted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wanted")
    }
}
