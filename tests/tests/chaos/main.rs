//! Random faults of the bus, of the processes and of their peers, while several processes ask over it.
//!
//! ```text
//! CONCLIB_CHAOS_SECONDS=120 CONCLIB_CHAOS_SEED=7 \
//!     cargo test -p conclib-tests --all-features --test chaos -- --nocapture
//! ```
//!
//! `CONCLIB_CHAOS_ONLY=AllFlushed,ActorsStopped` restricts the faults to these kinds. Failovers by
//! Sentinels are not among them: Sentinels name the servers themselves, and so lead around the relay
//! that injects faults into connections. The test `failovers` has them.

mod checks;
mod failovers;
mod faults;
mod fixture;
mod hostile;
mod redis;
mod replica;
mod rights;
mod stuck;
mod summary;

use std::time::Duration;

use conclib_tests::chaos::now;
use conclib_tests::random::Random;
use tokio::time::{Instant, sleep};

use faults::Fault;
use fixture::ChaosFixture;

/// The longest injection of faults: ten minutes, with the phases before and after.
const LONGEST: Duration = Duration::from_secs(9 * 60);

/// The length of the phases without faults, before and after.
const CALM: Duration = Duration::from_secs(3);

/// The longest recovery after the last fault.
const RECOVERY: Duration = Duration::from_secs(30);

/// A number from the environment.
fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// A fault that was injected, from when to when, on the system's clock in ms.
#[derive(Debug, Clone)]
pub(crate) struct InjectedFault {
    pub(crate) fault: Fault,
    pub(crate) from: u64,
    pub(crate) to: u64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_faults_hang_no_ask_and_double_no_request() {
    let seed = setting("CONCLIB_CHAOS_SEED").unwrap_or_else(now);
    let length = Duration::from_secs(setting("CONCLIB_CHAOS_SECONDS").unwrap_or(20)).min(LONGEST);
    println!("seed {seed}, {} s of faults", length.as_secs());
    let mut chance = Random::new(seed);
    let mut fixture = ChaosFixture::open(seed).await;

    fixture.go("go").await;
    fixture.bulk().await; // memory that a fault may need for a while is no growth
    sleep(CALM).await;
    let before = fixture.pause().await;
    fixture.go("go poison").await;

    let (start, mut injected) = (Instant::now(), Vec::new());
    let (kinds, mut deck) = (faults::kinds(), Vec::new());
    while start.elapsed() < length {
        let fault = faults::draw(&kinds, &mut deck, &mut chance);
        if fault.loses_data() {
            fixture.collect_dead().await;
        }
        let from = now();
        fixture.inject(fault, &mut chance).await;
        let to = now();
        println!(
            "{:>7} ms {fault:?} for {} ms",
            start.elapsed().as_millis(),
            to - from
        );
        injected.push(InjectedFault { fault, from, to });
        sleep(Duration::from_millis(u64::from(chance.below(1_500)))).await;
    }
    let end = now();
    fixture.go("go").await;
    sleep(CALM).await;
    let after = fixture.settle(&before, RECOVERY).await;
    let leftovers = fixture.leftovers(&injected).await;
    fixture.collect_dead().await;
    let records = fixture.close().await;

    let findings = checks::check(&records, &injected, end);
    println!(
        "{}",
        summary::of(seed, &injected, &records, &findings, (&before, &after))
    );
    let mut violations = findings.violations;
    violations.extend(leftovers);
    violations.extend(checks::compare(&before, &after));
    assert!(
        violations.is_empty(),
        "seed {seed}:\n{}",
        violations[..violations.len().min(40)].join("\n")
    );
}
