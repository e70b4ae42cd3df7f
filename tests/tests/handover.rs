//! Handover of a node between actor systems: a stopping system handles its requests for as long
//! as README and `docs/reliability.md` say.

use conclib::prelude::*;
use conclib_tests::{SECOND, TestResult};
use tokio::time::{Instant, sleep, timeout};

/// The handler takes this many seconds.
#[derive(ActorMessage, Serialize, Deserialize)]
#[message(response = u32)]
struct Work {
    seconds: u32,
}

#[derive(Actor)]
#[actor(urn = "worker")]
struct SlowWorker {
    number: u32,
}

#[handlers]
impl SlowWorker {
    #[handler]
    async fn work(&mut self, work: Work) -> u32 {
        sleep(work.seconds * SECOND).await;
        self.number
    }
}

async fn serve(config: &Config, number: u32) -> Result<ActorSystem, Box<dyn std::error::Error>> {
    let system = ActorSystem::new();
    system.spawn(SlowWorker { number }).await?;
    start_proxy(&system, config).await?;
    Ok(system)
}

#[tokio::test(start_paused = true)]
async fn stopping_system_handles_beside_its_successor_for_at_most_ten_seconds() -> TestResult {
    let config = Config::memory().timeout(100 * SECOND);
    let client = ProxyClient::connect(&config).await?;
    let first = serve(&config, 1).await?;
    let short = tokio::spawn(client.ask("worker", Work { seconds: 5 }).into_future());
    let long = tokio::spawn(client.ask("worker", Work { seconds: 60 }).into_future());
    sleep(SECOND).await;

    let start = Instant::now();
    let stopping = tokio::spawn(async move { first.shutdown().await });
    let _next = timeout(SECOND, serve(&config, 2)).await??;
    assert_eq!(client.ask("worker", Work { seconds: 0 }).await, Ok(2));
    // The handler of the first system continues meanwhile, and its answer arrives.
    assert!(!short.is_finished());
    assert_eq!(short.await?, Ok(1));
    // Handlers that do not end within 10 s are killed.
    let report = stopping.await?;
    assert_eq!(report.killed, ["worker"]);
    assert!(start.elapsed() <= 11 * SECOND, "{:?}", start.elapsed());
    assert_eq!(long.await?, Err(AskError::ActorStopped));
    Ok(())
}
