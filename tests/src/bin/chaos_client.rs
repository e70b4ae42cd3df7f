//! A client of the chaos suite: `chaos_client <redis url> <number> <seed> <records> [fleet]` asks the actors
//! from several tasks; those of a fleet not by durable messages, and its listed names by one task each,
//! without waiting for the answers. It reads the lines `go`, `go poison` (some durable messages fail for good),
//! `pause` (prints `paused` and its resources once no request is in flight), `bulk` (asks for many
//! large answers), `look` (prints `looked` and the milliseconds since an answer came), `fill` (tells the
//! actor `stuck` as much as it may hold, and prints `filled` and the answer to one ask more), and `end`
//! (writes its records).

use std::fmt::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use conclib::prelude::*;
use conclib_tests::chaos::{
    Ballast, Bulk, LISTED, RequestKind, RequestRecord, ResourceUsage, Work, first_number, now,
};
use conclib_tests::poll_once;
use conclib_tests::random::Random;
use tokio::io::{AsyncBufReadExt, BufReader, stdin};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

/// The number of asking tasks without those for listed names.
const ASKERS: u64 = 24;

/// The number of requests of a task for a listed name that wait for their answers.
const UNANSWERED: usize = 32;

/// State of the asking tasks.
struct Shared {
    client: ProxyClient,
    is_in_fleet: bool,
    /// The number of asking tasks.
    askers: u64,
    /// The number of the next request without an order.
    next: AtomicU64,
    records: Mutex<Vec<RequestRecord>>,
    /// True while the tasks make requests.
    goes: watch::Sender<bool>,
    /// True while some durable messages are made to fail for good.
    poisons: AtomicBool,
    /// The number of idle tasks.
    idle: watch::Sender<u64>,
    /// The time of the last answer, on the system's clock in ms.
    answered: AtomicU64,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [url, number, seed, records, fleet @ ..] = &arguments[..] else {
        return Err("usage: chaos_client <redis url> <number> <seed> <records> [fleet]".into());
    };
    let (number, seed): (u64, u64) = (number.parse()?, seed.parse()?);
    let mut config = Config::new(url)?;
    let mut listed: &[&str] = &[];
    if !fleet.is_empty() {
        (config, listed) = (config.fleet(), &LISTED);
    }
    let askers = ASKERS + listed.len() as u64;
    let shared = Arc::new(Shared {
        client: ProxyClient::connect(&config).await?,
        is_in_fleet: !fleet.is_empty(),
        askers,
        next: AtomicU64::new(first_number(number, 0)),
        records: Mutex::default(),
        goes: watch::Sender::new(false),
        poisons: AtomicBool::new(false),
        idle: watch::Sender::new(askers),
        answered: AtomicU64::new(0),
    });
    let chance = |asker| Random::new(seed.wrapping_mul(1009).wrapping_add(asker));
    for asker in 0..ASKERS {
        tokio::spawn(ask_on(shared.clone(), chance(asker)));
    }
    for (urn, series) in listed.iter().zip(1..) {
        let first = first_number(number, series);
        let asking = ask_in_order(shared.clone(), chance(ASKERS + series), urn, first);
        tokio::spawn(asking);
    }
    println!("ready");
    let mut lines = BufReader::new(stdin()).lines();
    let mut bulks = JoinSet::new();
    while let Some(line) = lines.next_line().await? {
        match &*line {
            "go" | "go poison" => {
                let poisons = line.ends_with("poison");
                shared.poisons.store(poisons, Ordering::Relaxed);
                shared.goes.send_replace(true);
            }
            "pause" => {
                shared.goes.send_replace(false);
                shared
                    .idle
                    .subscribe()
                    .wait_for(|idle| *idle == shared.askers)
                    .await?;
                while bulks.join_next().await.is_some() {}
                println!("paused {}", ResourceUsage::now(shared.client.in_flight()));
            }
            "bulk" => {
                for _ in 0..64 {
                    let ask = shared.client.ask("quick", Bulk { bytes: 512 * 1024 });
                    bulks.spawn(ask.timeout(Duration::from_secs(3)));
                }
            }
            "look" => println!("looked {}", now() - shared.answered.load(Ordering::Relaxed)),
            "fill" => println!("filled {}", fill(&shared.client).await),
            "end" => break,
            other => return Err(format!("unknown line `{other}`").into()),
        }
    }
    let mut text = String::new();
    for record in lock(&shared.records).iter() {
        writeln!(text, "{record}")?;
    }
    std::fs::write(records, text)?;
    shared.client.shutdown().await;
    println!("ended");
    Ok(())
}

/// Tells the stuck actor as much as it may hold; returns the end of one ask more.
async fn fill(client: &ProxyClient) -> String {
    const MIB: usize = 1024 * 1024;
    let ballast = Ballast {
        bytes: vec![7; MIB].into(),
    };
    for _ in 0..48 {
        drop(client.tell("stuck", ballast.clone()).await);
    }
    let asked = client.ask("stuck", ballast).timeout(Duration::from_secs(1));
    describe(asked.await.map(|()| Work::answer(0)), 0).0
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes one request after another while `goes` is true.
async fn ask_on(shared: Arc<Shared>, mut chance: Random) {
    let mut goes = shared.goes.subscribe();
    loop {
        if goes.wait_for(|goes| *goes).await.is_err() {
            return;
        }
        shared.idle.send_modify(|idle| *idle -= 1);
        while *goes.borrow() {
            if let Some(record) = ask_once(&shared, &mut chance).await {
                lock(&shared.records).push(record);
            }
            sleep(Duration::from_millis(u64::from(chance.below(15)))).await;
        }
        shared.idle.send_modify(|idle| *idle += 1);
    }
}

/// Asks a listed name again and again while `goes` is true, by requests with rising numbers.
async fn ask_in_order(shared: Arc<Shared>, mut chance: Random, urn: &'static str, mut number: u64) {
    let mut goes = shared.goes.subscribe();
    let mut asks = JoinSet::new();
    loop {
        if goes.wait_for(|goes| *goes).await.is_err() {
            return;
        }
        shared.idle.send_modify(|idle| *idle -= 1);
        while *goes.borrow() {
            for _ in 0..=chance.below(3) {
                let timeout_ms = u64::from(50 + chance.below(2_950));
                let mut ask = Box::pin(ask_listed(shared.clone(), urn, number, timeout_ms));
                number += 1;
                // The first poll puts it behind those before it.
                if poll_once(&mut ask).await.is_pending() {
                    asks.spawn(ask);
                }
            }
            while asks.len() > UNANSWERED {
                asks.join_next().await;
            }
            sleep(Duration::from_millis(u64::from(chance.below(40)))).await;
        }
        while asks.join_next().await.is_some() {}
        shared.idle.send_modify(|idle| *idle += 1);
    }
}

/// Makes one request for a listed name, and records it.
async fn ask_listed(shared: Arc<Shared>, urn: &str, number: u64, timeout_ms: u64) {
    let (start, began) = (now(), Instant::now());
    let work = Work {
        number,
        deadline: start + timeout_ms,
        nap: 0,
        fails: false,
    };
    let ask = shared.client.ask(urn, work);
    let end = ask.timeout(Duration::from_millis(timeout_ms)).await;
    let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let (end, delivered) = describe(end, number);
    lock(&shared.records).push(RequestRecord {
        number,
        kind: RequestKind::Ask,
        start,
        timeout: timeout_ms,
        took,
        end,
        delivered,
    });
}

/// Makes a request of a random kind; returns its record, unless the asker was dropped midway.
async fn ask_once(shared: &Shared, chance: &mut Random) -> Option<RequestRecord> {
    let number = shared.next.fetch_add(1, Ordering::Relaxed);
    let timeout_ms = u64::from(50 + chance.below(2_950));
    let (start, began) = (now(), Instant::now());
    let kind = match chance.below(100) {
        95.. if shared.is_in_fleet => 50, // durable messages do not go to a fleet
        99 if !shared.poisons.load(Ordering::Relaxed) => 98,
        kind => kind,
    };
    let (urn, nap, fails) = match kind {
        0..10 => ("slow", u64::from(chance.below(40)), false),
        10..13 | 99 => ("frail", 0, true),
        _ => ("quick", 0, false),
    };
    let work = Work {
        number,
        deadline: start + timeout_ms,
        nap,
        fails,
    };
    let limit = Duration::from_millis(timeout_ms);
    let (request_kind, end) = match kind {
        80..90 => {
            let told = shared.client.tell(urn, work).timeout(limit).await;
            (RequestKind::Tell, told.map(|()| Work::answer(number)))
        }
        95.. => {
            let told = shared.client.tell(urn, work).timeout(limit);
            let (request_kind, told) = if fails {
                // The key identifies its dead letter.
                let told = told.idempotency_key(number.to_string());
                (RequestKind::Poison, told.await)
            } else {
                (RequestKind::Durable, told.durable().await)
            };
            (request_kind, told.map(|()| Work::answer(number)))
        }
        90..95 => {
            // An asker that is dropped.
            let ask = shared.client.ask(urn, work).timeout(limit);
            let _ = timeout(Duration::from_millis(u64::from(chance.below(4))), ask).await;
            return None;
        }
        _ => (
            RequestKind::Ask,
            shared.client.ask(urn, work).timeout(limit).await,
        ),
    };
    let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let (end, delivered) = describe(end, number);
    if request_kind == RequestKind::Ask && end == "Ok" {
        shared.answered.store(now(), Ordering::Relaxed);
    }
    Some(RequestRecord {
        number,
        kind: request_kind,
        start,
        timeout: timeout_ms,
        took,
        end,
        delivered,
    })
}

/// The end and the delivery state of a request, for its record.
fn describe(end: Result<u64, AskError>, number: u64) -> (String, String) {
    match end {
        Ok(answer) if answer == Work::answer(number) => ("Ok".to_owned(), "-".to_owned()),
        Ok(_) => ("Wrong".to_owned(), "-".to_owned()),
        Err(error) => {
            let name = format!("{error:?}");
            let name = name.split([' ', '{']).next().unwrap_or_default().to_owned();
            (name, format!("{:?}", error.delivered()))
        }
    }
}
