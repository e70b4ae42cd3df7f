//! Random faults of the bus, of the processes and of their peers, while several processes ask over it: one
//! actor process with another that stands by, and five members of a fleet.
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
mod fleet;
mod hostile;
mod processes;
mod redis;
mod replica;
mod rights;
mod stuck;
mod summary;

use std::time::Duration;

use conclib_tests::chaos::now;
use conclib_tests::random::Random;
use tokio::time::{Instant, sleep};

use checks::Findings;
use faults::Fault;
use fixture::{ChaosFixture, Records, Shape, Snapshot};

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
    let Some(mut run) = Run::start(Shape::Pair, 20).await else {
        return;
    };
    run.inject().await;
    run.resume(CALM).await;
    run.finish(Vec::new(), |_, _| {}).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_faults_of_a_fleet_double_no_request_and_keep_the_order_of_listed_names() {
    let Some(mut run) = Run::start(Shape::Fleet, 6).await else {
        return;
    };
    run.inject().await;
    run.resume(fleet::RECOVERY + Duration::from_secs(1)).await;
    let wrong_members = run.fixture.wrong_members().await;
    let (injected, end) = (run.injected.clone(), run.end);
    run.finish(wrong_members, |findings, records| {
        let last = fleet::check(findings, records, &injected, end);
        println!("the last request failed {last} ms after the last fault");
    })
    .await;
}

/// A run of random faults.
struct Run {
    seed: u64,
    length: Duration,
    chance: Random,
    kinds: Vec<Fault>,
    fixture: ChaosFixture,
    /// The resources before the first fault.
    before: Snapshot,
    injected: Vec<InjectedFault>,
    /// The end of the last fault, on the system's clock in ms.
    end: u64,
}

impl Run {
    /// Starts the processes and the load; `None` if no fault for them is wanted. Without another setting, it
    /// injects faults for so many seconds.
    async fn start(shape: Shape, seconds: u64) -> Option<Self> {
        let kinds = faults::kinds(shape);
        if kinds.is_empty() {
            return None;
        }
        let seed = setting("CONCLIB_CHAOS_SEED").unwrap_or_else(now);
        let seconds = setting("CONCLIB_CHAOS_SECONDS").unwrap_or(seconds);
        let length = Duration::from_secs(seconds).min(LONGEST);
        println!("{shape:?}: seed {seed}, {} s of faults", length.as_secs());
        let mut fixture = ChaosFixture::open(seed, shape).await;
        fixture.go("go").await;
        fixture.bulk().await; // memory that a fault may need for a while is no growth
        sleep(CALM).await;
        let before = fixture.pause().await;
        fixture.go("go poison").await;
        Some(Self {
            seed,
            length,
            chance: Random::new(seed),
            kinds,
            fixture,
            before,
            injected: Vec::new(),
            end: 0,
        })
    }

    /// Injects one fault after the other.
    async fn inject(&mut self) {
        let (start, mut deck) = (Instant::now(), Vec::new());
        while start.elapsed() < self.length {
            let fault = faults::draw(&self.kinds, &mut deck, &mut self.chance);
            if fault.loses_data() {
                self.fixture.collect_dead().await;
            }
            let from = now();
            self.fixture.inject(fault, &mut self.chance).await;
            let to = now();
            println!(
                "{:>7} ms {fault:?} for {} ms",
                start.elapsed().as_millis(),
                to - from
            );
            self.injected.push(InjectedFault { fault, from, to });
            let pause = u64::from(self.chance.below(1_500));
            sleep(Duration::from_millis(pause)).await;
        }
        self.end = now();
    }

    /// Goes on without faults.
    async fn resume(&mut self, time: Duration) {
        self.fixture.go("go").await;
        sleep(time).await;
    }

    /// Checks the records, by further checks too, and the resources.
    async fn finish(
        mut self,
        mut violations: Vec<String>,
        check: impl FnOnce(&mut Findings, &Records),
    ) {
        let (seed, before, injected) = (self.seed, self.before, self.injected);
        let after = self.fixture.settle(&before, RECOVERY).await;
        violations.extend(self.fixture.leftovers(&injected).await);
        self.fixture.collect_dead().await;
        let records = self.fixture.close().await;
        let mut findings = checks::check(&records, &injected, self.end);
        check(&mut findings, &records);
        println!(
            "{}",
            summary::of(seed, &injected, &records, &findings, (&before, &after))
        );
        violations.extend(findings.violations);
        violations.extend(checks::compare(&before, &after));
        assert!(
            violations.is_empty(),
            "seed {seed}:\n{}",
            violations[..violations.len().min(40)].join("\n")
        );
    }
}
