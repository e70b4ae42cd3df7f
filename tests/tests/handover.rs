//! Handover of a node between actor systems: the next one has its turn when the actors of the stopping
//! one have stopped, as `docs/reliability.md` says.
#![cfg(unix)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use conclib::bus::acquire_lease;
use conclib::prelude::*;
use conclib_tests::bus::Bus;
use conclib_tests::{MS, SECOND, TestResult, eventually, within};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

/// The handler takes this long.
#[derive(ActorMessage, Serialize, Deserialize)]
#[message(response = u32)]
struct Count {
    millis: u64,
}

/// Counts from what the counter before it has saved, and saves its count when it stops.
#[derive(Actor)]
#[actor(urn = "counter")]
struct Counter {
    count: u32,
    database: Arc<AtomicU32>,
    /// The time that saving takes.
    saving: Duration,
}

#[handlers]
impl Counter {
    #[handler]
    async fn count(&mut self, message: Count) -> u32 {
        sleep(Duration::from_millis(message.millis)).await;
        self.count += 1;
        self.count
    }

    async fn on_stop(&mut self, _: &mut Context<Self>) {
        sleep(self.saving).await;
        self.database.store(self.count, SeqCst);
    }
}

/// A process: it waits for its turn, loads its count, and serves.
async fn serve(config: Config, database: Arc<AtomicU32>, saving: Duration) -> ActorSystem {
    let system = ActorSystem::new();
    let lease = acquire_lease(&system, &config).await.unwrap();
    let counter = Counter {
        count: database.load(SeqCst),
        database,
        saving,
    };
    system.spawn(counter).await.unwrap();
    lease.serve().await.unwrap();
    system
}

fn stand_by(
    config: &Config,
    database: &Arc<AtomicU32>,
    saving: Duration,
) -> JoinHandle<ActorSystem> {
    tokio::spawn(serve(config.clone(), database.clone(), saving))
}

/// The number of requests that the counter has, or has handled.
fn taken(system: &ActorSystem) -> u64 {
    let counter = &system.snapshot().actors[0];
    let has_begun = u64::from(counter.running.is_some());
    counter.handled + has_begun + u64::try_from(counter.queued).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn next_system_loads_what_the_stopping_one_has_saved() -> TestResult {
    let bus = Bus::redis().await;
    let client = bus.client().await;
    let database = Arc::default();
    let first = within(stand_by(&bus.config, &database, SECOND)).await?;
    let next = stand_by(&bus.config, &database, SECOND);
    let count = |millis| client.ask("counter", Count { millis });
    let queued: Vec<_> = (0..5).map(|_| tokio::spawn(count(300))).collect();
    eventually("they are taken", async || taken(&first) == 5).await;

    let stopping = tokio::spawn(async move { first.shutdown().await });
    eventually("clients know", async || {
        client.responder().await == Err(AskError::NoResponder)
    })
    .await;
    let start = Instant::now();
    assert_eq!(count(0).await, Err(AskError::NoResponder));
    assert!(start.elapsed() < SECOND);
    let repeated: Vec<_> = (0..5).map(|_| tokio::spawn(count(0).retry())).collect();
    let mut counts = Vec::new();
    for ask in queued {
        counts.push(within(ask).await??);
    }
    counts.sort_unstable();
    assert_eq!(counts, [1, 2, 3, 4, 5]);
    assert!(!next.is_finished(), "the first one still saves");
    assert!(within(stopping).await?.is_clean());

    // The next one counts on from there.
    let next = within(next).await?;
    let mut counts = Vec::new();
    for ask in repeated {
        counts.push(within(ask).await??);
    }
    counts.sort_unstable();
    assert_eq!(counts, [6, 7, 8, 9, 10]);
    assert!(next.shutdown().await.is_clean());
    assert_eq!(database.load(SeqCst), 10);
    assert_eq!(bus.command(&["KEYS", "*inbox*"]).await, "");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_that_is_cut_releases_the_lease() -> TestResult {
    let bus = Bus::redis().await;
    let database = Arc::default();
    // Less than the 6 s of a lease that is not released.
    let soon = 4 * SECOND;
    let first = within(stand_by(&bus.config, &database, MS)).await?;
    let client = bus.client().await;
    let asked = tokio::spawn(client.ask("counter", Count { millis: 1_500 }));
    eventually("it is taken", async || taken(&first) == 1).await;
    drop(timeout(200 * MS, first.shutdown()).await);
    let next = timeout(soon, stand_by(&bus.config, &database, 3600 * SECOND)).await??;
    assert_eq!(within(asked).await?, Ok(1), "its reply comes all the same");

    // An actor that does not stop is killed at the deadline.
    let report = next.shutdown().timeout(500 * MS).await;
    assert_eq!(report.killed, ["counter"]);
    drop(timeout(soon, stand_by(&bus.config, &database, MS)).await??);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn next_system_has_its_turn_after_at_most_the_time_of_a_shutdown() -> TestResult {
    let config = Config::memory().timeout(100 * SECOND);
    let database = Arc::default();
    let client = ProxyClient::connect(&config).await?;
    let first = stand_by(&config, &database, MS).await?;
    let short = tokio::spawn(client.ask("counter", Count { millis: 5_000 }).into_future());
    let long = tokio::spawn(
        client
            .ask("counter", Count { millis: 60_000 })
            .into_future(),
    );
    sleep(SECOND).await;

    let start = Instant::now();
    let stopping = tokio::spawn(async move { first.shutdown().await });
    let next = stand_by(&config, &database, MS);
    assert_eq!(short.await?, Ok(1));
    assert_eq!(
        client.ask("counter", Count { millis: 0 }).await,
        Err(AskError::NoResponder)
    );
    assert!(!next.is_finished());
    // Handlers that do not end within 10 s are killed.
    let report = stopping.await?;
    assert_eq!(report.killed, ["counter"]);
    assert_eq!(long.await?, Err(AskError::ActorStopped));
    let _next = next.await?;
    let took = start.elapsed();
    assert!((10 * SECOND..12 * SECOND).contains(&took), "{took:?}");
    assert_eq!(client.ask("counter", Count { millis: 0 }).await, Ok(1));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn service_that_cannot_start_holds_its_lease_until_its_actors_have_stopped() -> TestResult {
    let config = Config::memory();
    let database = Arc::new(AtomicU32::new(7));
    let failing = run(&config, |system| {
        let (count, database) = (8, database.clone());
        let saving = 5 * SECOND;
        async move {
            let counter = Counter {
                count,
                database,
                saving,
            };
            system.spawn(counter).await?;
            sleep(SECOND).await;
            Err(Failure::msg("there is no disk"))
        }
    });
    let next = async {
        sleep(SECOND / 2).await;
        serve(config.clone(), database.clone(), MS).await
    };
    let (end, _next) = tokio::join!(failing, next);
    assert_eq!(end.exit_code(), 1);
    let client = ProxyClient::connect(&config).await?;
    assert_eq!(client.ask("counter", Count { millis: 0 }).await, Ok(9));
    Ok(())
}
