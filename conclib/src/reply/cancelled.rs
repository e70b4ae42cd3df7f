//! The moment from which nobody waits for an answer any more.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use tokio::time::Instant;

use crate::time::deadline::Deadline;

/// A question that somebody waits for the answer of, or has waited.
pub(crate) trait Awaited: Send + Sync {
    /// Ready when nobody waits any more: it is answered, or its asker has gone. Until then the
    /// waker is kept in the place that `key` names.
    fn poll_over(self: Arc<Self>, key: &mut Option<Key>, cx: &Context<'_>) -> Poll<()>;
    /// Forgets the waker in that place.
    fn unwatch(&self, key: Key);
    /// Until when its asker waits.
    fn deadline(&self) -> Option<Instant>;
    /// Its deadline has passed here, though perhaps not yet where its asker is: no answer that comes
    /// now is heard there.
    fn expire(&self);
}

/// Completes when nobody waits for an answer any more; made by
/// [`Context::cancelled`](crate::Context::cancelled) and [`Reply::cancelled`](crate::Reply::cancelled).
///
/// It borrows nothing, and may be moved into a task. Once complete it stays so when it is polled
/// again.
///
/// # Cancel safety
///
/// It may be dropped, and made anew, at any time.
#[must_use = "futures do nothing unless they are awaited"]
pub struct Cancelled {
    /// `None` if nobody has ever waited.
    question: Option<Arc<dyn Awaited>>,
    /// Where the question keeps our waker, once it does.
    key: Option<Key>,
    /// The asker's. It may be over although the asker has not had its turn yet.
    deadline: Deadline,
}

impl Cancelled {
    pub(crate) fn new(question: Option<Arc<dyn Awaited>>) -> Self {
        let deadline = question.as_ref().and_then(|question| question.deadline());
        Self {
            question,
            key: None,
            deadline: Deadline::until(deadline),
        }
    }
}

impl Future for Cancelled {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let Some(question) = &this.question else {
            return Poll::Pending;
        };
        if question.clone().poll_over(&mut this.key, cx).is_ready() {
            return Poll::Ready(());
        }
        ready!(this.deadline.poll(cx));
        question.expire();
        Poll::Ready(())
    }
}

impl Drop for Cancelled {
    fn drop(&mut self) {
        if let (Some(question), Some(key)) = (&self.question, self.key) {
            question.unwatch(key);
        }
    }
}

impl fmt::Debug for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cancelled")
    }
}

/// The place of a waker among those of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key(u64);

/// Those who wait for a question's end. In a box, for those many questions that nobody watches.
///
/// Wakers are others' code: they are given out, so as to be woken and dropped outside of locks.
#[derive(Default)]
pub(crate) struct Watchers(Option<Box<List>>);

#[derive(Default)]
struct List {
    wakers: Vec<(Key, Waker)>,
    next_key: u64,
}

impl Watchers {
    /// Keeps a waker, in its place if it has one already; the one that it replaces.
    pub(crate) fn keep(&mut self, key: &mut Option<Key>, waker: &Waker) -> Option<Waker> {
        let list = self.0.get_or_insert_default();
        let kept = list
            .wakers
            .iter_mut()
            .find(|(other, _)| Some(*other) == *key);
        match kept {
            Some((_, kept)) if kept.will_wake(waker) => None,
            Some((_, kept)) => Some(std::mem::replace(kept, waker.clone())),
            None => {
                let new = Key(list.next_key);
                list.next_key += 1;
                list.wakers.push((new, waker.clone()));
                *key = Some(new);
                None
            }
        }
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<Waker> {
        let wakers = &mut self.0.as_mut()?.wakers;
        let place = wakers.iter().position(|(other, _)| *other == key)?;
        Some(wakers.swap_remove(place).1)
    }

    /// Takes them out, to be woken.
    #[inline]
    pub(crate) fn take(&mut self) -> Self {
        Self(self.0.take())
    }

    #[inline]
    pub(crate) fn wake(self) {
        if let Some(list) = self.0 {
            list.wakers.into_iter().for_each(|(_, waker)| waker.wake());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Wake;

    use super::*;
    use crate::Reply;

    struct Nobody;

    impl Wake for Nobody {
        fn wake(self: Arc<Self>) {}
    }

    #[test]
    fn who_watches_no_longer_leaves_nothing_behind() {
        let (reply, _answer) = Reply::<u32>::channel();
        let nobody = Arc::new(Nobody);
        let waker = Waker::from(nobody.clone());
        let mut cx = Context::from_waker(&waker);
        for _ in 0..10 {
            let mut cancelled = reply.cancelled();
            for _ in 0..3 {
                assert!(Pin::new(&mut cancelled).poll(&mut cx).is_pending());
            }
            assert_eq!(Arc::strong_count(&nobody), 3);
        }
        assert_eq!(Arc::strong_count(&nobody), 2);
    }

    #[test]
    fn a_watcher_has_one_place_and_leaves_it() {
        let mut watchers = Watchers::default();
        let (mut one, mut other) = (None, None);
        for _ in 0..3 {
            drop(watchers.keep(&mut one, Waker::noop()));
            drop(watchers.keep(&mut other, Waker::noop()));
        }
        assert_ne!(one, other);
        assert_eq!(watchers.0.as_ref().unwrap().wakers.len(), 2);
        assert!(watchers.remove(one.unwrap()).is_some());
        assert!(watchers.remove(one.unwrap()).is_none());
        assert_eq!(watchers.0.as_ref().unwrap().wakers.len(), 1);
    }

    #[test]
    fn a_question_that_nobody_watches_has_little_room_for_it() {
        assert_eq!(size_of::<Watchers>(), size_of::<usize>());
    }
}
