//! Futures on one connection, which end in the order in which they were begun.

use std::collections::VecDeque;
use std::future::{Future, poll_fn, ready};
use std::pin::Pin;
use std::task::Poll;

pub(crate) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A queue of futures of which only the oldest is polled.
///
/// (A `FuturesUnordered` wakes its own task whenever it has polled all its futures, and the runtime
/// then wakes another thread: with a single future, that costs more than the future itself.)
pub(crate) struct OrderedFutures<'a, T> {
    /// Each has been polled once, so that it wakes the task that polls this queue.
    futures: VecDeque<BoxFuture<'a, T>>,
}

impl<'a, T: Send + 'a> OrderedFutures<'a, T> {
    pub(crate) fn new() -> Self {
        Self {
            futures: VecDeque::new(),
        }
    }

    /// Adds a future and polls it once, so that its command is given to the connection before the
    /// commands of later futures.
    pub(crate) async fn begin(&mut self, mut future: BoxFuture<'a, T>) {
        let begun = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await;
        self.futures.push_back(match begun {
            Poll::Ready(output) => Box::pin(ready(output)),
            Poll::Pending => future,
        });
    }

    /// Waits for the oldest future; `None` if there is none.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, it loses no future and no output.
    pub(crate) async fn oldest(&mut self) -> Option<T> {
        let ended = poll_fn(|cx| match self.futures.front_mut() {
            Some(front) => front.as_mut().poll(cx).map(Some),
            None => Poll::Ready(None),
        })
        .await;
        self.futures.pop_front();
        ended
    }

    pub(crate) fn len(&self) -> usize {
        self.futures.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{sleep, timeout};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn futures_end_in_the_order_of_their_begin() {
        const MS: Duration = Duration::from_millis(1);
        let mut under_way = OrderedFutures::new();
        assert_eq!(under_way.oldest().await, None);
        for (number, pause) in [(1, 30), (2, 10), (3, 0), (4, 20)] {
            let work = async move {
                if pause > 0 {
                    sleep(pause * MS).await;
                }
                number
            };
            under_way.begin(Box::pin(work)).await;
        }
        assert!(timeout(5 * MS, under_way.oldest()).await.is_err());
        assert_eq!(under_way.len(), 4);
        for number in 1..=4 {
            assert_eq!(under_way.oldest().await, Some(number));
        }
        assert_eq!(under_way.oldest().await, None);
    }
}
