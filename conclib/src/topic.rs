//! Publishing: one message for many actors, each of which gets a copy.

use std::fmt;
use std::sync::Arc;

use crate::actor::Recipient;
use crate::message::ActorMessage;
use crate::urn::Urn;

use subscribers::Subscribers;

/// A list of actors that each get a copy of what is published.
///
/// A value without a task of its own; cheap to clone, and the clones are the same topic. Publishing
/// is telling: responses of the subscribers are dropped.
///
/// [`publish`](Self::publish) never waits, and a topic queues nothing. Each subscriber's own
/// mailbox is the bound: a subscriber without room misses the message, and the publisher is told.
/// If no message may be missed, `tell` each recipient, which waits for room;
/// [`tell`](crate::ActorRef::tell) says what that means for actors that tell each other.
///
/// The messages of one publisher arrive at each subscriber in the order of publishing.
///
/// A topic keeps no actor alive, and forgets those that have stopped.
///
/// ```
/// use conclib::topic::Topic;
/// use conclib::prelude::*;
///
/// #[derive(ActorMessage, Clone)]
/// #[message(local)]
/// struct Price { cents: u64 }
///
/// #[derive(Actor)]
/// struct Display { prices: Topic<Price>, shown: u64 }
///
/// #[handlers]
/// impl Display {
///     fn on_start(&mut self, ctx: &mut Context<Self>) {
///         self.prices.subscribe(&ctx.actor_ref().recipient());
///     }
///
///     #[handler]
///     fn price(&mut self, message: Price) { self.shown = message.cents; }
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let system = ActorSystem::new();
/// let prices = Topic::new();
/// for _ in 0..3 {
///     system.spawn(Display { prices: prices.clone(), shown: 0 }).await?;
/// }
/// let published = prices.publish(Price { cents: 250 });
/// assert_eq!(published.delivered, 3);
/// assert!(published.is_complete());
/// # Ok(()) }
/// ```
pub struct Topic<M: ActorMessage + Clone> {
    subscribers: Arc<Subscribers<M>>,
}

impl<M: ActorMessage + Clone> Topic<M> {
    /// A topic without subscribers.
    pub fn new() -> Self {
        Self {
            subscribers: Arc::new(Subscribers::new()),
        }
    }

    /// Subscribes an actor. Does nothing if it is subscribed already, or has stopped.
    ///
    /// Looks at each subscriber, and removes those that have stopped.
    ///
    /// ```
    /// # use conclib::topic::Topic;
    /// # use conclib::prelude::*;
    /// # #[derive(ActorMessage, Serialize, Deserialize, Clone)]
    /// # struct News(String);
    /// # #[derive(Actor)]
    /// # struct Reader;
    /// # #[handlers]
    /// # impl Reader {
    /// #     #[handler]
    /// #     fn news(&mut self, _: News) {}
    /// # }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let system = ActorSystem::new();
    /// let reader: Recipient<News> = system.spawn(Reader).await?.recipient();
    /// let topic = Topic::new();
    /// topic.subscribe(&reader);
    /// topic.subscribe(&reader);
    /// assert_eq!(topic.publish(News("once".to_owned())).delivered, 1);
    /// # Ok(()) }
    /// ```
    pub fn subscribe(&self, recipient: &Recipient<M>) {
        if !recipient.is_stopped() {
            self.subscribers.add(recipient);
        }
    }

    /// Ends the subscription of an actor; false if it had none. Messages that were published before,
    /// or are being published, may still reach it.
    ///
    /// ```
    /// # use conclib::topic::Topic;
    /// # use conclib::prelude::*;
    /// # #[derive(ActorMessage, Serialize, Deserialize, Clone)]
    /// # struct News(String);
    /// # #[derive(Actor)]
    /// # struct Reader;
    /// # #[handlers]
    /// # impl Reader {
    /// #     #[handler]
    /// #     fn news(&mut self, _: News) {}
    /// # }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let system = ActorSystem::new();
    /// # let reader: Recipient<News> = system.spawn(Reader).await?.recipient();
    /// # let topic = Topic::new();
    /// topic.subscribe(&reader);
    /// assert!(topic.unsubscribe(&reader));
    /// assert!(!topic.unsubscribe(&reader));
    /// # Ok(()) }
    /// ```
    pub fn unsubscribe(&self, recipient: &Recipient<M>) -> bool {
        self.subscribers.remove(recipient)
    }

    /// Gives each subscriber a copy, in the order of subscription, and reports those that got none.
    /// Does not wait.
    ///
    /// A publisher that is subscribed itself gets its copy even if its mailbox is full, as with
    /// `tell`.
    ///
    /// ```
    /// # use conclib::topic::Topic;
    /// # use conclib::prelude::*;
    /// # #[derive(ActorMessage, Serialize, Deserialize, Clone)]
    /// # struct News(String);
    /// # #[derive(Actor)]
    /// # #[actor(urn = "reader")]
    /// # struct Reader;
    /// # #[handlers]
    /// # impl Reader {
    /// #     #[handler]
    /// #     fn news(&mut self, _: News) {}
    /// # }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let system = ActorSystem::new();
    /// let reader = system.spawn(Reader).mailbox(1).await?;
    /// let topic = Topic::new();
    /// topic.subscribe(&reader.recipient());
    /// topic.publish(News("it has room".to_owned()));
    /// let published = topic.publish(News("it has none".to_owned()));
    /// assert_eq!(published.dropped, ["reader"]);
    /// assert_eq!(topic.dropped(), 1);
    /// # Ok(()) }
    /// ```
    pub fn publish(&self, message: M) -> Published {
        self.subscribers.publish(message)
    }

    /// The number of subscribed actors that have not stopped.
    ///
    /// ```
    /// use conclib::topic::Topic;
    /// use conclib::prelude::*;
    ///
    /// #[derive(ActorMessage, Serialize, Deserialize, Clone)]
    /// struct News(String);
    ///
    /// let topic = Topic::<News>::new();
    /// assert_eq!(topic.subscribers(), 0);
    /// assert_eq!(topic.dropped(), 0);
    /// ```
    pub fn subscribers(&self) -> usize {
        self.subscribers.count_alive()
    }

    /// The number of copies that found no room since the topic was made, over all subscribers.
    pub fn dropped(&self) -> u64 {
        self.subscribers.dropped()
    }
}

impl<M: ActorMessage + Clone> Clone for Topic<M> {
    fn clone(&self) -> Self {
        Self {
            subscribers: self.subscribers.clone(),
        }
    }
}

impl<M: ActorMessage + Clone> Default for Topic<M> {
    fn default() -> Self {
        Self::new()
    }
}

impl<M: ActorMessage + Clone> fmt::Debug for Topic<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Topic<{}>", M::NAME)?;
        f.debug_list().entries(self.subscribers.urns()).finish()
    }
}

/// The result of publishing: deliveries, full mailboxes, stopped actors.
///
/// ```
/// use conclib::prelude::*;
/// use conclib::topic::{Published, Topic};
///
/// # #[derive(ActorMessage, Serialize, Deserialize, Clone)]
/// # struct News(String);
/// let topic = Topic::new();
/// let published: Published = topic.publish(News("no subscribers".to_owned()));
/// assert_eq!(published.delivered, 0);
/// assert!(published.is_complete());
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// The number of subscribers that have the message in their mailbox.
    pub delivered: usize,
    /// Subscribers whose mailbox was full: they miss this message, and stay subscribed.
    pub dropped: Vec<Urn>,
    /// Subscribers that had stopped: they are no longer subscribed.
    pub stopped: Vec<Urn>,
}

impl Published {
    /// True if no living subscriber missed the message.
    pub fn is_complete(&self) -> bool {
        self.dropped.is_empty()
    }
}

mod subscribers;
