//! Turns: the lease is taken, then actors are made, then they are asked.

use std::time::Duration;

use conclib::bus::{Lease, ProxyEnd, acquire_lease};
use conclib::prelude::*;
use conclib::{ConnectError, Proxy};
use conclib_tests::actors::Worker;
use conclib_tests::bus::Bus;
use conclib_tests::messages::Double;
use conclib_tests::relay::Relay;
use conclib_tests::{SECOND, eventually, poll_once, settle, within};
use tokio::time::sleep;

const LEASE: &str = "conclib:{n:main}:lease";

async fn is_served(client: &ProxyClient) -> Result<u32, AskError> {
    client.ask("worker", Double { n: 1 }).await
}

#[tokio::test(start_paused = true)]
async fn actors_are_asked_only_when_the_lease_is_served() {
    let config = Config::memory();
    let client = ProxyClient::connect(&config).await.unwrap();
    let system = ActorSystem::new();
    assert_eq!(system.token(), None);
    let lease = acquire_lease(&system, &config).await.unwrap();
    assert_eq!(system.token(), Some(lease.token()));
    assert_eq!(is_served(&client).await, Err(AskError::NoResponder));
    system.spawn(Worker::default()).await.unwrap();
    // It is renewed for as long as it takes.
    sleep(60 * SECOND).await;
    assert_eq!(is_served(&client).await, Err(AskError::NoResponder));
    let token = lease.token();
    let proxy = lease.serve().await.unwrap();
    assert_eq!(is_served(&client).await, Ok(2));
    assert_eq!(proxy.epoch(), Some(token));
    system.shutdown().await;
    assert_eq!(proxy.epoch(), None);
    assert_eq!(system.token(), Some(token));
}

#[tokio::test(start_paused = true)]
async fn each_lease_of_a_system_has_its_own_token() {
    let (system, config) = (ActorSystem::new(), Config::memory());
    let [one, other] = ["a", "b"].map(|node| config.clone().node(node));
    let first = acquire_lease(&system, &one).await.unwrap();
    sleep(SECOND).await; // tokens are times
    let second = acquire_lease(&system, &other).await.unwrap();
    assert!(first.token() < second.token());
    assert_eq!(system.token(), Some(second.token()));
    let token = first.token();
    assert_eq!(first.serve().await.unwrap().epoch(), Some(token));
}

#[tokio::test(start_paused = true)]
async fn waiting_system_has_its_turn_when_the_other_one_ends() {
    let config = Config::memory();
    let (first, second) = (ActorSystem::new(), ActorSystem::new());
    let proxy = start_proxy(&first, &config).await.unwrap();
    let mut waiting = Box::pin(acquire_lease(&second, &config));
    let timeout = tokio::time::timeout(3600 * SECOND, waiting.as_mut()).await;
    assert!(timeout.is_err(), "it waits for as long as it takes");
    let token = proxy.epoch().unwrap();
    first.shutdown().await;
    let lease = waiting.await.unwrap();
    assert!(lease.token() > token);
}

#[tokio::test(start_paused = true)]
async fn wait_and_lease_that_are_dropped_leave_the_node_free() {
    let config = Config::memory();
    let holder = ActorSystem::new();
    let lease = acquire_lease(&holder, &config).await.unwrap();
    let other = ActorSystem::new();
    let mut waiting = Box::pin(acquire_lease(&other, &config));
    assert!(poll_once(&mut waiting).await.is_pending());
    settle().await;
    drop(waiting);
    drop(lease);
    sleep(SECOND).await; // less than a lease that is not released
    let third = ActorSystem::new();
    let lease = within(acquire_lease(&third, &config)).await.unwrap();
    lease.release().await;
    drop(acquire_lease(&holder, &config).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn system_that_is_shut_down_waits_no_longer() {
    let config = Config::memory();
    let (first, second) = (ActorSystem::new(), ActorSystem::new());
    start_proxy(&first, &config).await.unwrap();
    let waiting = async { acquire_lease(&second, &config).await.err() };
    let stopped = async {
        settle().await;
        second.shutdown().await
    };
    let (error, report) = tokio::join!(waiting, stopped);
    assert_eq!(error, Some(ConnectError::SystemClosed));
    assert!(report.is_clean());
    // The same for a lease that is held.
    first.shutdown().await;
    let third = ActorSystem::new();
    let lease = acquire_lease(&third, &config).await.unwrap();
    third.shutdown().await;
    assert_eq!(lease.lost().await, ProxyEnd::Stopped);
    assert_eq!(lease.serve().await.err(), Some(ConnectError::SystemClosed));
}

/// A lease on a Redis of the test's own.
async fn on_redis() -> (Bus, ActorSystem, Lease) {
    let bus = Bus::redis().await;
    let system = ActorSystem::new();
    let lease = acquire_lease(&system, &bus.config).await.unwrap();
    (bus, system, lease)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn held_lease_that_no_other_system_had_is_taken_again() {
    let (bus, system, lease) = on_redis().await;
    let client = bus.client().await;
    let token = lease.token();
    bus.command(&["DEL", LEASE]).await;
    eventually("there is another token", async || lease.token() > token).await;
    assert_eq!(is_served(&client).await, Err(AskError::NoResponder));
    system.spawn(Worker::default()).await.unwrap();
    let proxy = lease.serve().await.unwrap();
    assert_eq!(is_served(&client).await, Ok(2));
    // Also while it serves; then it serves at once.
    let token = proxy.epoch();
    bus.command(&["DEL", LEASE]).await;
    eventually("it serves again", async || {
        proxy.epoch() > token && is_served(&client).await == Ok(2)
    })
    .await;
    assert!(system.shutdown().await.is_clean());
    assert_eq!(bus.command(&["KEYS", "*inbox*"]).await, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lease_that_another_system_had_is_lost_for_good() {
    let (bus, _system, lease) = on_redis().await;
    let other = ActorSystem::new();
    // Either of the two systems may be first.
    let taken = loop {
        let earlier = lease.token();
        bus.command(&["DEL", LEASE]).await;
        tokio::select! {
            taken = acquire_lease(&other, &bus.config) => break taken,
            () = eventually("it is taken again", async || lease.token() > earlier) => {}
        }
    };
    assert_eq!(within(lease.lost()).await, ProxyEnd::LeaseLost);
    assert_eq!(lease.serve().await.err(), Some(ConnectError::LeaseLost));
    assert!(taken.unwrap().serve().await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn turn_is_awaited_through_outages_from_the_first_connection_on() {
    let bus = Bus::redis().await;
    let relay = Relay::start(bus.address()).await.unwrap();
    relay.refuse(true);
    let config = Config::new(&format!("redis://127.0.0.1:{}", relay.port())).unwrap();
    let (waiting, system) = (ActorSystem::new(), ActorSystem::new());
    let turn = {
        let config = config.clone();
        tokio::spawn(async move { acquire_lease(&waiting, &config).await })
    };
    sleep(Duration::from_millis(300)).await; // it has failed by now
    let holder = start_proxy(&system, &bus.config).await.unwrap();
    relay.refuse(false);
    sleep(Duration::from_millis(300)).await; // it stands by
    relay.refuse(true);
    relay.cut("");
    holder.shutdown().await;
    sleep(Duration::from_millis(300)).await;
    assert!(!turn.is_finished());
    relay.refuse(false);
    assert!(within(turn).await.unwrap().is_ok());
}

/// Counts its ticks, with and without a turn.
#[derive(Actor, Default)]
#[periodic(tick = Always, every = "1s", first = "after")]
#[periodic(tick = Serving, every = "1s", first = "after", while_serving)]
struct Counter {
    ticks: Ticks,
}

#[derive(Serialize, Deserialize, Debug, Clone, Copy, Default, PartialEq)]
struct Ticks {
    always: u32,
    serving: u32,
    timer: u32,
}

#[derive(ActorMessage)]
#[message(local)]
struct Always;

#[derive(ActorMessage)]
#[message(local)]
struct Serving;

#[derive(ActorMessage)]
#[message(local)]
struct TimerFired;

#[derive(ActorMessage)]
#[message(local, response = Ticks)]
struct Count;

#[handlers]
impl Counter {
    fn on_start(&mut self, ctx: &mut Context<Self>) {
        let schedule = Schedule::every(SECOND).first(First::After);
        ctx.every(schedule.while_serving(), || TimerFired);
    }

    #[handler]
    fn always(&mut self, _: Always) {
        self.ticks.always += 1;
    }

    #[handler]
    fn serving(&mut self, _: Serving, ctx: &mut Context<Self>) {
        assert!(ctx.is_serving());
        self.ticks.serving += 1;
    }

    #[handler]
    fn timer(&mut self, _: TimerFired) {
        self.ticks.timer += 1;
    }

    #[handler]
    fn count(&mut self, _: Count) -> Ticks {
        std::mem::take(&mut self.ticks)
    }
}

#[tokio::test(start_paused = true)]
async fn regular_work_pauses_while_the_system_does_not_serve() {
    let config = Config::memory();
    let system = ActorSystem::new();
    let counter = system.spawn(Counter::default()).await.unwrap();
    let expected = |always, serving| Ticks {
        always,
        serving,
        timer: serving,
    };
    let calls = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let ticked = calls.clone();
    let _regular = Ticker::every(SECOND)
        .first(First::After)
        .while_serving(&system)
        .start(move || {
            ticked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            async {}
        });
    let minute = Duration::from_millis(10_500);
    sleep(minute).await;
    assert_eq!(counter.ask(Count).await, Ok(expected(10, 0)));
    let lease = acquire_lease(&system, &config).await.unwrap();
    sleep(10 * SECOND).await;
    assert_eq!(counter.ask(Count).await, Ok(expected(10, 0)));
    let proxy: Proxy = lease.serve().await.unwrap();
    sleep(10 * SECOND).await;
    assert_eq!(counter.ask(Count).await, Ok(expected(10, 10)));
    assert_eq!(calls.load(std::sync::atomic::Ordering::Relaxed), 10);
    proxy.shutdown().await;
    sleep(10 * SECOND).await;
    assert_eq!(counter.ask(Count).await, Ok(expected(10, 0)));
}

#[test]
#[should_panic(expected = "a ticker belongs to no system")]
fn ticker_refuses_a_schedule_that_needs_a_system() {
    drop(Ticker::every(Schedule::every(SECOND).while_serving()));
}
