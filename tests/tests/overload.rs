//! Overload: more requests than the actors can handle.

use std::time::Duration;

use conclib::prelude::*;
use conclib::start_proxy;
use conclib_tests::bus::Bus;
use conclib_tests::messages::{Double, Enter};
use conclib_tests::process::{Program, memory};
use conclib_tests::{MS, within};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep};

/// The length of the overload: 2 s, or `CONCLIB_OVERLOAD_SECONDS`.
fn length() -> Duration {
    let seconds = std::env::var("CONCLIB_OVERLOAD_SECONDS");
    let seconds = seconds.ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(2))
}

/// Takes a few milliseconds for each message: about 400 in a second.
#[derive(Actor)]
#[actor(urn = "slow", mailbox = 50)]
struct Slow;

#[handlers]
impl Slow {
    #[handler]
    async fn pass(&mut self, message: Enter) -> u32 {
        sleep(MS).await;
        message.n
    }
}

#[derive(Default)]
struct Tally {
    /// Latencies of answers.
    answered: Vec<Duration>,
    refused: usize,
    /// `retry_after` of refusals.
    longest_hint: Duration,
}

impl Tally {
    fn add(&mut self, took: Duration, ask: Result<u32, AskError>) {
        match ask {
            Ok(_) => self.answered.push(took),
            Err(AskError::Overloaded { retry_after }) => {
                assert!(!retry_after.is_zero());
                self.refused += 1;
                self.longest_hint = self.longest_hint.max(retry_after);
            }
            Err(error) => panic!("{error:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenfold_load_does_not_slow_accepted_requests() {
    let bus = Bus::redis().await;
    let (system, _proxy) = bus.system().await;
    system.spawn(Slow).await.unwrap();
    let client = bus.client().await;
    let (mut asks, mut tally) = (JoinSet::new(), Tally::default());
    let start = Instant::now();
    let mut beat = interval(5 * MS);
    let mut warm = None;
    while start.elapsed() < length() {
        beat.tick().await;
        for n in 0..20 {
            let ask = client.ask("slow", Enter { n });
            asks.spawn(async move {
                let start = Instant::now();
                let asked = ask.await;
                (start.elapsed(), asked)
            });
        }
        while let Some(asked) = asks.try_join_next() {
            let (took, asked) = asked.unwrap();
            tally.add(took, asked);
        }
        if start.elapsed() > length() / 2 && warm.is_none() {
            warm = Some(memory());
        }
    }
    let grown = memory().saturating_sub(warm.unwrap_or(0));
    while let Some(asked) = asks.join_next().await {
        let (took, asked) = asked.unwrap();
        tally.add(took, asked);
    }
    // Without the load there is room at once.
    let recovery = Instant::now();
    assert_eq!(client.ask("slow", Enter { n: 7 }).await, Ok(7));
    let recovery = recovery.elapsed();

    tally.answered.sort_unstable();
    let count = tally.answered.len();
    let p99 = tally.answered[count * 99 / 100];
    println!(
        "{count} answered, p99 {p99:?}; {} refused, the longest hint {:?}; \
         memory grew by {grown} KiB; after it an ask took {recovery:?}",
        tally.refused, tally.longest_hint,
    );
    assert!(tally.refused > 2 * count, "it was not too much");
    assert!(p99 < 2 * Duration::from_secs(1), "{p99:?}");
    assert!(grown < 32 * 1024, "{grown} KiB");
    assert!(recovery < Duration::from_secs(1), "{recovery:?}");
    assert_eq!(client.in_flight(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inbox_that_is_never_emptied_is_bounded() {
    let bus = Bus::redis().await;
    let url = bus.url();
    let mut actors = Program::start(env!("CARGO_BIN_EXE_actor_process"), &[&url]);
    actors.line("ready").await;
    let client = bus.client().await;
    assert_eq!(client.ask("worker", Double { n: 1 }).await, Ok(2));
    actors.suspend().await;
    let fill = async {
        let mut accepted = 0;
        loop {
            let tells = (0..2_000).map(|n| client.tell("worker", Double { n }).into_future());
            for told in futures_util::future::join_all(tells).await {
                match told {
                    Ok(()) => accepted += 1,
                    Err(AskError::Overloaded { retry_after }) => return (accepted, retry_after),
                    Err(error) => panic!("after {accepted}: {error:?}"),
                }
            }
        }
    };
    let (accepted, retry_after) = within(fill).await;
    assert!((60_000..70_000).contains(&accepted), "{accepted}");
    assert!(retry_after <= 100 * MS, "{retry_after:?}");
    actors.signal("CONT").await;
    conclib_tests::eventually("there is room again", async || {
        client.ask("worker", Double { n: 1 }).await == Ok(2)
    })
    .await;
    actors.signal("TERM").await;
    assert!(actors.ended().await);
    // No request is left for the next system.
    let system = ActorSystem::new();
    start_proxy(&system, &bus.config).await.unwrap();
    assert!(system.shutdown().await.is_clean());
}
