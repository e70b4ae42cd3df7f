//! An answer may come at once: a client is subscribed before it sends.
#![cfg(unix)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use conclib::{ActorSystem, Config, ProxyClient, start_proxy};
use conclib_tests::actors::Worker;
use conclib_tests::bus::{Bus, PATIENCE};
use conclib_tests::messages::Double;
use tokio::task::JoinSet;
use tokio::time::timeout;

const CLIENTS: u32 = 400;
const ASKS: u32 = 50;

/// It takes 20 s on a machine that has nothing else to do.
const BOUND: Duration = Duration::from_secs(200);

/// How many clients there are at a time.
const TASKS: u32 = 16;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_is_lost_in_memory() {
    all_are_answered(&Config::memory()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_is_lost_on_redis() {
    let bus = Bus::redis().await;
    all_are_answered(&bus.config).await;
}

/// Each client asks right after it has connected, and then one ask after another.
async fn all_are_answered(config: &Config) {
    std::thread::spawn(|| {
        loop {
            let t = std::time::Instant::now();
            std::thread::sleep(Duration::from_millis(100));
            let e = t.elapsed();
            if e > Duration::from_millis(600) {
                eprintln!("STALL {e:?}");
            }
        }
    });
    let _ = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::INFO)
        .try_init();
    let config = config.clone().timeout(PATIENCE);
    let system = ActorSystem::new();
    start_proxy(&system, &config).await.unwrap();
    system.spawn(Worker::default()).await.unwrap();
    let answered = Arc::new(AtomicU32::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..TASKS {
        let (config, answered) = (config.clone(), answered.clone());
        tasks.spawn(async move {
            for _ in 0..CLIENTS / TASKS {
                let client = ProxyClient::connect(&config).await.unwrap();
                for n in 0..ASKS {
                    assert_eq!(client.ask("worker", Double { n }).await, Ok(n * 2));
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
    }
    timeout(BOUND, tasks.join_all()).await.expect("in time");
    assert_eq!(answered.load(Ordering::Relaxed), CLIENTS * ASKS);
}
