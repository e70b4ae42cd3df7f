//! Customers who place orders over HTTP, each with a key of its own, and read them.

use std::time::Duration;

use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

/// The pause of a customer after each order.
const PAUSE: Duration = Duration::from_millis(20);

/// The longest wait for requests, for each of which there are some 5 s.
const LIMIT: Duration = Duration::from_secs(300);

/// A request, and what came of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// True if it places the order, false if it reads it.
    pub(crate) places: bool,
    /// The id of the order.
    pub(crate) key: String,
    pub(crate) begun: Instant,
    pub(crate) ended: Instant,
    /// 0 without a response.
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Outcome {
    pub(crate) fn is_success(&self) -> bool {
        let expected = if self.places { 201 } else { 200 };
        self.status == expected && self.body.contains(&self.key)
    }
}

/// Customers at work.
pub(crate) struct Customers {
    tasks: JoinSet<()>,
    is_over: watch::Sender<bool>,
    receiver: mpsc::UnboundedReceiver<Outcome>,
    outcomes: Vec<Outcome>,
}

impl Customers {
    pub(crate) fn at(url: &str, number: usize) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        let is_over = watch::Sender::new(false);
        let mut tasks = JoinSet::new();
        for customer in 0..number {
            let customer = Customer {
                http: reqwest::Client::new(),
                url: url.to_owned(),
                name: format!("c{customer}"),
                outcomes: sender.clone(),
            };
            tasks.spawn(customer.work(is_over.subscribe()));
        }
        Self {
            tasks,
            is_over,
            receiver,
            outcomes: Vec::new(),
        }
    }

    /// Waits until this many further requests have ended.
    pub(crate) async fn more(&mut self, requests: usize) {
        // Those that have ended meanwhile do not count.
        while let Ok(outcome) = self.receiver.try_recv() {
            self.outcomes.push(outcome);
        }
        let wait = async {
            for _ in 0..requests {
                self.outcomes.push(self.receiver.recv().await.unwrap());
            }
        };
        let waited = timeout(LIMIT, wait).await;
        waited.expect("requests end");
    }

    /// Lets each customer end its request; returns all outcomes.
    pub(crate) async fn end(mut self) -> Vec<Outcome> {
        self.is_over.send_replace(true);
        self.tasks.join_all().await;
        while let Ok(outcome) = self.receiver.try_recv() {
            self.outcomes.push(outcome);
        }
        self.outcomes
    }
}

struct Customer {
    http: reqwest::Client,
    url: String,
    name: String,
    outcomes: mpsc::UnboundedSender<Outcome>,
}

impl Customer {
    async fn work(self, is_over: watch::Receiver<bool>) {
        let body = json!({ "item": "tea", "quantity": 1, "cents": 450 }).to_string();
        for number in 0.. {
            if *is_over.borrow() {
                break;
            }
            let key = format!("{}-{number}", self.name);
            let place = self.http.post(format!("{}/orders", self.url));
            let place = place.header("content-type", "application/json");
            let place = place.header("idempotency-key", &key);
            self.send(true, &key, place.body(body.clone())).await;
            let read = self.http.get(format!("{}/orders/{key}", self.url));
            self.send(false, &key, read).await;
            sleep(PAUSE).await;
        }
    }

    async fn send(&self, places: bool, key: &str, request: reqwest::RequestBuilder) {
        let begun = Instant::now();
        let (status, body) = match request.send().await {
            Ok(response) => {
                let status = response.status().as_u16();
                (status, response.text().await.unwrap_or_default())
            }
            Err(error) => (0, format!("{error:?}")),
        };
        let outcome = Outcome {
            places,
            key: key.to_owned(),
            begun,
            ended: Instant::now(),
            status,
            body,
        };
        drop(self.outcomes.send(outcome));
    }
}
