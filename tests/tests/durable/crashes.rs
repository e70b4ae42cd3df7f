//! Messages that end the process of their handler. `CONCLIB_CRASH_RUNS=20` repeats the first case.

use std::collections::HashSet;
use std::future::IntoFuture;

use conclib::ProxyClient;
use conclib::durable::{DeadLetter, DeadLetters};
use conclib_tests::bus::Bus;
use conclib_tests::durable::{Abort, Nap, PlainAbort};
use conclib_tests::process::Program;
use conclib_tests::{TEST_TIMEOUT, eventually, within};
use futures_util::future::join_all;
use tokio::time::timeout;

use crate::connect;

/// The number of deliveries of a message.
const DELIVERIES: u32 = 3;

/// The URNs of the actors beside the shop.
const OTHERS: [&str; 3] = ["a", "b", "c"];

/// A Redis, and actor processes on it, one after the other.
struct CrashFixture {
    bus: Bus,
    client: ProxyClient,
    /// Naps that the processes have handled.
    handled: HashSet<String>,
    /// The number of processes that ended by themselves.
    crashes: usize,
}

impl CrashFixture {
    async fn start() -> Self {
        let bus = Bus::redis().await;
        let client = connect(&bus.config).await;
        Self {
            bus,
            client,
            handled: HashSet::new(),
            crashes: 0,
        }
    }

    fn process(&self) -> Program {
        let url = self.bus.url();
        let deliveries = DELIVERIES.to_string();
        let mut arguments = vec![&*url, "300", &*deliveries];
        arguments.extend(OTHERS);
        Program::start(env!("CARGO_BIN_EXE_durable_process"), &arguments)
    }

    /// Tells the actors `count` naps by turns, numbered from `first`.
    async fn tell_naps(&self, urns: &[&str], first: u32, count: u32) {
        let numbers = first..first + count;
        let told = numbers.zip(urns.iter().cycle()).map(|(n, urn)| {
            let told = self.client.tell(urn, Nap { n });
            told.into_future()
        });
        assert!(join_all(told).await.iter().all(Result::is_ok));
    }

    /// Reads a process's output until it has ended or all naps are handled. True if it
    /// has ended.
    async fn watch(&mut self, process: &mut Program, told: usize) -> bool {
        while self.handled.len() < told {
            let Some(line) = process.next_line().await else {
                assert!(!process.ended().await);
                self.crashes += 1;
                return true;
            };
            if let Some(number) = line.strip_prefix("shop ") {
                self.handled.insert(number.to_owned());
            }
        }
        false
    }

    /// Runs a process until it ends.
    async fn crash(&mut self) {
        let mut process = self.process();
        let watch = self.watch(&mut process, usize::MAX);
        assert!(within(watch).await);
    }

    /// Starts one process after the other until all naps are handled, and there are that
    /// many dead letters.
    async fn run(&mut self, told: usize, dead: usize) {
        let run = async {
            loop {
                let mut process = self.process();
                if !self.watch(&mut process, told).await {
                    return process;
                }
            }
        };
        let Ok(mut process) = timeout(3 * TEST_TIMEOUT, run).await else {
            let letters = self.dead().await;
            panic!(
                "{} of {told} handled after {} crashes, {} dead letters: {:?}",
                self.handled.len(),
                self.crashes,
                letters.len(),
                letters.first()
            );
        };
        eventually("they are dead", async || self.dead().await.len() >= dead).await;
        process.signal("TERM").await;
        process.ended().await;
    }

    async fn dead(&self) -> Vec<DeadLetter> {
        let dead = DeadLetters::connect(&self.bus.config).await.unwrap();
        dead.list().limit(1000).await.unwrap()
    }

    /// Checks that only the messages that kill are dead letters, and their reasons.
    async fn only_what_kills_is_dead(&self, count: usize) {
        let letters = self.dead().await;
        assert_eq!(letters.len(), count, "{letters:?}");
        for letter in letters {
            assert_eq!((&*letter.message, letter.deliveries), ("Abort", DELIVERIES));
            assert_eq!(
                letter.reason,
                "its process ended 3 times before it was handled"
            );
        }
    }
}

/// The number of runs of the first case.
fn runs() -> usize {
    let runs = std::env::var("CONCLIB_CRASH_RUNS");
    runs.ok().and_then(|runs| runs.parse().ok()).unwrap_or(1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn message_that_kills_its_process_is_the_only_dead_letter() {
    for run in 1..=runs() {
        let mut fixture = CrashFixture::start().await;
        fixture.client.tell("shop", Abort).await.unwrap();
        fixture.tell_naps(&OTHERS, 0, 200).await;
        fixture.run(200, 1).await;
        fixture.only_what_kills_is_dead(1).await;
        assert_eq!(fixture.crashes, 3);
        println!("run {run}: 200 handled, the one that kills is dead after 3 crashes");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_messages_that_kill_bury_no_other_message_of_their_actor() {
    let mut fixture = CrashFixture::start().await;
    for _ in 0..2 {
        fixture.client.tell("shop", Abort).await.unwrap();
    }
    fixture.tell_naps(&["shop", "a"], 0, 40).await;
    fixture.run(40, 2).await;
    fixture.only_what_kills_is_dead(2).await;
    // The second has its last delivery after the first.
    assert_eq!(fixture.crashes, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn message_that_kills_beside_last_deliveries_buries_no_other() {
    let mut fixture = CrashFixture::start().await;
    fixture.client.tell("shop", Abort).await.unwrap();
    fixture.tell_naps(&OTHERS, 0, 60).await;
    for _ in 0..2 {
        fixture.crash().await;
    }
    // Each remaining message has one delivery left.
    fixture.client.tell("b", Abort).await.unwrap();
    fixture.tell_naps(&OTHERS, 60, 60).await;
    fixture.run(120, 2).await;
    fixture.only_what_kills_is_dead(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repetitions_of_a_message_that_kills_share_its_end() {
    let mut fixture = CrashFixture::start().await;
    for _ in 0..3 {
        let told = fixture.client.tell("shop", Abort).idempotency_key("one");
        told.await.unwrap();
    }
    fixture.tell_naps(&OTHERS, 0, 40).await;
    fixture.run(40, 1).await;
    fixture.only_what_kills_is_dead(1).await;
    assert_eq!(fixture.crashes, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_request_that_kills_buries_no_waiting_message() {
    let mut fixture = CrashFixture::start().await;
    fixture.tell_naps(&OTHERS, 0, 300).await;
    for _ in 0..DELIVERIES {
        let mut process = fixture.process();
        process.line("ready").await;
        fixture.client.tell("shop", PlainAbort).await.unwrap();
        while process.next_line().await.is_some() {}
        assert!(!process.ended().await);
    }
    // A message may have been alone on its last delivery.
    let dead = fixture.dead().await.len();
    assert!(dead <= 1, "{dead}");
    fixture.client.tell("a", Nap { n: 1000 }).await.unwrap();
    fixture.run(1, dead).await;
    assert!(fixture.dead().await.len() <= 1);
}
