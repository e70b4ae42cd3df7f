//! A lease between the moment in which its proxy stops and the end of the actors.

use tokio::time::timeout;

use super::*;
use crate::prelude::*;

/// Handles its messages and stops slowly, and notes the lease meanwhile.
#[derive(Actor)]
#[actor(urn = "missing")]
struct Slow {
    bus: Arc<Bus>,
    handling: Duration,
    stopping: Duration,
}

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(name = "M", response = ())]
struct Handle;

#[handlers]
impl Slow {
    #[handler]
    async fn handle(&mut self, _: Handle) {
        sleep(self.handling).await;
    }

    async fn on_stop(&mut self, _: &mut Context<Self>) {
        sleep(self.stopping).await;
        let is_released = self.bus.released.load(SeqCst);
        self.bus.stopped_unleased.store(is_released, SeqCst);
    }
}

impl Bus {
    /// Serves an actor that handles and stops slowly, and has it handle a request and queue another.
    async fn serve_slowly(
        self,
        [handling, stopping]: [Duration; 2],
    ) -> (Arc<Self>, ActorSystem, Proxy) {
        let (bus, system, proxy) = self.serve().await;
        let slow = Slow {
            bus: bus.clone(),
            handling,
            stopping,
        };
        system.spawn(slow).await.unwrap();
        for id in [1, 2] {
            bus.push(ask_with(1, id, contents()));
        }
        sleep(10 * MS).await;
        (bus, system, proxy)
    }

    fn outcomes(&self) -> Vec<(u64, Result<Bytes, AskError>)> {
        let published = self.published.lock();
        let outcomes = published.iter().cloned();
        outcomes.map(|(_, id, outcome)| (id, outcome)).collect()
    }
}

fn contents() -> Vec<u8> {
    rmp_serde::to_vec(&Handle).unwrap()
}

/// The ids of requests that were handled.
fn handled(outcomes: &[(u64, Result<Bytes, AskError>)]) -> Vec<u64> {
    let handled = outcomes.iter().filter(|(_, outcome)| outcome.is_ok());
    handled.map(|(id, _)| *id).collect()
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn lease_is_held_until_the_actors_have_stopped_and_their_replies_are_sent() {
    let (bus, system, proxy) = Bus::new().serve_slowly([4 * SECOND, 12 * SECOND]).await;
    let renewals = bus.renewals.load(SeqCst);
    let token = proxy.epoch();
    let shutdown = tokio::spawn(system.shutdown().timeout(60 * SECOND).into_future());
    assert_eq!(proxy.stopped().await, ProxyEnd::Stopped);
    assert!(bus.start.elapsed() < SECOND);
    assert!(bus.closed_lease.load(SeqCst) && !bus.released.load(SeqCst));
    assert!(!proxy.shared.is_serving() && !system.core().is_serving());
    assert_eq!(proxy.epoch(), token, "it is held");
    let report = shutdown.await.unwrap();
    assert!(report.is_clean());
    assert!(
        !bus.stopped_unleased.load(SeqCst),
        "another system loads state before this one has saved it"
    );
    assert!(bus.released.load(SeqCst) && bus.closed.load(SeqCst));
    assert_eq!(handled(&bus.outcomes()), [1, 2]);
    let took = bus.start.elapsed();
    assert!((20 * SECOND..21 * SECOND).contains(&took), "{took:?}");
    let renewals = bus.renewals.load(SeqCst) - renewals;
    assert!((9..=10).contains(&renewals), "{renewals}");
    assert_eq!(proxy.epoch(), None);
}

#[tokio::test(start_paused = true)]
async fn shutdown_that_is_dropped_or_too_late_releases_the_lease() {
    // The program drops it.
    let (bus, system, _proxy) = Bus::new().serve_slowly([60 * SECOND, SECOND]).await;
    drop(timeout(SECOND, system.shutdown()).await);
    sleep(10 * MS).await;
    assert!(bus.closed_lease.load(SeqCst) && bus.released.load(SeqCst));
    // The reply comes nevertheless, within its time.
    assert!(!bus.closed.load(SeqCst));
    drop(system);

    // Its replies are not sent by its deadline.
    let bus = Bus {
        outage: 3600 * SECOND,
        ..Bus::new()
    };
    let (bus, system, _proxy) = bus.serve_slowly([MS, MS]).await;
    assert!(system.shutdown().timeout(SECOND).await.is_clean());
    assert!(bus.start.elapsed() < 3 * SECOND);
    sleep(10 * MS).await;
    assert!(bus.released.load(SeqCst));

    // The system is dropped.
    let (bus, system, proxy) = Bus::new().serve_slowly([2 * SECOND, MS]).await;
    drop(system);
    assert_eq!(proxy.stopped().await, ProxyEnd::Stopped);
    assert!(bus.start.elapsed() < SECOND);
    proxy.shared.ended.wait().await;
    assert!(bus.released.load(SeqCst) && bus.closed.load(SeqCst));
    assert_eq!(handled(&bus.outcomes()), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn proxy_alone_releases_its_lease_after_the_replies() {
    let (bus, _system, proxy) = Bus::new().serve_slowly([2 * SECOND, MS]).await;
    let mut shutdown = Box::pin(proxy.shutdown());
    assert!(timeout(3 * SECOND, &mut shutdown).await.is_err());
    assert!(bus.closed_lease.load(SeqCst) && !bus.released.load(SeqCst));
    shutdown.await;
    assert!(bus.released.load(SeqCst));
    assert_eq!(handled(&bus.outcomes()), [1, 2]);

    // It waits for them for a limited time, and a call that is dropped changes nothing.
    let (bus, _system, proxy) = Bus::new().serve_slowly([60 * SECOND, MS]).await;
    drop(timeout(MS, proxy.shutdown()).await);
    sleep(DRAIN_TIMEOUT.mul_f64(0.9)).await;
    assert!(bus.closed_lease.load(SeqCst) && !bus.released.load(SeqCst));
    sleep(2 * SECOND).await;
    assert!(bus.released.load(SeqCst) && bus.closed.load(SeqCst));
}

#[tokio::test(start_paused = true)]
async fn lease_that_another_takes_meanwhile_ends_the_requests_that_none_has_begun() {
    let (bus, system, _proxy) = Bus::new().serve_slowly([5 * SECOND, MS]).await;
    let shutdown = tokio::spawn(system.shutdown().into_future());
    sleep(SECOND).await;
    *bus.holder.lock() = Holder::Another(Epoch(9));
    assert!(shutdown.await.unwrap().is_clean());
    let outcomes = bus.outcomes();
    assert_eq!(handled(&outcomes), [1]);
    assert_eq!(outcomes.len(), 2);
    assert!(
        outcomes.contains(&(2, Err(AskError::NoResponder))),
        "{outcomes:?}"
    );
    assert!(!bus.released.load(SeqCst) && bus.closed.load(SeqCst));
}

/// Forwards each message to an actor that is slow.
#[derive(Actor)]
struct Front {
    slow: Recipient<Handle>,
}

#[handlers]
impl Front {
    #[handler]
    async fn handle(&mut self, message: Handle, reply: Reply<()>) {
        self.slow.forward(message, reply).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn request_that_was_forwarded_when_the_lease_is_revoked_has_begun() {
    let (bus, system, proxy) = Bus::new().serve().await;
    let slow = Slow {
        bus: bus.clone(),
        handling: 5 * SECOND,
        stopping: MS,
    };
    let slow = system.spawn(slow).urn("slow").await.unwrap();
    let slow = slow.recipient();
    system.spawn(Front { slow }).urn("missing").await.unwrap();
    for id in [1, 2] {
        bus.push(ask_with(1, id, contents()));
    }
    sleep(10 * MS).await; // the first is handled, and the second waits behind it
    bus.push(ask_to("slow", 1, 3, contents()));
    sleep(10 * MS).await;
    *bus.holder.lock() = Holder::Another(Epoch(9));
    assert_eq!(proxy.stopped().await, ProxyEnd::LeaseLost);
    assert!(proxy.shared.is_revoked());
    sleep(20 * SECOND).await;
    let outcomes = bus.outcomes();
    // A handler had begun both, so that `NoResponder` would be wrong.
    assert_eq!(handled(&outcomes), [1, 2]);
    assert_eq!(outcomes.len(), 3);
    assert!(
        outcomes.contains(&(3, Err(AskError::NoResponder))),
        "{outcomes:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn lease_that_cannot_be_closed_yet_is_held_all_the_same() {
    let bus = Bus {
        deafness: 4 * SECOND,
        ..Bus::new()
    };
    let (bus, system, proxy) = bus.serve_slowly([MS, 12 * SECOND]).await;
    let start = Instant::now();
    let shutdown = tokio::spawn(system.shutdown().timeout(60 * SECOND).into_future());
    assert_eq!(proxy.stopped().await, ProxyEnd::Stopped);
    let took = start.elapsed();
    assert!((SECOND..2 * SECOND).contains(&took), "{took:?}");
    let renewals = bus.renewals.load(SeqCst);
    assert!(shutdown.await.unwrap().is_clean());
    assert!(bus.renewals.load(SeqCst) >= renewals + 4);
    // Requests that no pop has taken are left to the next owner.
    assert!(bus.closed_lease.load(SeqCst) && bus.given_up.load(SeqCst));
    assert!(!bus.released.load(SeqCst));

    // Without a bus it runs out.
    let bus = Bus {
        deafness: 3600 * SECOND,
        ..Bus::new()
    };
    let (bus, system, _proxy) = bus.serve_slowly([MS, 12 * SECOND]).await;
    assert!(system.shutdown().timeout(60 * SECOND).await.is_clean());
    assert!(bus.given_up.load(SeqCst) && bus.closed.load(SeqCst));
}

#[tokio::test(start_paused = true)]
async fn requests_that_come_before_a_late_close_are_handled_and_later_ones_refused() {
    let bus = Bus {
        deafness: 500 * MS,
        ..Bus::new()
    };
    let (bus, system, _proxy) = bus.serve_slowly([MS, MS]).await;
    let shutdown = tokio::spawn(system.shutdown().into_future());
    sleep(100 * MS).await;
    bus.push(ask_with(1, 3, contents()));
    while !bus.closed_lease.load(SeqCst) {
        sleep(MS).await;
    }
    bus.push(ask_with(1, 4, contents()));
    assert!(shutdown.await.unwrap().is_clean());
    let outcomes = bus.outcomes();
    assert_eq!(handled(&outcomes), [1, 2, 3]);
    assert!(outcomes.contains(&(4, Err(AskError::NoResponder))));
    assert!(bus.released.load(SeqCst));
}
