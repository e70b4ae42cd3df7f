//! Actor processes that end while they handle messages.

use std::future::IntoFuture;
use std::time::Duration;

use conclib::ProxyClient;
use conclib::durable::DeadLetters;
use conclib_tests::bus::Bus;
use conclib_tests::durable::{Order, Poison, Wait};
use conclib_tests::process::Program;
use conclib_tests::{eventually, within};
use fred::types::Value;
use tokio::time::Instant;

use crate::connect;
use crate::redis::{Peer, STREAM};

async fn shop(url: &str, visibility: &str) -> Program {
    let program = env!("CARGO_BIN_EXE_durable_process");
    let mut shop = Program::start(program, &[url, visibility]);
    shop.line("ready").await;
    shop
}

/// Starts a process of the instance `shop-0`, with an hour of visibility time.
async fn instance(url: &str) -> Program {
    let program = env!("CARGO_BIN_EXE_durable_process");
    let mut shop = Program::start(program, &[url, "3600000", "instance=shop-0"]);
    shop.line("ready").await;
    shop
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_a_killed_instance_are_delivered_at_once_to_its_successor() {
    let (bus, url, client) = stage().await;
    let mut first = instance(&url).await;
    client.tell("shop", Wait { n: 1 }).await.unwrap();
    client.tell("shop", Order { n: 2 }).await.unwrap();
    assert_eq!(first.line("shop").await, "waits 1");
    for _ in 0..4 {
        first.kill().await;
        first = instance(&url).await;
        assert_eq!(first.line("shop").await, "waits 1");
    }
    first.kill().await;
    // Ends of processes are counted, also among processes of one instance.
    let mut last = instance(&url).await;
    assert_eq!(last.line("shop").await, "2");
    let dead = DeadLetters::connect(&bus.config).await.unwrap();
    eventually("it is dead", async || dead.list().await.unwrap().len() == 1).await;
    last.signal("TERM").await;
    assert!(last.ended().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn displaced_instance_delivers_no_more_messages() {
    let (_bus, url, client) = stage().await;
    let mut first = instance(&url).await;
    assert_eq!(client.ask("shop", Order { n: 1 }).await, Ok(1));
    first.suspend().await;
    let mut second = instance(&url).await;
    first.signal("CONT").await;
    let asks = (2..=300).map(|n| client.ask("shop", Order { n }).into_future());
    let sums = within(futures_util::future::join_all(asks)).await;
    assert!(sums.iter().all(Result::is_ok), "{sums:?}");
    let mut handled = Vec::new();
    while handled.len() < 299 {
        handled.push(second.line("shop").await);
    }
    handled.sort_unstable();
    handled.dedup();
    assert_eq!(handled.len(), 299, "each by the second process, once");
    assert_eq!(handled_until_the_end(&mut first).await, ["1"]);
}

/// Stops a process, and returns the messages that it has printed since the last look.
async fn handled_until_the_end(process: &mut Program) -> Vec<String> {
    process.signal("TERM").await;
    let mut handled = Vec::new();
    let until_it_ends = async {
        // Of `shop …` and `stopped …`.
        while let Some(entry) = process.line("s").await.strip_prefix("hop ") {
            handled.push(entry.to_owned());
        }
    };
    within(until_it_ends).await;
    handled
}

async fn stage() -> (Bus, String, ProxyClient) {
    let bus = Bus::redis().await;
    let url = bus.url();
    let client = connect(&bus.config).await;
    (bus, url, client)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_a_killed_process_are_delivered_again() {
    let (_bus, url, client) = stage().await;
    let mut first = shop(&url, "300").await;
    client.tell("shop", Wait { n: 1 }).await.unwrap();
    let ask = tokio::spawn(client.ask("shop", Order { n: 2 }));
    assert_eq!(first.line("shop").await, "waits 1");
    first.kill().await;
    // Told while no system serves.
    client.tell("shop", Order { n: 3 }).await.unwrap();
    let mut second = shop(&url, "300").await;
    let mut handled = vec![second.line("shop").await];
    // The shop is never admitted: a third process handles the messages behind it.
    assert_eq!(handled.pop().unwrap(), "waits 1");
    second.kill().await;
    let mut third = shop(&url, "300").await;
    assert_eq!(third.line("shop").await, "waits 1");
    assert!(!ask.is_finished());
    third.kill().await;
    drop(ask);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn message_that_always_kills_its_process_becomes_a_dead_letter() {
    let (bus, url, client) = stage().await;
    client.tell("shop", Wait { n: 1 }).await.unwrap();
    // It waits behind the other one, and its handler never started.
    client.tell("shop", Order { n: 2 }).await.unwrap();
    for _ in 0..5 {
        let mut process = shop(&url, "300").await;
        assert_eq!(process.line("shop").await, "waits 1");
        process.kill().await;
    }
    let mut last = shop(&url, "300").await;
    assert_eq!(last.line("shop").await, "2");
    let dead = DeadLetters::connect(&bus.config).await.unwrap();
    eventually("it is dead", async || {
        let letters = dead.list().await.unwrap();
        letters.len() == 1
    })
    .await;
    let letter = dead.list().await.unwrap().remove(0);
    assert_eq!((&*letter.message, letter.deliveries), ("Wait", 5));
    assert_eq!(
        letter.reason,
        "its process ended 5 times before it was handled"
    );
    last.signal("TERM").await;
    assert!(last.ended().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn successor_of_a_stopped_process_continues() {
    let (_bus, url, client) = stage().await;
    // So long that no message is taken over in time unless it was given back.
    let mut first = shop(&url, "3600000").await;
    let count = 2_000;
    let tells = (1..=count).map(|n| client.tell("shop", Order { n }));
    let told = tokio::spawn(futures_util::future::join_all(tells));
    let mut handled = vec![first.line("shop").await];
    handled.extend(handled_until_the_end(&mut first).await);
    assert!(first.ended().await);
    assert!(told.await.unwrap().iter().all(Result::is_ok));
    let start = Instant::now();
    let mut second = shop(&url, "3600000").await;
    // The last few may not have been printed.
    let last = count.to_string();
    let mut seen = handled.contains(&last);
    while !seen {
        seen = second.line("shop").await == last;
    }
    assert!(start.elapsed() < Duration::from_secs(30));
    second.signal("TERM").await;
    assert!(second.ended().await);
    // All stored messages are handled.
    let sum = shop_sum(&url, &client).await;
    assert!(sum.is_ok());
}

/// Asks another shop, to check that no message is left before it.
async fn shop_sum(url: &str, client: &ProxyClient) -> Result<u32, conclib::AskError> {
    let mut process = shop(url, "3600000").await;
    let sum = client.ask("shop", Order { n: 1 }).await;
    process.signal("TERM").await;
    assert!(process.ended().await);
    sum
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn message_of_a_stopping_process_is_delivered_again_after_its_end() {
    let (_bus, url, client) = stage().await;
    let mut first = shop(&url, "300").await;
    let ask = || client.ask("shop", Wait { n: 1 }).idempotency_key("k");
    let asked = tokio::spawn(ask().into_future());
    assert_eq!(first.line("shop").await, "waits 1");
    first.signal("TERM").await;
    let start = Instant::now();
    let again = tokio::spawn(ask().into_future());
    // The first is never admitted: it gives up after a while, and then the other has its turn.
    let mut second = shop(&url, "300").await;
    assert!(start.elapsed() > Duration::from_secs(5));
    assert_eq!(second.line("shop").await, "waits 1");
    within(first.ended()).await;
    assert!(!asked.is_finished() && !again.is_finished());
    second.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn process_is_killed_amid_a_retry_pause() {
    let (bus, url, client) = stage().await;
    // The pause is 5 s, of which up to one half is taken off.
    let mut first = shop(&url, "300").await;
    client.tell("shop", Poison).await.unwrap();
    assert_eq!(first.line("shop").await, "poison");
    eventually("the failure is counted", async || {
        attempts(&bus).await == [1_000_001]
    })
    .await;
    first.kill().await;
    let mut second = shop(&url, "300").await;
    assert_eq!(second.line("shop").await, "poison");
    eventually("it counts on", async || attempts(&bus).await == [2_000_002]).await;
    second.kill().await;
}

/// The numbers that Redis keeps for the claimed entries.
async fn attempts(bus: &Bus) -> Vec<u64> {
    let peer = Peer::connect(&bus.config).await;
    let words = ["XPENDING", STREAM, "conclib", "-", "+", "9"];
    let pending = peer.command(&words).await.into_array();
    let count = |entry: Value| entry.into_array().pop().and_then(|count| count.as_u64());
    pending.into_iter().filter_map(count).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn process_is_killed_amid_a_delay() {
    let (_bus, url, client) = stage().await;
    let mut first = shop(&url, "300").await;
    let start = Instant::now();
    let delay = Duration::from_secs(8); // longer than the lease
    client
        .tell("shop", Order { n: 1 })
        .after(delay)
        .await
        .unwrap();
    client.ask("shop", Order { n: 2 }).await.unwrap(); // acknowledged by now
    assert_eq!(first.line("shop").await, "2");
    first.kill().await;
    // This one is not read before the next process serves.
    client
        .tell("shop", Order { n: 3 })
        .after(delay)
        .await
        .unwrap();
    let mut second = shop(&url, "300").await;
    assert_eq!(second.line("shop").await, "1");
    let elapsed = start.elapsed();
    assert!(elapsed + Duration::from_millis(50) >= delay, "{elapsed:?}");
    assert_eq!(second.line("shop").await, "3");
    second.signal("TERM").await;
    assert!(second.ended().await);
}
