//! Measurements of the cost of inspections: `cargo test --release -- --ignored --nocapture measured`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use conclib::inspect::{ActorsQuery, Inspector, MetricsQuery, Sort, StatusQuery, TreeQuery};
use conclib::prelude::*;
use conclib_tests::SECOND;
use conclib_tests::bus::Bus;
use conclib_tests::messages::Double;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::Inspected;

#[derive(Actor)]
#[actor(urn = "worker", mailbox = 20_000)]
struct Worker;

#[handlers]
impl Worker {
    #[handler]
    fn double(&mut self, message: Double) -> u32 {
        message.n * 2
    }
}

/// Asks per second of 64 callers for a while.
async fn asks_per_second(client: &ProxyClient, duration: Duration) -> u64 {
    let asked = Arc::new(AtomicU64::new(0));
    let is_over = Arc::new(AtomicBool::new(false));
    let mut callers = JoinSet::new();
    for n in 0..64 {
        let (client, asked, is_over) = (client.clone(), asked.clone(), is_over.clone());
        callers.spawn(async move {
            while !is_over.load(Ordering::Relaxed) {
                assert_eq!(client.ask("worker", Double { n }).await, Ok(n * 2));
                asked.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    sleep(duration).await;
    is_over.store(true, Ordering::Relaxed);
    callers.join_all().await;
    asked.load(Ordering::Relaxed) * 1_000 / u64::try_from(duration.as_millis()).unwrap()
}

/// Observers that ask as fast as they are answered, until the set is dropped.
fn observers(inspector: &Inspector, node: &'static str, asked: &Arc<AtomicU64>) -> JoinSet<()> {
    let mut observers = JoinSet::new();
    for number in 0..64 {
        let (inspector, asked) = (inspector.clone(), asked.clone());
        observers.spawn(async move {
            loop {
                let answered = match number % 3 {
                    0 => inspector.ask(node, &StatusQuery::default()).await.is_ok(),
                    1 => inspector.ask(node, &ActorsQuery::new()).await.is_ok(),
                    _ => inspector
                        .ask("main", &MetricsQuery::default())
                        .await
                        .is_ok(),
                };
                asked.fetch_add(u64::from(answered), Ordering::Relaxed);
            }
        });
    }
    observers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn measured_throughput_of_requests_under_observers() {
    let inspected = Inspected::with(Bus::redis().await, |config| config).await;
    inspected.system.spawn(Worker).await.unwrap();
    let client = ProxyClient::connect(&inspected.bus.config).await.unwrap();
    asks_per_second(&client, SECOND).await;
    // The same work beside the requests, and not in their process' pops.
    let (other, config) = (ActorSystem::new(), inspected.bus.config.clone());
    start_proxy(&other, &config.node("other")).await.unwrap();
    for _ in 0..5 {
        let alone = asks_per_second(&client, 2 * SECOND).await;
        print!("{alone} asks/s alone");
        for node in ["other", "main"] {
            let asked = Arc::new(AtomicU64::new(0));
            let observers = observers(&inspected.inspector, node, &asked);
            let under = asks_per_second(&client, 2 * SECOND).await;
            drop(observers);
            let inspections = asked.load(Ordering::Relaxed) / 2;
            let percent = under * 100 / alone.max(1);
            print!("; {under} ({percent} %) under {inspections} inspections/s of `{node}`");
        }
        println!();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn measured_answers_about_many_actors() {
    let inspected = Inspected::with(Bus::memory(), |config| config).await;
    for number in 0..100_000 {
        let name = format!("worker/{number}");
        inspected.system.spawn(Worker).urn(name).await.unwrap();
    }
    let inspector = &inspected.inspector;
    // The longest time for which a task of the runtime had to wait.
    let longest = Arc::new(AtomicU64::new(0));
    let waited = longest.clone();
    let clock = tokio::spawn(async move {
        loop {
            let before = Instant::now();
            sleep(Duration::from_millis(1)).await;
            let late = u64::try_from(before.elapsed().as_micros()).unwrap();
            waited.fetch_max(late, Ordering::Relaxed);
        }
    });
    for round in 0..3 {
        sleep(SECOND).await;
        longest.store(0, Ordering::Relaxed);
        let begun = Instant::now();
        let page = inspector.ask("main", &ActorsQuery::new()).await.unwrap();
        let first = begun.elapsed();
        let begun = Instant::now();
        let query = ActorsQuery::new()
            .sort(Sort::Name)
            .after(page.next.unwrap());
        inspector.ask("main", &query).await.unwrap();
        let second = begun.elapsed();
        let begun = Instant::now();
        inspector.ask("main", &TreeQuery::new()).await.unwrap();
        let tree = begun.elapsed();
        let late = longest.load(Ordering::Relaxed);
        println!(
            "{round}: first page {first:?}, next {second:?}, tree {tree:?}; a timer was {late} us late"
        );
    }
    clock.abort();
}
