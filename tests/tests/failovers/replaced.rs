//! The address leads to another Redis, and the old connections stay open: a changed DNS entry, or a
//! virtual address that has moved.

use std::time::{Duration, Instant};

use conclib::bus::ConnectionState;
use conclib::prelude::*;
use conclib_tests::actors::Worker;
use conclib_tests::messages::{Double, Record, Recorded};
use conclib_tests::{SECOND, eventually};
use tokio::time::sleep;

use crate::pair::Pair;

/// Time for plain and durable asks to be answered again once the old server is known to be wrong.
const RECOVERY: Duration = Duration::from_secs(3);

/// An actor system and a client over the address of a pair.
struct Service {
    pair: Pair,
    system: ActorSystem,
    client: ProxyClient,
}

impl Service {
    async fn start() -> Self {
        let pair = Pair::start().await;
        let config = pair.config();
        let system = ActorSystem::new();
        system.spawn(Worker::default()).await.unwrap();
        start_proxy(&system, &config).await.unwrap();
        let client = ProxyClient::connect(&config).await.unwrap();
        let service = Self {
            pair,
            system,
            client,
        };
        service.answers(Instant::now()).await;
        service
    }

    /// Waits until plain and durable asks are answered, in time after that moment.
    async fn answers(&self, since: Instant) {
        for is_durable in [false, true] {
            eventually("an ask is answered", async || {
                let ask = self.client.ask("worker", Double { n: 21 });
                let ask = if is_durable { ask.durable() } else { ask };
                ask.await == Ok(42)
            })
            .await;
        }
        let passed = since.elapsed();
        assert!(passed < RECOVERY, "after {passed:?}");
    }

    /// Records numbers; returns those that were certainly not recorded, and those that certainly were.
    async fn record(&self, numbers: std::ops::Range<u32>) -> (Vec<u32>, Vec<u32>) {
        let (mut absent, mut recorded) = (Vec::new(), Vec::new());
        for n in numbers {
            match self.client.ask("worker", Record { n }).await {
                Ok(()) => recorded.push(n),
                Err(error) if error.delivered() == conclib::error::Delivered::No => absent.push(n),
                Err(_) => {}
            }
        }
        (absent, recorded)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_that_is_demoted_at_once_is_left() {
    let service = Service::start().await;
    let mut state = service.client.connection_state();
    state.mark_unchanged();
    service.pair.in_step().await;
    service.pair.fail_over().await;
    service.pair.first.replicate(&service.pair.second).await;
    let demoted = Instant::now();
    let (absent, recorded) = service.record(0..200).await;
    service.answers(demoted).await;
    // The state has said so meanwhile.
    assert!(state.has_changed().unwrap());
    let worker = service.client.ask("worker", Recorded).await.unwrap();
    assert!(absent.iter().all(|n| !worker.contains(n)));
    assert!(recorded.iter().all(|n| worker.contains(n)));
    assert_eq!(*state.borrow(), ConnectionState::Connected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_that_has_lost_writes_and_is_demoted_later_is_left() {
    let service = Service::start().await;
    // The replica does not know of what comes now: not even of the lease, soon.
    service.pair.second.promote().await;
    service.answers(Instant::now()).await;
    service.pair.fail_over().await;
    sleep(5 * SECOND).await;
    // Both take writes, and both ends still use the first.
    service.answers(Instant::now()).await;
    service.pair.first.replicate(&service.pair.second).await;
    service.answers(Instant::now()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_that_is_never_demoted_is_left_by_clients_without_an_actor_system() {
    let service = Service::start().await;
    service.pair.in_step().await;
    service.pair.fail_over().await;
    // The process of the actors is started again: on the new server.
    service.system.shutdown().await;
    let system = ActorSystem::new();
    system.spawn(Worker::default()).await.unwrap();
    start_proxy(&system, &service.pair.config()).await.unwrap();
    let absent = service.client.ask("worker", Double { n: 1 }).await;
    assert_eq!(absent, Err(AskError::NoResponder));
    let known = Instant::now() + 10 * SECOND;
    eventually("the client finds the new server", async || {
        service.client.ask("worker", Double { n: 1 }).await == Ok(2)
    })
    .await;
    service.answers(known).await;
}
