//! A storm of restarts: a thousand actors fail at random while several senders tell and ask them.
//! `CONCLIB_STORM_SECONDS` makes it longer.

use std::collections::HashSet;
use std::future::{Future, ready};
use std::panic::panic_any;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use conclib::prelude::*;
use conclib::snapshot::ActorSnapshot;
use conclib::supervision::Backoff;
use conclib_tests::random::Random;
use conclib_tests::{TestResult, poll_once, until, within};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

const ACTORS: usize = 1000;
const SENDERS: usize = 6;

/// The most asks in flight per sender.
const UNDER_WAY: usize = 200;

/// State of all incarnations of one actor.
#[derive(Debug, Clone, Default)]
struct Ledger {
    /// The number of the last message of each sender.
    last: [u64; SENDERS],
    handled: u64,
    /// Failed messages and failed starts.
    failed: u64,
    /// Broken invariants.
    disorder: Vec<String>,
}

type Shared = Arc<Mutex<Ledger>>;

fn open(ledger: &Shared) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Handled,
    Err,
    Panic,
    /// After it has waited.
    LatePanic,
}

/// The answer is the number.
#[derive(ActorMessage)]
#[message(local, response = u64)]
struct Work {
    sender: usize,
    /// Counts what this sender has sent to this actor.
    number: u64,
    fate: Fate,
}

#[derive(Actor)]
#[actor(mailbox = 8)]
struct FailingWorker {
    ledger: Shared,
    starts: bool,
}

#[handlers]
impl FailingWorker {
    fn on_start(&mut self) -> Result<(), Failure> {
        if self.starts {
            return Ok(());
        }
        open(&self.ledger).failed += 1;
        Err(Failure::msg("no luck"))
    }

    #[handler]
    async fn work(&mut self, work: Work) -> Result<u64, Failure> {
        let Work {
            sender,
            number,
            fate,
        } = work;
        {
            let mut ledger = open(&self.ledger);
            let before = std::mem::replace(&mut ledger.last[sender], number);
            if before + 1 != number {
                let disorder = format!("{number} of {sender} after {before}");
                ledger.disorder.push(disorder);
            }
            match fate {
                Fate::Handled => ledger.handled += 1,
                _ => ledger.failed += 1,
            }
        }
        match fate {
            Fate::Handled => {}
            Fate::Err => return Err(Failure::msg("bad luck")),
            Fate::Panic => panic_any(BadLuck),
            Fate::LatePanic => {
                tokio::task::yield_now().await;
                panic_any(BadLuck)
            }
        }
        Ok(number)
    }
}

/// The panic payload of failures on purpose.
struct BadLuck;

/// Silences panics on purpose.
fn silence_bad_luck() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !panic.payload().is::<BadLuck>() {
            print(panic);
        }
    }));
}

/// An ask in flight: the output is a text if its result is wrong.
type Asked = Pin<Box<dyn Future<Output = Option<String>> + Send>>;

async fn asked(ask: conclib::actor::Ask<Work>, number: u64, fate: Fate) -> Option<String> {
    let answer = ask.await;
    let expected = match (fate, &answer) {
        (Fate::Handled, answer) => *answer == Ok(number),
        (_, Err(AskError::Failed { cause })) => cause.is_some(),
        _ => false,
    };
    (!expected).then(|| format!("{fate:?} {number}: {answer:?}"))
}

/// Tells and asks until the end; returns the counts per actor, and the mistakes.
async fn send(
    sender: usize,
    actors: Vec<ActorRef<FailingWorker>>,
    mut random: Random,
    end: Instant,
) -> (Vec<u64>, Vec<String>) {
    let mut sent = vec![0; actors.len()];
    let mut complaints = Vec::new();
    let mut under_way: FuturesUnordered<Asked> = FuturesUnordered::new();
    while Instant::now() < end {
        // Mostly to a few actors, so that mailboxes are full when they fail.
        let few = if random.one_in(3) { actors.len() } else { 20 };
        let place = random.below(u32::try_from(few).unwrap_or(1)) as usize;
        let fate = match random.below(60) {
            0 => Fate::Err,
            1 => Fate::Panic,
            2 => Fate::LatePanic,
            _ => Fate::Handled,
        };
        sent[place] += 1;
        let number = sent[place];
        let work = Work {
            sender,
            number,
            fate,
        };
        if random.one_in(2) {
            if let Err(error) = actors[place].tell(work).await {
                complaints.push(format!("tell {number}: {error:?}"));
            }
        } else {
            let mut ask: Asked = Box::pin(asked(actors[place].ask(work), number, fate));
            match poll_once(&mut ask).await {
                Poll::Pending => under_way.push(ask), // sent, or waiting for room
                Poll::Ready(complaint) => complaints.extend(complaint),
            }
        }
        if under_way.len() >= UNDER_WAY {
            complaints.extend(under_way.next().await.flatten());
        }
    }
    while let Some(complaint) = under_way.next().await {
        complaints.extend(complaint);
    }
    (sent, complaints)
}

/// True if the snapshot of an actor agrees with its ledger.
fn agree(seen: &ActorSnapshot, ledger: &Ledger) -> bool {
    seen.handled == ledger.handled
        && seen.failures == ledger.failed
        && u64::from(seen.restarts) == ledger.failed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn storm_of_restarts_loses_no_waiting_message_and_keeps_the_order() -> TestResult {
    silence_bad_luck();
    let seconds = std::env::var("CONCLIB_STORM_SECONDS");
    let seconds = seconds
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(2.0);
    let nanos = std::time::UNIX_EPOCH.elapsed()?.subsec_nanos();
    println!("seed {nanos}");
    let mut random = Random::new(nanos.into());

    let system = ActorSystem::new();
    let mut actors = Vec::new();
    let mut ledgers = Vec::new();
    for place in 0..ACTORS {
        let ledger = Shared::default();
        let (shared, mut luck) = (ledger.clone(), Random::new(random.any()));
        let worker = system.supervise(move || {
            ready(FailingWorker {
                ledger: shared.clone(),
                starts: !luck.one_in(10),
            })
        });
        let worker = worker
            .urn(format!("worker/{place}"))
            .budget(u32::MAX, Duration::from_secs(1));
        let backoff =
            Backoff::starting_at(Duration::from_millis(1)).up_to(Duration::from_millis(5));
        actors.push(within(worker.backoff(backoff)).await?);
        ledgers.push(ledger);
    }

    let end = Instant::now() + Duration::from_secs_f64(seconds);
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let random = Random::new(random.any());
            tokio::spawn(send(sender, actors.clone(), random, end))
        })
        .collect();
    let mut sent = Vec::new();
    for sender in senders {
        let bound = Duration::from_secs_f64(seconds) + Duration::from_secs(60);
        let (numbers, complaints) = tokio::time::timeout(bound, sender).await??;
        assert_eq!(complaints, Vec::<String>::new());
        sent.push(numbers);
    }

    // Tells and restarts may still be under way.
    let total: u64 = sent.iter().flatten().sum();
    let ledger = |place: usize| open(&ledgers[place]).clone();
    let done = || {
        (0..ACTORS)
            .map(|place| ledger(place).last.iter().sum::<u64>())
            .sum::<u64>()
    };
    until(|| done() == total).await;
    until(|| {
        let snapshot = system.snapshot();
        let mut places = snapshot.actors.iter().zip(0..);
        places.all(|(seen, place)| agree(seen, &ledger(place)))
    })
    .await;

    let mut failed = 0;
    for place in 0..ACTORS {
        let ledger = ledger(place);
        assert_eq!(ledger.disorder, Vec::<String>::new());
        let numbers: Vec<u64> = sent.iter().map(|numbers| numbers[place]).collect();
        assert_eq!(ledger.last[..], numbers, "nothing is lost or doubled");
        assert_eq!(
            system.actor::<FailingWorker>(actors[place].urn())?,
            actors[place]
        );
        failed += ledger.failed;
    }
    let snapshot = system.snapshot();
    let urns: HashSet<_> = snapshot.actors.iter().map(|seen| &seen.urn).collect();
    assert_eq!((snapshot.actors.len(), urns.len()), (ACTORS, ACTORS));
    println!("{total} messages, {failed} restarts in {seconds} s");
    assert!(failed > 0 && total > 0);
    assert!(within(system.shutdown()).await.is_clean());
    assert!(system.is_empty());
    Ok(())
}
