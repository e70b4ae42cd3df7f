//! A client of the fault suite: `chaos_client <redis url> <number> <seed> <records>` asks the actors
//! from several tasks. Lines that it reads: `go`, `go poison` (some durable messages fail for good),
//! `pause` (it says `paused` and what it has, once nothing is under way), `bulk` (asks for many large answers), `end` (writes its records).

use std::fmt::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use conclib::prelude::*;
use conclib_tests::chaos::{Asked, Bulk, Holdings, Manner, Work, now};
use conclib_tests::random::Random;
use tokio::io::{AsyncBufReadExt, BufReader, stdin};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

/// How many ask at a time.
const ASKERS: u64 = 24;

/// What the askers share.
struct Shared {
    client: ProxyClient,
    /// The next request's number.
    next: AtomicU64,
    records: Mutex<Vec<Asked>>,
    /// Whether to ask.
    goes: watch::Sender<bool>,
    /// Whether some durable messages are to fail for good.
    poisons: AtomicBool,
    /// How many are not asking.
    idle: watch::Sender<u64>,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [url, number, seed, records] = &arguments[..] else {
        return Err("usage: chaos_client <redis url> <number> <seed> <records>".into());
    };
    let (number, seed): (u64, u64) = (number.parse()?, seed.parse()?);
    let shared = Arc::new(Shared {
        client: ProxyClient::connect(&Config::new(url)?).await?,
        next: AtomicU64::new(number << 40),
        records: Mutex::default(),
        goes: watch::Sender::new(false),
        poisons: AtomicBool::new(false),
        idle: watch::Sender::new(ASKERS),
    });
    for asker in 0..ASKERS {
        let chance = Random::new(seed.wrapping_mul(1009).wrapping_add(asker));
        tokio::spawn(ask_on(shared.clone(), chance));
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
                    .wait_for(|idle| *idle == ASKERS)
                    .await?;
                while bulks.join_next().await.is_some() {}
                println!("paused {}", Holdings::now(shared.client.in_flight()));
            }
            "bulk" => {
                for _ in 0..64 {
                    let ask = shared.client.ask("quick", Bulk { bytes: 512 * 1024 });
                    bulks.spawn(ask.timeout(Duration::from_secs(3)));
                }
            }
            "end" => break,
            other => return Err(format!("what is `{other}`?").into()),
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

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes one request after another, as long as it goes.
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

/// Makes a request of some kind; what became of it, unless it was given up midway.
async fn ask_once(shared: &Shared, chance: &mut Random) -> Option<Asked> {
    let number = shared.next.fetch_add(1, Ordering::Relaxed);
    let patience = u64::from(50 + chance.below(2_950));
    let (start, began) = (now(), Instant::now());
    let kind = match chance.below(100) {
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
        deadline: start + patience,
        nap,
        fails,
    };
    let limit = Duration::from_millis(patience);
    let (manner, end) = match kind {
        80..90 => {
            let told = shared.client.tell(urn, work).timeout(limit).await;
            (Manner::Tell, told.map(|()| Work::answer(number)))
        }
        95.. => {
            let manner = if fails {
                Manner::Poison
            } else {
                Manner::Durable
            };
            let told = shared.client.tell(urn, work).timeout(limit);
            // By this key it will be known among the dead.
            let told = match manner {
                Manner::Poison => told.idempotency_key(number.to_string()).await,
                _ => told.durable().await,
            };
            let told = told.map(|()| Work::answer(number));
            (manner, told)
        }
        90..95 => {
            // Somebody who goes away.
            let ask = shared.client.ask(urn, work).timeout(limit);
            let _ = timeout(Duration::from_millis(u64::from(chance.below(4))), ask).await;
            return None;
        }
        _ => (
            Manner::Ask,
            shared.client.ask(urn, work).timeout(limit).await,
        ),
    };
    let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let (end, delivered) = match end {
        Ok(answer) if answer == Work::answer(number) => ("Ok".to_owned(), "-".to_owned()),
        Ok(_) => ("Wrong".to_owned(), "-".to_owned()),
        Err(error) => {
            let name = format!("{error:?}");
            let name = name.split([' ', '{']).next().unwrap_or_default().to_owned();
            (name, format!("{:?}", error.delivered()))
        }
    };
    Some(Asked {
        number,
        manner,
        start,
        patience,
        took,
        end,
        delivered,
    })
}
