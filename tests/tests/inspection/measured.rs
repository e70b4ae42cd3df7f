//! Measurements of the cost of inspections: `cargo test --release -- --ignored --nocapture measured`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use conclib::inspect::{ActorsQuery, Sort, TreeQuery};
use conclib::prelude::*;
use conclib_tests::SECOND;
use conclib_tests::bus::Bus;
use conclib_tests::messages::Double;
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
