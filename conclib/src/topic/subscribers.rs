//! The subscribers of a topic, and the delivery of copies to them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, MutexGuard};

use crate::actor::{Recipient, WeakRecipient};
use crate::error::AskError;
use crate::message::ActorMessage;
use crate::topic::Published;
use crate::urn::Urn;

/// The state that the clones of a topic share.
pub(super) struct Subscribers<M: ActorMessage> {
    list: Mutex<SubscriberList<M>>,
    /// The number of copies that found no room.
    dropped: AtomicU64,
}

struct SubscriberList<M: ActorMessage> {
    /// Ordered by their numbers. A publisher keeps the list as it was when it began, and a change
    /// makes a copy meanwhile: so nothing is locked while messages are sent, cloned and dropped.
    entries: Arc<Vec<Subscriber<M>>>,
    /// The number of the next subscriber.
    next_number: u64,
}

struct Subscriber<M: ActorMessage> {
    /// Its place in the order of subscription.
    number: u64,
    /// Kept apart from the recipient, since it is needed when the actor has stopped.
    urn: Urn,
    /// Weak: a subscription keeps no actor alive.
    recipient: WeakRecipient<M>,
}

impl<M: ActorMessage> Subscribers<M> {
    pub(super) fn new() -> Self {
        let list = SubscriberList {
            entries: Arc::default(),
            next_number: 0,
        };
        Self {
            list: Mutex::new(list),
            dropped: AtomicU64::new(0),
        }
    }

    /// Adds an actor, unless it is subscribed already, and removes those that have stopped.
    pub(super) fn add(&self, recipient: &Recipient<M>) {
        let stopped = self.stopped();
        self.lock().add(recipient, &stopped);
    }

    /// Removes an actor; false if it was not subscribed.
    pub(super) fn remove(&self, recipient: &Recipient<M>) -> bool {
        self.lock().remove(recipient)
    }

    /// Sends a copy to each subscriber, and removes those that have stopped.
    pub(super) fn publish(&self, message: M) -> Published
    where
        M: Clone,
    {
        let subscribers = self.entries();
        let mut published = Published::default();
        let mut stopped = Vec::new();
        let mut record = |subscriber: &Subscriber<M>, outcome| match outcome {
            CopyOutcome::Delivered => published.delivered += 1,
            CopyOutcome::Dropped => published.dropped.push(subscriber.urn.clone()),
            CopyOutcome::Stopped => {
                published.stopped.push(subscriber.urn.clone());
                stopped.push(subscriber.number);
            }
        };
        if let Some((last, others)) = subscribers.split_last() {
            for subscriber in others {
                record(subscriber, subscriber.send(|| message.clone()));
            }
            record(last, last.send(|| message));
        }
        if !published.dropped.is_empty() {
            let dropped = published.dropped.len() as u64;
            self.dropped.fetch_add(dropped, Ordering::Relaxed);
        }
        drop(subscribers); // so that the removal need not copy the list
        if !stopped.is_empty() {
            self.lock().remove_all(&stopped);
        }
        published
    }

    /// The number of subscribed actors that have not stopped.
    pub(super) fn count_alive(&self) -> usize {
        self.entries().iter().filter(|s| s.is_alive()).count()
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    pub(super) fn urns(&self) -> Vec<Urn> {
        let subscribers = self.entries();
        subscribers.iter().map(|s| s.urn.clone()).collect()
    }

    /// The numbers of stopped actors. Collected outside the lock, since the last reference to an
    /// actor may be dropped here.
    fn stopped(&self) -> Vec<u64> {
        let subscribers = self.entries();
        let stopped = subscribers.iter().filter(|s| !s.is_alive());
        stopped.map(|subscriber| subscriber.number).collect()
    }

    fn entries(&self) -> Arc<Vec<Subscriber<M>>> {
        self.lock().entries.clone()
    }

    fn lock(&self) -> MutexGuard<'_, SubscriberList<M>> {
        self.list.lock()
    }
}

impl<M: ActorMessage> SubscriberList<M> {
    fn add(&mut self, recipient: &Recipient<M>, stopped: &[u64]) {
        self.remove_all(stopped);
        if self.number_of(recipient).is_some() {
            return;
        }
        let subscriber = Subscriber {
            number: self.next_number,
            urn: recipient.urn().clone(),
            recipient: recipient.downgrade(),
        };
        self.next_number += 1;
        Arc::make_mut(&mut self.entries).push(subscriber);
    }

    fn remove(&mut self, recipient: &Recipient<M>) -> bool {
        let number = self.number_of(recipient);
        self.remove_all(number.as_slice());
        number.is_some()
    }

    /// Removes the subscribers with these numbers, which are in ascending order.
    fn remove_all(&mut self, numbers: &[u64]) {
        if numbers.is_empty() {
            return;
        }
        let entries = Arc::make_mut(&mut self.entries);
        entries.retain(|subscriber| numbers.binary_search(&subscriber.number).is_err());
        if entries.len() < entries.capacity() / 4 {
            entries.shrink_to(entries.len() * 2);
        }
    }

    fn number_of(&self, recipient: &Recipient<M>) -> Option<u64> {
        let mut entries = self.entries.iter();
        let subscriber = entries.find(|s| s.recipient.leads_to(recipient))?;
        Some(subscriber.number)
    }
}

impl<M: ActorMessage> Subscriber<M> {
    fn is_alive(&self) -> bool {
        self.recipient.upgrade().is_some()
    }

    /// Makes a copy and sends it, unless the actor has stopped.
    fn send(&self, copy: impl FnOnce() -> M) -> CopyOutcome {
        let Some(recipient) = self.recipient.upgrade() else {
            return CopyOutcome::Stopped;
        };
        match recipient.try_tell(copy()).map_err(AskError::from) {
            Ok(()) => CopyOutcome::Delivered,
            Err(AskError::Overloaded { .. }) => CopyOutcome::Dropped,
            Err(_) => CopyOutcome::Stopped,
        }
    }
}

/// The outcome of sending one copy.
#[derive(Clone, Copy)]
enum CopyOutcome {
    Delivered,
    /// The mailbox was full.
    Dropped,
    /// The subscriber has stopped.
    Stopped,
}

// By hand, because a list of subscribers is copied even if messages cannot be.
impl<M: ActorMessage> Clone for Subscriber<M> {
    fn clone(&self) -> Self {
        Self {
            number: self.number,
            urn: self.urn.clone(),
            recipient: self.recipient.clone(),
        }
    }
}
