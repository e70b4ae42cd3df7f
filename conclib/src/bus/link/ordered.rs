//! Several things under way on one connection, which end in the order in which they were begun.

use std::collections::VecDeque;
use std::future::{Future, poll_fn, ready};
use std::pin::Pin;
use std::task::Poll;

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Futures of which only the oldest is polled.
///
/// (A `FuturesUnordered` wakes its own task whenever it has polled all it has, and the runtime then
/// wakes another thread: with one future in it, that costs more than what it waits for.)
pub(crate) struct InOrder<'a, T> {
    /// All have been polled by the task that waits here, which is woken when one can go on.
    futures: VecDeque<BoxFuture<'a, T>>,
}

impl<'a, T: Send + 'a> InOrder<'a, T> {
    pub(crate) fn new() -> Self {
        Self {
            futures: VecDeque::new(),
        }
    }

    /// Begins one: it is polled, so that what it sends is given to the connection before anything
    /// that follows.
    pub(crate) async fn begin(&mut self, mut future: BoxFuture<'a, T>) {
        let begun = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await;
        self.futures.push_back(match begun {
            Poll::Ready(output) => Box::pin(ready(output)),
            Poll::Pending => future,
        });
    }

    /// Waits for the one that was begun first; `None` if there is none. Dropped before it is ready,
    /// it loses nothing.
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
    async fn they_end_in_order_whichever_is_done_first() {
        const MS: Duration = Duration::from_millis(1);
        let mut under_way = InOrder::new();
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
