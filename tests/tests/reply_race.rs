//! Answers that come at once: a client is subscribed before it sends.
#![cfg(unix)]

use std::time::Duration;

use conclib::{ActorSystem, Config, ProxyClient};
use conclib_tests::ASK_TIMEOUT;
use conclib_tests::actors::Worker;
use conclib_tests::bus::Bus;
use conclib_tests::messages::Double;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::timeout;

const CLIENTS: u32 = 400;
const ASKS: u32 = 50;

/// Ten times its duration on an idle machine.
const BOUND: Duration = Duration::from_secs(200);

/// The number of concurrent clients.
const TASKS: u32 = 4;

#[test]
fn no_answer_is_lost_in_memory() {
    all_are_answered(async || Bus::memory());
}

#[test]
fn no_answer_is_lost_on_redis() {
    all_are_answered(Bus::redis);
}

fn all_are_answered(bus: impl AsyncFnOnce() -> Bus) {
    // Each client has its own runtime, as in its own process.
    let (actors, clients) = (Runtime::new().unwrap(), Runtime::new().unwrap());
    let bus = actors.block_on(bus());
    let system = actors.block_on(serve(&bus));
    let answered = clients.block_on(async { timeout(BOUND, ask_all(&bus.config)).await });
    assert_eq!(answered.expect("in time"), CLIENTS * ASKS);
    assert!(
        actors
            .block_on(async { system.shutdown().await })
            .is_clean()
    );
}

/// Each client asks right after it has connected, one ask after another.
async fn ask_all(config: &Config) -> u32 {
    let mut tasks = JoinSet::new();
    for _ in 0..TASKS {
        let config = config.clone().timeout(ASK_TIMEOUT);
        tasks.spawn(async move {
            let mut answered = 0;
            for _ in 0..CLIENTS / TASKS {
                let client = ProxyClient::connect(&config).await.unwrap();
                for n in 0..ASKS {
                    assert_eq!(client.ask("worker", Double { n }).await, Ok(n * 2));
                    answered += 1;
                }
            }
            answered
        });
    }
    tasks.join_all().await.into_iter().sum()
}

async fn serve(bus: &Bus) -> ActorSystem {
    let (system, _) = bus.system().await;
    system.spawn(Worker::default()).await.unwrap();
    system
}
