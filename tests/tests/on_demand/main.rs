//! Actors on demand: their starts, their ends, and messages from other processes.

mod bus;
mod by_urn;
mod ends;
mod failures;
mod shutdowns;
mod starts;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use conclib::Urn;
use conclib::prelude::*;
use conclib_tests::{GateHandle, Log, gate};

/// The idle time of the tests.
const IDLE: Duration = Duration::from_secs(8);

/// Adds to a counter; the response is the sum.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone, Copy)]
#[message(response = u64)]
struct Add(u64);

/// Makes a counter do something, and responds with its sum.
#[derive(ActorMessage)]
#[message(local, response = u64)]
enum Act {
    /// Stops itself.
    Stop,
    /// Fails.
    Fail,
    /// Runs a task for so long.
    Task(Duration),
    /// Spawns a child, which stays.
    Child,
    /// Sends itself a message regularly.
    Tick(Duration),
    /// Waits at a gate.
    Wait(conclib_tests::Gate),
}

#[derive(ActorMessage)]
#[message(local)]
struct Ticked;

/// A counter whose sum is in a store while it is not loaded.
#[derive(Actor)]
struct Counter {
    sum: u64,
    store: Store,
}

#[handlers]
impl Counter {
    #[handler]
    fn add(&mut self, Add(n): Add) -> u64 {
        self.sum += n;
        self.sum
    }

    #[handler]
    async fn act(&mut self, act: Act, ctx: &mut Context<Self>) -> Result<u64, Failure> {
        match act {
            Act::Stop => ctx.stop(),
            Act::Fail => return Err(Failure::msg("on purpose")),
            Act::Task(time) => {
                ctx.pipe(async move {
                    tokio::time::sleep(time).await;
                    Ticked
                });
            }
            Act::Child => drop(ctx.spawn(Child).await?),
            Act::Tick(time) => drop(ctx.every(time, || Ticked)),
            Act::Wait(gate) => gate.pass().await,
        }
        Ok(self.sum)
    }

    #[handler]
    fn ticked(&mut self, _: Ticked) {}

    async fn on_stop(&mut self, reason: &StopReason, ctx: &mut Context<Self>) {
        let gate = self.store.0.lock().unwrap().at_stop.take();
        if let Some(gate) = gate {
            gate.pass().await;
        }
        self.store.save(ctx.urn(), self.sum, reason);
    }

    fn on_failure(&mut self, failure: &Failure, ctx: &mut Context<Self>) {
        let reason = StopReason::Failed(failure.clone());
        self.store.save(ctx.urn(), self.sum, &reason);
    }
}

#[derive(Actor)]
struct Child;

#[handlers]
impl Child {}

/// The sums of the counters, and a record of their loads and saves. A counter that is loaded twice at
/// once panics.
#[derive(Clone, Default)]
struct Store(Arc<Mutex<Sums>>);

#[derive(Default)]
struct Sums {
    saved: HashMap<Urn, u64>,
    loaded: HashMap<Urn, bool>,
    log: Log,
    /// The gate in the next `on_stop`.
    at_stop: Option<conclib_tests::Gate>,
}

impl Store {
    fn load(&self, urn: &Urn) -> Counter {
        let mut sums = self.0.lock().unwrap();
        let before = sums.loaded.insert(urn.clone(), true);
        assert_ne!(before, Some(true), "`{urn}` is loaded twice at once");
        sums.log.add(format!("{urn} loaded"));
        let sum = sums.saved.get(urn).copied().unwrap_or_default();
        drop(sums);
        Counter {
            sum,
            store: self.clone(),
        }
    }

    fn save(&self, urn: &Urn, sum: u64, reason: &StopReason) {
        let mut sums = self.0.lock().unwrap();
        sums.saved.insert(urn.clone(), sum);
        sums.loaded.insert(urn.clone(), false);
        sums.log.add(format!("{urn} saved: {reason}"));
    }

    fn log(&self) -> Vec<String> {
        self.0.lock().unwrap().log.entries()
    }

    /// A gate in the next `on_stop`.
    fn gate_at_stop(&self) -> GateHandle {
        let (gate, handle) = gate();
        self.0.lock().unwrap().at_stop = Some(gate);
        handle
    }

    /// A factory that loads.
    fn loader(&self) -> impl Fn(Urn) -> std::future::Ready<Counter> + Send + Sync + 'static {
        let store = self.clone();
        move |urn| std::future::ready(store.load(&urn))
    }
}
