//! Outages of the bus.

use std::time::Duration;

use conclib::bus::ConnectionState;
use conclib::error::Delivered;
use conclib::test::Faults;
use conclib::{AskError, Config};
use conclib_tests::durable::{Order, Wait};
use conclib_tests::{Log, SECOND, eventually};
use tokio::time::{Instant, sleep};

use crate::{Server, VISIBILITY, connect};

fn faulty() -> (Config, Faults) {
    let faults = Faults::seeded(3);
    let config = Config::memory().faults(faults.clone());
    (config.visibility_timeout(VISIBILITY), faults)
}

/// Waits until a handler of the server has started.
async fn begins(server: &Server) {
    eventually("a handler begins", async || server.watch.entered() > 0).await;
}

#[tokio::test(start_paused = true)]
async fn tell_is_stored_as_soon_as_it_can_be() {
    let (config, faults) = faulty();
    let client = connect(&config).await;
    faults.cut();
    let told = (0..300).map(|n| client.tell("shop", Order { n }));
    let told = tokio::spawn(futures_util::future::join_all(told));
    sleep(2 * SECOND).await;
    assert!(!told.is_finished());
    faults.calm();
    assert!(told.await.unwrap().iter().all(Result::is_ok));
    let log = Log::default();
    let server = Server::start(&config, &log).await;
    while log.count() < 300 {
        sleep(SECOND / 100).await;
    }
    let expected: Vec<_> = (0..300).map(|n| n.to_string()).collect();
    assert_eq!(log.entries(), expected);
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn outage_is_told_by_the_deadline() {
    let (config, faults) = faulty();
    let client = connect(&config).await;
    faults.cut();
    for timeout in [SECOND / 50, SECOND / 2, 3 * SECOND] {
        let start = Instant::now();
        let told = client.tell("shop", Order { n: 1 }).timeout(timeout).await;
        let reason = told.unwrap_err();
        assert!(matches!(reason, AskError::Unavailable { .. }), "{reason:?}");
        assert!(reason.is_retryable());
        // It waits as long as another attempt fits in; attempts are at most a second apart.
        assert!(start.elapsed() <= timeout && start.elapsed() + SECOND >= timeout);
    }
    let asked = client.ask("shop", Order { n: 1 }).timeout(SECOND).await;
    assert!(
        matches!(asked, Err(AskError::Unavailable { .. })),
        "{asked:?}"
    );
    assert_eq!(client.in_flight(), 0);
    let none = client.tell("shop", Order { n: 1 }).timeout(Duration::ZERO);
    let delivered = Delivered::No;
    let none = none.await.unwrap_err();
    assert_eq!(none, AskError::Timeout { delivered });
}

#[tokio::test(start_paused = true)]
async fn client_is_shut_down_while_it_tries() {
    let (config, faults) = faulty();
    let client = connect(&config).await;
    faults.cut();
    let told = tokio::spawn(client.tell("shop", Order { n: 1 }));
    sleep(SECOND / 10).await;
    client.shutdown().await;
    assert_eq!(told.await.unwrap().unwrap_err(), AskError::Closed);
    let later = client.tell("shop", Order { n: 2 }).await.unwrap_err();
    assert_eq!(later, AskError::Closed);
}

#[tokio::test(start_paused = true)]
async fn message_handled_in_an_outage_is_not_handled_again() {
    let (config, faults) = faulty();
    let log = Log::default();
    let server = Server::start(&config, &log).await;
    let client = connect(&config).await;
    let ask = tokio::spawn(client.ask("shop", Wait { n: 1 }).timeout(60 * SECOND));
    begins(&server).await;
    client.tell("shop", Wait { n: 2 }).await.unwrap();
    sleep(SECOND / 10).await;
    // Shorter than the lease, and far longer than the visibility time.
    faults.cut();
    server.watch.admit(2);
    sleep(3 * SECOND).await;
    assert_eq!(log.count(), 2);
    faults.calm();
    assert_eq!(ask.await.unwrap(), Ok(1));
    sleep(10 * SECOND).await;
    assert_eq!(log.entries(), ["waits 1", "waits 2"]);
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn proxy_keeps_its_messages_under_its_next_lease() {
    let (config, faults) = faulty();
    let log = Log::default();
    let server = Server::start(&config, &log).await;
    let client = connect(&config).await;
    for n in 0..20 {
        client.tell("shop", Wait { n }).await.unwrap();
    }
    begins(&server).await;
    let mut state = server.proxy.connection_state();
    faults.cut();
    drop(state.wait_for(|state| !state.is_connected()).await);
    faults.calm();
    drop(state.wait_for(ConnectionState::is_connected).await);
    server.watch.admit(100);
    while log.count() < 20 {
        sleep(SECOND / 100).await;
    }
    sleep(60 * SECOND).await; // no message is delivered again
    let expected: Vec<_> = (0..20).map(|n| format!("waits {n}")).collect();
    let mut handled = log.entries();
    handled.sort_by_key(|entry| expected.iter().position(|e| e == entry));
    assert_eq!(handled, expected);
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn answer_counts_before_the_bus_has_stored_it() {
    for outage in 10..40 {
        let (config, faults) = faulty();
        let log = Log::default();
        let server = Server::start(&config, &log).await;
        let client = connect(&config).await;
        let ask = || client.ask("shop", Wait { n: 1 }).idempotency_key("k");
        let first = tokio::spawn(ask().timeout(60 * SECOND));
        begins(&server).await;
        faults.cut();
        server.watch.admit(9);
        sleep(outage * SECOND / 10).await;
        faults.calm();
        assert_eq!(ask().timeout(60 * SECOND).await, Ok(1));
        assert_eq!(first.await.unwrap(), Ok(1));
        assert_eq!(log.count(), 1);
        server.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn repetition_waits_for_the_former_lease_holder() {
    let (_, faults) = faulty();
    let config = Config::memory().visibility_timeout(60 * SECOND);
    let cut_off = config.clone().faults(faults.clone());
    let logs = [Log::default(), Log::default()];
    let first = Server::start(&cut_off, &logs[0]).await;
    let client = connect(&config).await;
    let ask = || {
        let ask = client.ask("shop", Wait { n: 1 }).idempotency_key("k");
        ask.timeout(50 * SECOND)
    };
    let asked = tokio::spawn(ask());
    begins(&first).await;
    faults.cut();
    let next = Server::start(&config, &logs[1]).await;
    let again = tokio::spawn(ask());
    assert_eq!(client.ask("shop", Order { n: 2 }).await, Ok(2));
    sleep(10 * SECOND).await;
    assert_eq!(logs[1].entries(), ["2"]);
    faults.calm();
    first.watch.admit(1);
    assert_eq!(again.await.unwrap(), Ok(1));
    assert_eq!(asked.await.unwrap(), Ok(1));
    assert_eq!(logs[1].entries(), ["2"]);
    first.stop().await;
    next.stop().await;
}

#[tokio::test(start_paused = true)]
async fn repetition_does_not_wait_for_a_dead_consumer() {
    let (_, faults) = faulty();
    let config = Config::memory().visibility_timeout(20 * SECOND);
    let cut_off = config.clone().faults(faults.clone());
    let logs = [Log::default(), Log::default()];
    let first = Server::start(&cut_off, &logs[0]).await;
    let client = connect(&config).await;
    let ask = || {
        let ask = client.ask("shop", Wait { n: 1 }).idempotency_key("k");
        ask.timeout(90 * SECOND)
    };
    let asked = tokio::spawn(ask());
    begins(&first).await;
    let start = Instant::now();
    faults.cut(); // for ever
    let next = Server::start(&config, &logs[1]).await;
    let again = tokio::spawn(ask());
    begins(&next).await;
    // The visibility time after the last heartbeat; the interval of heartbeats is a third of it.
    let took = start.elapsed();
    assert!(took > 13 * SECOND && took < 28 * SECOND, "{took:?}");
    next.watch.admit(1);
    assert_eq!(again.await.unwrap(), Ok(1));
    assert_eq!(asked.await.unwrap(), Ok(1));
    assert_eq!(logs[1].entries(), ["waits 1"]);
    next.stop().await;
}

#[tokio::test(start_paused = true)]
async fn lost_answers_are_asked_for_again_and_messages_handled_once() {
    let config = Config::memory().faults(Faults::seeded(3).lose(0.5));
    let client = connect(&config).await;
    let log = Log::default();
    let server = Server::start(&config, &log).await;
    // No connection is lost, and no process: only time shows that an answer is.
    let ask = |n| client.ask("shop", Order { n }).timeout(3600 * SECOND);
    let asks = (0..50).map(|n| ask(n).retry());
    let answers = futures_util::future::join_all(asks).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    let mut handled = log.entries();
    assert_eq!(handled.len(), 50);
    handled.sort_unstable();
    handled.dedup();
    assert_eq!(handled.len(), 50);
    let once = futures_util::future::join_all((50..100).map(ask)).await;
    let delivered = Delivered::Stored;
    assert!(once.contains(&Err(AskError::Timeout { delivered })));
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn repetition_that_is_not_stored_hides_no_earlier_request() {
    let (config, faults) = faulty();
    let client = connect(&config).await;
    let ask = client.ask("shop", Order { n: 1 }).timeout(10 * SECOND);
    let asked = tokio::spawn(ask.retry().into_future());
    sleep(2 * SECOND).await;
    faults.cut();
    let delivered = Delivered::Stored;
    assert_eq!(asked.await.unwrap(), Err(AskError::Timeout { delivered }));
}
