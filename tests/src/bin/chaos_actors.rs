//! The actors of the fault suite: `chaos_actors <redis url> <log>` serves until SIGTERM. It says
//! `ready`; for each line `look` that it reads, `looked` and what it has.

use std::fs::{File, OpenOptions};
use std::sync::Arc;
use std::time::Duration;

use conclib::prelude::*;
use conclib::{Backoff, Restart, start_proxy};
use conclib_tests::chaos::{Begun, Bulk, Holdings, Work, now};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};
use tokio::signal::unix::{SignalKind, signal};

/// Does what it is told, and writes down that it has begun.
#[derive(Actor)]
#[actor(mailbox = 256)]
struct Worker {
    log: Arc<File>,
}

#[handlers]
impl Worker {
    #[handler]
    async fn work(&mut self, message: Work) -> Result<u64, Failure> {
        let Work {
            number, deadline, ..
        } = message;
        Begun {
            number,
            at: now(),
            deadline,
        }
        .write(&self.log)?;
        if message.nap > 0 {
            tokio::time::sleep(Duration::from_millis(message.nap)).await;
        }
        if message.fails {
            return Err(Failure::msg("on purpose"));
        }
        Ok(Work::answer(number))
    }

    #[handler]
    fn bulk(&mut self, message: Bulk) -> serde_bytes::ByteBuf {
        vec![7; message.bytes].into()
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(url), Some(log)) = (arguments.next(), arguments.next()) else {
        return Err("usage: chaos_actors <redis url> <log>".into());
    };
    let mut terminate = signal(SignalKind::terminate())?;
    let log = Arc::new(OpenOptions::new().create(true).append(true).open(log)?);
    let system = ActorSystem::new();
    for urn in ["quick", "slow", "frail"] {
        let log = log.clone();
        let worker = move || {
            let log = log.clone();
            async move { Ok::<_, Failure>(Worker { log }) }
        };
        let worker = system.supervise(worker).restart(Restart::Always);
        let worker = worker.budget(u32::MAX, Duration::from_secs(1));
        worker.backoff(Backoff::none()).urn(urn).await?;
    }
    // Killed and suspended so often, a message may need many deliveries.
    let config = Config::new(&url)?
        .visibility(Duration::from_secs(1))
        .max_deliveries(1_000);
    // Right after a kill the lease of the one before may still be there, and Redis may be away.
    let proxy = loop {
        match start_proxy(&system, &config).await {
            Ok(proxy) => break proxy,
            Err(error) => eprintln!("not yet: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    println!("ready");
    let mut lines = BufReader::new(stdin()).lines();
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            end = proxy.stopped() => {
                println!("ended {end:?}");
                break;
            }
            line = lines.next_line() => match line? {
                Some(_) => println!("looked {}", Holdings::now(0)),
                None => break,
            }
        }
    }
    system.shutdown().await;
    // A thread may be waiting for a line, and the runtime would wait for that thread.
    std::process::exit(0)
}
