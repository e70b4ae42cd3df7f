//! Pools: several identical actors behind one URN.

mod failures;
mod load;
mod restarts;
mod routing;
mod sizes;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use conclib::pool::Pool;
use conclib::prelude::*;
use conclib::supervision::Backoff;
use conclib_tests::{Log, within};
use tokio::sync::Semaphore;

/// Answers with the number of the worker.
#[derive(ActorMessage, Serialize, Deserialize)]
#[message(response = usize)]
struct Who {
    key: u32,
}

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(response = usize)]
struct Slow;

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(response = usize)]
struct Explode;

#[derive(ActorMessage)]
#[message(local)]
struct Note(u32);

/// A worker with a number, counted from zero.
#[derive(Actor)]
#[actor(mailbox = 4)]
struct PoolWorker {
    number: usize,
    state: PoolState,
}

/// State that workers and the test share.
#[derive(Clone, Default)]
struct PoolState {
    made: Arc<AtomicUsize>,
    log: Log,
    gate: Arc<Option<Semaphore>>,
}

impl PoolState {
    /// With a gate, at which slow messages wait until the test admits them.
    fn with_gate() -> Self {
        Self {
            gate: Arc::new(Some(Semaphore::new(0))),
            ..Self::default()
        }
    }

    fn admit(&self, count: usize) {
        if let Some(gate) = &*self.gate {
            gate.add_permits(count);
        }
    }

    fn pool(&self, size: usize) -> Pool<PoolWorker> {
        let state = self.clone();
        let pool = Pool::new(size, move || {
            let state = state.clone();
            let number = state.made.fetch_add(1, Ordering::SeqCst);
            async move { PoolWorker { number, state } }
        });
        pool.backoff(Backoff::none())
    }

    fn made(&self) -> usize {
        self.made.load(Ordering::SeqCst)
    }
}

#[handlers]
impl PoolWorker {
    #[handler]
    fn who(&mut self, _: Who) -> usize {
        self.number
    }

    #[handler]
    async fn slow(&mut self, _: Slow) -> Result<usize, Failure> {
        self.state.log.add("slow");
        if let Some(gate) = &*self.state.gate {
            gate.acquire().await?.forget();
        }
        Ok(self.number)
    }

    #[handler]
    fn explode(&mut self, _: Explode) -> usize {
        panic!("on purpose");
    }

    #[handler]
    fn note(&mut self, Note(n): Note) {
        self.state.log.add(format!("{n}"));
    }
}

async fn who(pool: &ActorRef<Pool<PoolWorker>>, key: u32) -> usize {
    within(pool.ask(Who { key })).await.expect("an answer")
}
