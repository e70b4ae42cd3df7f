//! 600 plain asks in a second, without repetitions.

use std::collections::BTreeMap;
use std::time::Duration;

use conclib::prelude::*;
use orders::{GetOrder, GetStatistics};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// Three asks in each.
const PERIOD: Duration = Duration::from_millis(5);

/// The orders that are asked: each starts an actor on demand, in each worker.
const ORDERS: usize = 500;

/// Asks at work.
pub(crate) struct Asks {
    task: JoinHandle<()>,
    is_over: watch::Sender<bool>,
    receiver: mpsc::UnboundedReceiver<String>,
    counts: BTreeMap<String, usize>,
}

impl Asks {
    pub(crate) fn of(client: &ProxyClient) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        let is_over = watch::Sender::new(false);
        let task = tokio::spawn(send(client.clone(), sender, is_over.subscribe()));
        Self {
            task,
            is_over,
            receiver,
            counts: BTreeMap::new(),
        }
    }

    /// Waits until this many further asks have ended.
    pub(crate) async fn more(&mut self, asks: usize) {
        while let Ok(outcome) = self.receiver.try_recv() {
            self.count(outcome);
        }
        for _ in 0..asks {
            let outcome = timeout(Duration::from_secs(60), self.receiver.recv()).await;
            self.count(outcome.expect("asks end").unwrap());
        }
    }

    /// Waits for the asks under way; returns how often each outcome came.
    pub(crate) async fn end(mut self) -> BTreeMap<String, usize> {
        self.is_over.send_replace(true);
        self.task.await.unwrap();
        while let Some(outcome) = self.receiver.recv().await {
            *self.counts.entry(outcome).or_default() += 1;
        }
        self.counts
    }

    fn count(&mut self, outcome: String) {
        *self.counts.entry(outcome).or_default() += 1;
    }
}

async fn send(
    client: ProxyClient,
    outcomes: mpsc::UnboundedSender<String>,
    is_over: watch::Receiver<bool>,
) {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut number = 0;
    while !*is_over.borrow() {
        ticks.tick().await;
        for _ in 0..2 {
            number = (number + 1) % ORDERS;
            let ask = client.ask(format!("order/n{number}"), GetOrder);
            report(ask, outcomes.clone());
        }
        report(client.ask("statistics", GetStatistics), outcomes.clone());
    }
}

fn report<T: Send + 'static>(
    ask: impl Future<Output = Result<T, AskError>> + Send + 'static,
    outcomes: mpsc::UnboundedSender<String>,
) {
    tokio::spawn(async move {
        let outcome = match ask.await {
            Ok(_) => "Ok".to_owned(),
            Err(error) => format!("{error:?}"),
        };
        drop(outcomes.send(outcome));
    });
}
