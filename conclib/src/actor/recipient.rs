//! References to actors by a message that they handle.

use std::any::Any;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use crate::actor::any::AnyActor;
use crate::actor::cell::Envelope;
use crate::actor::stopped;
use crate::actor::{Ask, Forward, Tell};
use crate::error::{AskError, AskErrorKind, TellError};
use crate::mailbox::{Closed, Ticket};
use crate::message::{ActorMessage, MessageSchema};
use crate::reply::Reply;
use crate::stop_reason::StopReason;
use crate::urn::Urn;

/// A reference to an actor that handles messages of type `M`, whatever the actor's own type.
///
/// Cheap to clone, like an [`ActorRef`](crate::ActorRef).
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

/// The part of an actor that a [`Recipient`] uses.
pub(crate) trait Receives<M: ActorMessage>: Send + Sync {
    fn urn(&self) -> &Urn;
    /// The actor, without the message type.
    fn actor(self: Arc<Self>) -> Arc<dyn AnyActor>;
    /// Sends the envelope, or waits for room. On [`Closed`] the envelope is back in its place.
    fn poll_send(
        &self,
        cx: &mut Context<'_>,
        ticket: &mut Option<Ticket>,
        envelope: &mut Option<Envelope<M>>,
    ) -> Poll<Result<(), Closed>>;
    /// Leaves the wait queue. Returns the envelope, unless the mailbox has taken the message.
    fn withdraw(&self, ticket: Ticket) -> Option<Envelope<M>>;
    /// Sends if there is room and no other sender waits for it.
    fn try_tell(&self, message: M) -> Result<(), TellError<M>>;
    /// The error for a message that the closed mailbox does not take.
    fn refusal(&self) -> AskError;
    /// Counts a message that no handler begins, with the error that its sender gets.
    fn count_lost(&self, kind: AskErrorKind);
    fn has_ended(&self) -> bool;
    fn add_reference(&self);
    fn drop_reference(&self);
}

impl<M: ActorMessage> Recipient<M> {
    pub(crate) fn new(target: Arc<dyn Receives<M>>) -> Self {
        target.add_reference();
        Self { target }
    }

    /// The actor as a recipient of `M`; `None` if it has no handler for that.
    pub(crate) fn of(actor: &Arc<dyn AnyActor>) -> Option<Self> {
        let mut found = None;
        actor.recipient(&mut RecipientQuery::new(&mut found, actor.clone().as_any()));
        found
    }

    /// The URN of the actor.
    pub fn urn(&self) -> &Urn {
        self.target.urn()
    }

    /// Sends a message, like [`ActorRef::tell`](crate::ActorRef::tell).
    ///
    /// # Errors
    ///
    /// [`TellError`] with the message, if the actor has stopped, if a [`timeout`](Tell::timeout) has
    /// passed, or if the wait for room would never end.
    ///
    /// # Cancel safety
    ///
    /// A tell that is dropped before it completes has sent nothing, with one exception; see [`Tell`].
    pub fn tell(&self, message: M) -> Tell<M> {
        Tell::new(self.clone(), message)
    }

    /// Sends a message and waits for the reply, like [`ActorRef::ask`](crate::ActorRef::ask).
    ///
    /// # Errors
    ///
    /// [`AskError`], if there is no reply.
    ///
    /// # Cancel safety
    ///
    /// Dropping the ask gives the reply up. The message may be handled all the same; see [`Ask`].
    pub fn ask(&self, message: M) -> Ask<M> {
        Ask::new(self.clone(), message)
    }

    /// Sends a message if there is room for it now, like
    /// [`ActorRef::try_tell`](crate::ActorRef::try_tell).
    ///
    /// # Errors
    ///
    /// [`TellError`] with the message, if the mailbox is full or the actor has stopped.
    ///
    /// ```
    /// # use conclib::prelude::*;
    /// # #[derive(ActorMessage, Serialize, Deserialize)]
    /// # struct Note(String);
    /// # #[derive(Actor)]
    /// # #[actor(urn = "log")]
    /// # struct Log;
    /// # #[handlers]
    /// # impl Log {
    /// #     #[handler]
    /// #     fn note(&mut self, _: Note) {}
    /// # }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let system = ActorSystem::new();
    /// # system.spawn(Log).await?;
    /// let log: Recipient<Note> = system.recipient("log")?;
    /// if let Err(back) = log.try_tell(Note("hello".to_owned())) {
    ///     let (message, reason) = back.into_parts();
    ///     eprintln!("{reason}: {}", message.0);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn try_tell(&self, message: M) -> Result<(), TellError<M>> {
        self.target.try_tell(message)
    }

    /// Sends a message with the reply that its asker waits for, like
    /// [`ActorRef::forward`](crate::ActorRef::forward).
    ///
    /// # Errors
    ///
    /// [`ForwardError`](crate::actor::ForwardError) with message and reply.
    ///
    /// # Cancel safety
    ///
    /// Like [`tell`](Self::tell). If a dropped forward has sent nothing, the asker gets
    /// [`NoReply`](AskError::NoReply).
    ///
    /// ```
    /// use conclib::prelude::*;
    ///
    /// #[derive(ActorMessage, Serialize, Deserialize)]
    /// #[message(response = String)]
    /// struct Translate(String);
    ///
    /// /// Forwards to any actor that translates.
    /// #[derive(Actor)]
    /// struct FrontDesk { translator: Recipient<Translate> }
    ///
    /// #[handlers]
    /// impl FrontDesk {
    ///     #[handler]
    ///     async fn translate(&mut self, message: Translate, reply: Reply<String>) {
    ///         if let Err(back) = self.translator.forward(message, reply).await {
    ///             // Without a translator, the asker gets the text as it is.
    ///             let (Translate(text), reply) = back.into_parts();
    ///             reply.send(text);
    ///         }
    ///     }
    /// }
    /// # #[derive(Actor)]
    /// # struct Translator;
    /// # #[handlers]
    /// # impl Translator {
    /// #     #[handler]
    /// #     fn translate(&mut self, Translate(text): Translate) -> String { text.to_uppercase() }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let system = ActorSystem::new();
    /// let translator = system.spawn(Translator).await?.recipient();
    /// let desk = system.spawn(FrontDesk { translator }).await?;
    /// assert_eq!(desk.ask(Translate("hello".to_owned())).await?, "HELLO");
    /// # Ok(()) }
    /// ```
    pub fn forward(&self, message: M, reply: Reply<M::Response>) -> Forward<M> {
        Forward::new(self.clone(), message, reply)
    }

    /// Waits until the actor has stopped, and returns the reason, like
    /// [`ActorRef::stopped`](crate::ActorRef::stopped), also within handlers and hooks.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the future may be dropped, and the method called again.
    ///
    /// ```
    /// # use conclib::prelude::*;
    /// # #[derive(ActorMessage, Serialize, Deserialize)]
    /// # struct Note(String);
    /// # #[derive(Actor)]
    /// # struct Log;
    /// # #[handlers]
    /// # impl Log {
    /// #     #[handler]
    /// #     fn note(&mut self, _: Note) {}
    /// # }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let system = ActorSystem::new();
    /// let actor = system.spawn(Log).await?;
    /// let log: Recipient<Note> = actor.recipient();
    /// actor.stop();
    /// assert!(matches!(log.stopped().await, StopReason::Requested));
    /// assert!(log.is_stopped());
    /// # Ok(()) }
    /// ```
    pub async fn stopped(&self) -> StopReason {
        stopped::stopped(self.actor()).await
    }

    /// True if the actor has stopped.
    pub fn is_stopped(&self) -> bool {
        self.target.has_ended()
    }

    /// Returns a weak reference, which does not count for
    /// [`while_referenced`](crate::system::Spawn::while_referenced).
    pub fn downgrade(&self) -> WeakRecipient<M> {
        WeakRecipient {
            target: Arc::downgrade(&self.target),
        }
    }

    pub(super) fn actor(&self) -> Arc<dyn AnyActor> {
        self.target.clone().actor()
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

impl<M: ActorMessage> PartialEq for Recipient<M> {
    /// True if both refer to the same actor.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.target, &other.target)
    }
}

impl<M: ActorMessage> Eq for Recipient<M> {}

impl<M: ActorMessage> Hash for Recipient<M> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.target).cast::<()>().hash(state);
    }
}

impl<M: ActorMessage> fmt::Debug for Recipient<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let actor = self.target.clone().actor();
        f.debug_tuple("Recipient").field(actor.name()).finish()
    }
}

/// A weak [`Recipient`]: it does not count for [`while_referenced`](crate::system::Spawn::while_referenced).
///
/// ```
/// use conclib::WeakRecipient;
/// use conclib::prelude::*;
///
/// # #[derive(ActorMessage, Serialize, Deserialize)]
/// # struct Note(String);
/// # #[derive(Actor)]
/// # struct Log;
/// # #[handlers]
/// # impl Log {
/// #     #[handler]
/// #     fn note(&mut self, _: Note) {}
/// # }
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let system = ActorSystem::new();
/// let actor = system.spawn(Log).await?;
/// let log: WeakRecipient<Note> = actor.recipient().downgrade();
/// assert!(log.upgrade().is_some());
///
/// actor.stop();
/// actor.stopped().await;
/// assert!(log.upgrade().is_none());
/// # Ok(()) }
/// ```
pub struct WeakRecipient<M: ActorMessage> {
    target: Weak<dyn Receives<M>>,
}

impl<M: ActorMessage> WeakRecipient<M> {
    /// Returns a recipient; `None` if the actor has stopped.
    pub fn upgrade(&self) -> Option<Recipient<M>> {
        self.target
            .upgrade()
            .map(Recipient::new)
            // Read after the reference is counted: an actor on demand may be about to end.
            .filter(|recipient| !recipient.target.has_ended())
    }

    /// True if both refer to the same actor.
    pub(crate) fn leads_to(&self, recipient: &Recipient<M>) -> bool {
        std::ptr::addr_eq(self.target.as_ptr(), Arc::as_ptr(&recipient.target))
    }
}

impl<M: ActorMessage> Clone for WeakRecipient<M> {
    fn clone(&self) -> Self {
        Self {
            target: self.target.clone(),
        }
    }
}

impl<M: ActorMessage> fmt::Debug for WeakRecipient<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let urn = self.target.upgrade().map(|target| target.urn().clone());
        f.debug_tuple("WeakRecipient").field(&urn).finish()
    }
}

/// A search for a [`Recipient`] of one message type, given to an actor whose type is not known.
///
/// The actor offers a recipient for each message that it handles, in
/// [`Handlers::recipient`](crate::actor::Handlers::recipient). The search takes the one of its type. Logs
/// find the name of a message in the same way.
pub struct RecipientQuery<'a> {
    pub(crate) goal: Goal<'a>,
}

/// The result that a query is for.
pub(crate) enum Goal<'a> {
    /// The actor that was found, as a recipient of one message type.
    Recipient {
        /// An `Option<Recipient<M>>` for the message type `M` of the search.
        slot: &'a mut dyn Any,
        /// The cell of the actor that was found: an `Arc<ActorCell<_>>`.
        found: Arc<dyn Any + Send + Sync>,
    },
    /// The name of the message in an entry of a mailbox, for logs.
    Name {
        entry: &'a dyn Any,
        name: &'a mut &'static str,
    },
    /// The messages that may come from the bus.
    Messages(&'a mut Vec<MessageTypeName>),
}

/// The name of a message, and its fields if its type says.
pub(crate) type MessageTypeName = (&'static str, Option<MessageSchema>);

impl<'a> RecipientQuery<'a> {
    pub(crate) fn new<M: ActorMessage>(
        slot: &'a mut Option<Recipient<M>>,
        found: Arc<dyn Any + Send + Sync>,
    ) -> Self {
        let goal = Goal::Recipient { slot, found };
        Self { goal }
    }

    /// A query that sets the name of the message in this entry.
    pub(crate) fn for_name(entry: &'a dyn Any, name: &'a mut &'static str) -> Self {
        let goal = Goal::Name { entry, name };
        Self { goal }
    }

    /// A query that lists the messages which may come from the bus.
    pub(crate) fn for_messages(messages: &'a mut Vec<MessageTypeName>) -> Self {
        let goal = Goal::Messages(messages);
        Self { goal }
    }
}

impl fmt::Debug for RecipientQuery<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecipientQuery")
    }
}
