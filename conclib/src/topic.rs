//! One message for many actors: whoever subscribes gets a copy.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::actor::{Recipient, WeakRecipient};
use crate::error::AskError;
use crate::message::ActorMessage;
use crate::urn::Urn;

/// A list of actors that each get a copy of what is published.
///
/// A value without a task of its own; cheap to clone, and the clones are the same topic. Answers
/// of the subscribers go nowhere: publishing is telling.
///
/// [`publish`](Self::publish) never waits, and a topic queues nothing. Each subscriber's own
/// mailbox is the bound: who has no room misses the message, and the publisher hears of it. Where
/// none may be missed, `tell` each recipient, which waits for room; what that means for actors that tell
/// each other, [`tell`](crate::ActorRef::tell) says.
///
/// What one publisher publishes arrives at each subscriber in that order.
///
/// A topic keeps no actor alive, and forgets those that have stopped.
///
/// ```
/// use conclib::Topic;
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
    shared: Arc<Shared<M>>,
}

/// What the clones of a topic share.
struct Shared<M: ActorMessage> {
    list: Mutex<List<M>>,
    /// How many copies found no room.
    dropped: AtomicU64,
}

struct List<M: ActorMessage> {
    /// In the order of their numbers. Who publishes keeps it as it was then, and a change makes a
    /// copy meanwhile: so nothing is locked while messages are sent, cloned and dropped.
    subscribers: Arc<Vec<Subscriber<M>>>,
    /// The number of the next one.
    next_number: u64,
}

struct Subscriber<M: ActorMessage> {
    /// Its place in the order of subscription.
    number: u64,
    /// Known also when the actor is gone.
    urn: Urn,
    /// Weak: a subscription keeps no actor alive.
    recipient: WeakRecipient<M>,
}

impl<M: ActorMessage + Clone> Topic<M> {
    /// A topic without subscribers.
    pub fn new() -> Self {
        let list = List {
            subscribers: Arc::default(),
            next_number: 0,
        };
        Self {
            shared: Arc::new(Shared {
                list: Mutex::new(list),
                dropped: AtomicU64::new(0),
            }),
        }
    }

    /// From now on the actor gets what is published. Does nothing if it does already, or if it has
    /// stopped.
    ///
    /// Looks at each subscriber, and forgets those that have stopped.
    ///
    /// ```
    /// # use conclib::Topic;
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
        if recipient.is_stopped() {
            return;
        }
        let gone = self.shared.gone();
        self.shared.lock().add(recipient, &gone);
    }

    /// From now on the actor gets nothing from this topic; false if it did not anyway. What was
    /// published before, or is being published, may still reach it.
    ///
    /// ```
    /// # use conclib::Topic;
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
        self.shared.lock().remove(recipient)
    }

    /// Gives each subscriber a copy, in the order of subscription, and says who got none. Does not
    /// wait.
    ///
    /// A publisher that is subscribed itself gets its copy whether it has room or not, like with
    /// `tell`.
    ///
    /// ```
    /// # use conclib::Topic;
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
        let subscribers = self.shared.lock().subscribers.clone();
        let mut published = Published::default();
        let mut gone = Vec::new();
        if let Some((last, others)) = subscribers.split_last() {
            for subscriber in others {
                let fate = subscriber.send(|| message.clone());
                published.note(subscriber, fate, &mut gone);
            }
            let fate = last.send(|| message);
            published.note(last, fate, &mut gone);
        }
        self.shared.count(&published);
        drop(subscribers); // so that forgetting need not copy the list
        self.shared.forget(&gone);
        published
    }

    /// How many actors are subscribed and live.
    ///
    /// ```
    /// use conclib::Topic;
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
        let subscribers = self.shared.lock().subscribers.clone();
        subscribers.iter().filter(|s| s.is_alive()).count()
    }

    /// How many copies found no room since the topic was made, over all subscribers.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }
}

impl<M: ActorMessage> Shared<M> {
    /// The numbers of those that have stopped. Looked for outside the lock: what is left of an actor
    /// may be dropped here.
    fn gone(&self) -> Vec<u64> {
        let subscribers = self.lock().subscribers.clone();
        let gone = subscribers.iter().filter(|s| !s.is_alive());
        gone.map(|subscriber| subscriber.number).collect()
    }

    fn forget(&self, gone: &[u64]) {
        if !gone.is_empty() {
            self.lock().forget(gone);
        }
    }

    fn count(&self, published: &Published) {
        if !published.dropped.is_empty() {
            let dropped = published.dropped.len() as u64;
            self.dropped.fetch_add(dropped, Ordering::Relaxed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, List<M>> {
        // Nobody's code but ours runs under this lock, so that a poisoned one is as good as any.
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<M: ActorMessage> List<M> {
    fn add(&mut self, recipient: &Recipient<M>, gone: &[u64]) {
        self.forget(gone);
        if self.number_of(recipient).is_some() {
            return;
        }
        let subscriber = Subscriber {
            number: self.next_number,
            urn: recipient.urn().clone(),
            recipient: recipient.downgrade(),
        };
        self.next_number += 1;
        Arc::make_mut(&mut self.subscribers).push(subscriber);
    }

    fn remove(&mut self, recipient: &Recipient<M>) -> bool {
        let number = self.number_of(recipient);
        self.forget(number.as_slice());
        number.is_some()
    }

    /// Takes out those with these numbers, which are in order.
    fn forget(&mut self, gone: &[u64]) {
        if gone.is_empty() {
            return;
        }
        let subscribers = Arc::make_mut(&mut self.subscribers);
        subscribers.retain(|subscriber| gone.binary_search(&subscriber.number).is_err());
        if subscribers.len() < subscribers.capacity() / 4 {
            subscribers.shrink_to(subscribers.len() * 2);
        }
    }

    fn number_of(&self, recipient: &Recipient<M>) -> Option<u64> {
        let mut subscribers = self.subscribers.iter();
        let subscriber = subscribers.find(|s| s.recipient.leads_to(recipient))?;
        Some(subscriber.number)
    }
}

impl<M: ActorMessage> Subscriber<M> {
    fn is_alive(&self) -> bool {
        self.recipient.upgrade().is_some()
    }

    /// Makes a copy and sends it, unless nobody is there.
    fn send(&self, copy: impl FnOnce() -> M) -> Fate {
        let Some(recipient) = self.recipient.upgrade() else {
            return Fate::Gone;
        };
        match recipient.try_tell(copy()).map_err(AskError::from) {
            Ok(()) => Fate::Delivered,
            Err(AskError::Overloaded { .. }) => Fate::Dropped,
            Err(_) => Fate::Gone,
        }
    }
}

/// What became of one copy.
#[derive(Clone, Copy)]
enum Fate {
    Delivered,
    /// The mailbox was full.
    Dropped,
    /// The subscriber has stopped.
    Gone,
}

// By hand, because a list of subscribers is copied whether messages can be or not.
impl<M: ActorMessage> Clone for Subscriber<M> {
    fn clone(&self) -> Self {
        Self {
            number: self.number,
            urn: self.urn.clone(),
            recipient: self.recipient.clone(),
        }
    }
}

impl<M: ActorMessage + Clone> Clone for Topic<M> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
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
        let subscribers = self.shared.lock().subscribers.clone();
        let urns = subscribers.iter().map(|subscriber| &subscriber.urn);
        write!(f, "Topic<{}>", M::NAME)?;
        f.debug_list().entries(urns).finish()
    }
}

/// Who got what was published, and who did not.
///
/// ```
/// use conclib::prelude::*;
/// use conclib::{Published, Topic};
///
/// # #[derive(ActorMessage, Serialize, Deserialize, Clone)]
/// # struct News(String);
/// let topic = Topic::new();
/// let published: Published = topic.publish(News("nobody listens".to_owned()));
/// assert_eq!(published.delivered, 0);
/// assert!(published.is_complete());
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// How many subscribers have it in their mailbox.
    pub delivered: usize,
    /// Those whose mailbox was full: they miss this message, and stay subscribed.
    pub dropped: Vec<Urn>,
    /// Those that had stopped: they are not subscribed any more.
    pub gone: Vec<Urn>,
}

impl Published {
    /// True if nobody who lives missed it.
    pub fn is_complete(&self) -> bool {
        self.dropped.is_empty()
    }

    /// Notes what became of a copy, and the number of who is gone.
    fn note<M: ActorMessage>(
        &mut self,
        subscriber: &Subscriber<M>,
        fate: Fate,
        gone: &mut Vec<u64>,
    ) {
        match fate {
            Fate::Delivered => self.delivered += 1,
            Fate::Dropped => self.dropped.push(subscriber.urn.clone()),
            Fate::Gone => {
                self.gone.push(subscriber.urn.clone());
                gone.push(subscriber.number);
            }
        }
    }
}
