//! Actors on demand under load, in a process without other tests: many names asked at random, with an
//! idle time near the interval of each name's messages, so that actors end and start all the time; and names
//! that are absent or fail, where each message must get the error that says so.
//!
//! `CONCLIB_DEMAND_SECONDS` and `CONCLIB_DEMAND_NAMES` make it longer and larger.
#![cfg(unix)]

use std::env;
use std::mem::discriminant;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use conclib::prelude::*;
use conclib::supervision::Restart;
use conclib::system::OnDemandActors;
use conclib::{Urn, start_proxy};
use conclib_tests::process::memory;
use conclib_tests::random::Random;
use conclib_tests::{ASK_TIMEOUT, eventually};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Callers within the process, and through the bus in memory.
const LOCAL_CALLERS: usize = 48;
const BUS_CALLERS: usize = 16;

/// Asks of a name that has no actor, all at about the same time.
const ASKS_AT_ONCE: u32 = 8;

#[derive(ActorMessage, Serialize, Deserialize, Clone, Copy)]
#[message(response = u32)]
struct Add(u32);

/// The saved sums, by the numbers in the names.
struct Store {
    sums: Vec<AtomicU32>,
    /// True while an actor has the sum.
    loaded: Vec<AtomicBool>,
    /// The number of loads, and of those while another actor had the sum.
    loads: AtomicU64,
    doubles: AtomicU64,
}

impl Store {
    fn new(names: u32) -> Arc<Self> {
        Arc::new(Self {
            sums: (0..names).map(|_| AtomicU32::new(0)).collect(),
            loaded: (0..names).map(|_| AtomicBool::new(false)).collect(),
            loads: AtomicU64::new(0),
            doubles: AtomicU64::new(0),
        })
    }

    fn total(&self) -> u64 {
        let sums = self.sums.iter();
        sums.map(|sum| u64::from(sum.load(Ordering::SeqCst))).sum()
    }
}

#[derive(Actor)]
struct Counter {
    number: usize,
    sum: u32,
    store: Arc<Store>,
}

/// A counter stops itself after each so many messages.
const STOPS_EVERY: u32 = 50;

#[handlers]
impl Counter {
    #[handler]
    fn add(&mut self, Add(n): Add, ctx: &mut Context<Self>) -> u32 {
        self.sum += n;
        if self.sum.is_multiple_of(STOPS_EVERY) {
            ctx.stop();
        }
        self.sum
    }

    async fn on_stop(&mut self) {
        tokio::task::yield_now().await; // messages come meanwhile
        self.store.sums[self.number].store(self.sum, Ordering::SeqCst);
        self.store.loaded[self.number].store(false, Ordering::SeqCst);
    }
}

/// Loads the counter of a name, in two steps.
async fn load(store: Arc<Store>, urn: Urn) -> Option<Counter> {
    let number: usize = urn.as_str().rsplit('/').next()?.parse().ok()?;
    store.loads.fetch_add(1, Ordering::Relaxed);
    if store.loaded[number].swap(true, Ordering::SeqCst) {
        store.doubles.fetch_add(1, Ordering::SeqCst);
    }
    tokio::task::yield_now().await;
    let sum = store.sums[number].load(Ordering::SeqCst);
    Some(Counter { number, sum, store })
}

/// The results of the callers.
#[derive(Debug, Default, Clone)]
struct Tally {
    answered: u32,
    overloaded: u32,
    /// Other errors, each kind once.
    errors: Vec<AskError>,
}

impl Tally {
    fn count(&mut self, answer: Result<u32, AskError>) {
        match answer {
            Ok(_) => self.answered += 1,
            Err(AskError::Overloaded { .. }) => self.overloaded += 1,
            Err(error) => self.add_error(error),
        }
    }

    fn add_error(&mut self, error: AskError) {
        let kind = discriminant(&error);
        if self.errors.iter().all(|known| discriminant(known) != kind) {
            self.errors.push(error);
        }
    }

    fn add(&mut self, other: Self) {
        self.answered += other.answered;
        self.overloaded += other.overloaded;
        for error in other.errors {
            self.add_error(error);
        }
    }
}

struct Storm {
    system: ActorSystem,
    client: ProxyClient,
    /// The number of names.
    names: u32,
    /// The length of all rounds.
    time: Duration,
}

impl Storm {
    /// Starts actors of the pattern on demand.
    async fn demand(
        &self,
        store: &Arc<Store>,
        pattern: &str,
        idle: Duration,
        max: u32,
    ) -> OnDemandActors {
        let store = store.clone();
        let factory = move |urn| load(store.clone(), urn);
        let actors = self.system.on_demand(pattern, factory);
        actors.idle(idle).max(max as usize).await.unwrap()
    }

    /// Asks names of the pattern at random until the time is over.
    async fn run(&self, prefix: &'static str, time: Duration) -> Tally {
        let names = self.names;
        self.run_by(prefix, time, move |random| random.below(names))
            .await
    }

    /// Asks names of the pattern, with the numbers that `pick` returns, until the time is over.
    async fn run_by<F>(&self, prefix: &'static str, time: Duration, pick: F) -> Tally
    where
        F: Fn(&mut Random) -> u32 + Clone + Send + 'static,
    {
        let end = Instant::now() + time;
        let mut tasks = JoinSet::new();
        for caller in 0..LOCAL_CALLERS + BUS_CALLERS {
            let (system, client, pick) = (self.system.clone(), self.client.clone(), pick.clone());
            let mut random = Random::new(caller as u64);
            tasks.spawn(async move {
                let mut tally = Tally::default();
                while Instant::now() < end {
                    let urn = format!("{prefix}{}", pick(&mut random));
                    let answer = if caller < LOCAL_CALLERS {
                        system.ask(urn, Add(1)).await
                    } else {
                        client.ask(urn, Add(1)).await
                    };
                    if answer.is_err() {
                        tokio::task::yield_now().await; // a refusal needs no wait
                    }
                    tally.count(answer);
                }
                tally
            });
        }
        let mut all = Tally::default();
        while let Some(tally) = tasks.join_next().await {
            all.add(tally.unwrap());
        }
        all
    }
}

fn variable<T: FromStr>(name: &str, default: T) -> T {
    let value = env::var(name).ok();
    value.map_or(default, |value| value.parse().ok().expect("a number"))
}

async fn all_idle(actors: &OnDemandActors) {
    eventually("all are idle", async || actors.is_empty()).await;
}

/// The interval of the messages of one name.
async fn interval(callers: &Storm) -> Duration {
    let store = Store::new(callers.names);
    let _actors = callers
        .demand(&store, "trial/*", callers.time, callers.names)
        .await;
    let sample = (callers.time / 10).max(Duration::from_millis(300));
    let rate = f64::from(callers.run("trial/", sample).await.answered) / sample.as_secs_f64();
    println!("{rate:.0} asks/s for {} names", callers.names);
    Duration::from_secs_f64(f64::from(callers.names) / rate)
}

/// With room for all: no error, no two at once, no lost sum, and the same memory after each round.
async fn with_room_for_all(callers: &Storm, idle: Duration) {
    let store = Store::new(callers.names);
    let actors = callers
        .demand(&store, "counter/*", idle, callers.names)
        .await;
    let mut memory_after = Vec::new();
    let mut answered = 0;
    for round in 1..=3 {
        let tally = callers.run("counter/", callers.time / 3).await;
        let live = actors.len();
        all_idle(&actors).await;
        answered += u64::from(tally.answered);
        memory_after.push(memory());
        let loads = store.loads.load(Ordering::Relaxed);
        println!("round {round}, {idle:?} idle: {tally:?}, {live} live, {loads} loads");
        assert_eq!((tally.overloaded, tally.errors), (0, Vec::new()));
    }
    println!("{memory_after:?} KiB");
    assert_eq!(store.doubles.load(Ordering::SeqCst), 0, "two at once");
    assert_eq!(store.total(), answered, "sums were lost or added twice");
    assert!(store.loads.load(Ordering::Relaxed) > u64::from(callers.names));
    let (first, last) = (memory_after[0], memory_after[2]);
    let more = first / 4 + 8 * 1024; // KiB: what allocators keep for themselves
    assert!(last <= first + more, "memory grows: {memory_after:?} KiB");
}

/// With room for a tenth: `Overloaded` and no other error.
async fn at_the_bound(callers: &Storm, idle: Duration) {
    let store = Store::new(callers.names);
    let actors = callers
        .demand(&store, "bound/*", idle, callers.names / 10)
        .await;
    let tally = callers.run("bound/", callers.time / 3).await;
    println!("at the bound: {tally:?}, {} live", actors.len());
    assert_eq!(tally.errors, []);
    assert!(tally.overloaded > 0 && tally.answered > 0, "{tally:?}");
    all_idle(&actors).await;
    assert_eq!(store.doubles.load(Ordering::SeqCst), 0, "two at once");
    assert_eq!(store.total(), u64::from(tally.answered));
}

/// No name has an actor, and each is asked by a few callers at once: messages meet actors that start, that
/// end, and none.
async fn without_actors(callers: &Storm) {
    callers
        .system
        .on_demand("absent/*", |_| async {
            tokio::task::yield_now().await;
            None::<Counter>
        })
        .await
        .unwrap();
    let failing = callers.system.on_demand("failing/*", |_| async {
        tokio::task::yield_now().await;
        Err::<Counter, _>(Failure::msg("no disk"))
    });
    failing.restart(Restart::Never).await.unwrap();
    for (prefix, is_expected) in [
        ("absent/", is_absent as fn(&AskError) -> bool),
        ("failing/", has_failed),
    ] {
        let asked = Arc::new(AtomicU32::new(0));
        let pick = move |_: &mut Random| asked.fetch_add(1, Ordering::Relaxed) / ASKS_AT_ONCE;
        let tally = callers.run_by(prefix, callers.time / 3, pick).await;
        println!("{prefix}: {tally:?}");
        assert_eq!((tally.answered, tally.overloaded), (0, 0));
        assert!(!tally.errors.is_empty());
        let mut errors = tally.errors.iter();
        assert!(errors.all(is_expected), "{:?}", tally.errors);
    }
}

fn is_absent(error: &AskError) -> bool {
    matches!(error, AskError::ActorNotFound { .. })
}

fn has_failed(error: &AskError) -> bool {
    matches!(error, AskError::ActorFailed { .. })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_asked_at_random_while_their_actors_come_and_go() {
    let config = Config::memory().timeout(ASK_TIMEOUT);
    let system = ActorSystem::new();
    let _proxy = start_proxy(&system, &config).await.unwrap();
    let client = ProxyClient::connect(&config).await.unwrap();
    let callers = Storm {
        system,
        client,
        names: variable("CONCLIB_DEMAND_NAMES", 2000),
        time: Duration::from_secs_f64(variable("CONCLIB_DEMAND_SECONDS", 3.0)),
    };
    let idle = interval(&callers).await;
    with_room_for_all(&callers, idle).await;
    at_the_bound(&callers, idle).await;
    without_actors(&callers).await;
    assert!(callers.system.shutdown().await.is_clean());
}
