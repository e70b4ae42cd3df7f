//! Everything that can happen to the bus, at random, while several processes ask over it.
//!
//! ```text
//! CONCLIB_CHAOS_SECONDS=120 CONCLIB_CHAOS_SEED=7 \
//!     cargo test -p conclib-tests --all-features --test chaos -- --nocapture
//! ```
//!
//! `CONCLIB_CHAOS_ONLY=AllFlushed,ActorsStopped` leaves out all other kinds.

mod faults;
mod redis;
mod stage;
mod summary;
mod verdict;

use std::time::Duration;

use conclib_tests::chaos::now;
use conclib_tests::random::Random;
use tokio::time::{Instant, sleep};

use faults::Fault;
use stage::Stage;

/// How long faults are injected at most: ten minutes, with what comes before and after.
const LONGEST: Duration = Duration::from_secs(9 * 60);

/// How long everything goes well, before the faults and after.
const CALM: Duration = Duration::from_secs(3);

/// How long it may take until all is as it was, after the last fault.
const RECOVERY: Duration = Duration::from_secs(30);

/// A number from the environment.
fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// A fault that was injected, and when, on the clock of the wall in ms.
#[derive(Debug, Clone)]
pub(crate) struct Injected {
    pub(crate) fault: Fault,
    pub(crate) from: u64,
    pub(crate) to: u64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_hangs_and_nothing_is_done_twice() {
    let seed = setting("CONCLIB_CHAOS_SEED").unwrap_or_else(now);
    let length = Duration::from_secs(setting("CONCLIB_CHAOS_SECONDS").unwrap_or(20)).min(LONGEST);
    println!("seed {seed}, {} s of faults", length.as_secs());
    let mut chance = Random::new(seed);
    let mut stage = Stage::open(seed).await;

    stage.go("go").await;
    stage.bulk().await; // the memory that a fault may need for a while is no growth
    sleep(CALM).await;
    let before = stage.pause().await;
    stage.go("go poison").await;

    let (start, mut injected) = (Instant::now(), Vec::new());
    let (kinds, mut deck) = (faults::kinds(), Vec::new());
    while start.elapsed() < length {
        let fault = faults::draw(&kinds, &mut deck, &mut chance);
        if fault.loses_data() {
            stage.collect_dead().await;
        }
        let from = now();
        stage.inject(fault, &mut chance).await;
        let to = now();
        println!(
            "{:>7} ms {fault:?} for {} ms",
            start.elapsed().as_millis(),
            to - from
        );
        injected.push(Injected { fault, from, to });
        sleep(Duration::from_millis(u64::from(chance.below(1_500)))).await;
    }
    let end = now();
    stage.go("go").await;
    sleep(CALM).await;
    let after = stage.settle(&before, RECOVERY).await;
    let leftovers = stage.leftovers().await;
    stage.collect_dead().await;
    let (asked, begun, dead) = stage.close().await;

    let verdict = verdict::judge(&asked, &begun, &dead, &injected, end);
    println!(
        "{}",
        summary::of(seed, &injected, &asked, &begun, &verdict, (&before, &after))
    );
    let mut complaints = verdict.complaints;
    complaints.extend(leftovers);
    complaints.extend(verdict::compare(&before, &after));
    assert!(
        complaints.is_empty(),
        "seed {seed}:\n{}",
        complaints[..complaints.len().min(40)].join("\n")
    );
}
