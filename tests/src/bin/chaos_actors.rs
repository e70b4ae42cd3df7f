//! The actors of the chaos suite: `chaos_actors <redis url> <log> [instance]` serves until SIGTERM. With an
//! instance it is a member of a fleet; without one it stands by while another process serves. It prints
//! `ready`; for each line `look` that it reads, it prints `looked`, a bool that says if it serves, and its
//! resources. Its actor `stuck` handles nothing between the lines `stick` and `release`; the line `kill`
//! kills it.

use std::fs::{File, OpenOptions};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use conclib::bus::ConnectionState;
use conclib::prelude::*;
use conclib::supervision::{Backoff, Restart};
use conclib::{SpawnError, start_proxy};
use conclib_tests::chaos::{
    Ballast, Bulk, DELIVERIES, ExecutionRecord, LISTED, ResourceUsage, Work, now,
};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::sleep;

/// The panic payload of failures on purpose.
const ON_PURPOSE: &str = "on purpose";

/// Executes requests, and records the start of each.
#[derive(Actor)]
#[actor(mailbox = 256)]
struct ChaosWorker {
    log: Arc<File>,
}

#[handlers]
impl ChaosWorker {
    #[handler]
    async fn work(&mut self, message: Work) -> Result<u64, Failure> {
        let Work {
            number, deadline, ..
        } = message;
        ExecutionRecord {
            number,
            at: now(),
            deadline,
            process: std::process::id(),
        }
        .write(&self.log)?;
        if message.nap > 0 {
            sleep(Duration::from_millis(message.nap)).await;
        }
        if message.fails && number % 2 == 1 {
            std::panic::panic_any(ON_PURPOSE);
        }
        if message.fails {
            return Err(Failure::msg(ON_PURPOSE));
        }
        Ok(Work::answer(number))
    }

    #[handler]
    fn bulk(&mut self, message: Bulk) -> serde_bytes::ByteBuf {
        vec![7; message.bytes].into()
    }
}

/// Handles nothing while it is stuck.
#[derive(Actor)]
#[actor(mailbox = 256)]
struct Stuck {
    is_stuck: watch::Receiver<bool>,
}

#[handlers]
impl Stuck {
    #[handler]
    async fn ballast(&mut self, _: Ballast) -> Result<(), Failure> {
        self.is_stuck.wait_for(|is_stuck| !is_stuck).await?;
        Ok(())
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(url), Some(log)) = (arguments.next(), arguments.next()) else {
        return Err("usage: chaos_actors <redis url> <log> [instance]".into());
    };
    let instance = arguments.next();
    expect_panics();
    let mut terminate = signal(SignalKind::terminate())?;
    let log = Arc::new(OpenOptions::new().create(true).append(true).open(log)?);
    let system = ActorSystem::new();
    spawn_workers(&system, &log, instance.is_some()).await?;
    let mut stuck = StuckControl::start(&system).await?;
    let config = Config::new(&url)?
        .visibility_timeout(Duration::from_secs(1))
        .retry_backoff(Backoff::from_secs(1).up_to(Duration::from_secs(1)))
        .max_deliveries(DELIVERIES);
    let config = match instance {
        Some(instance) => config.fleet().instance(instance),
        None => config,
    };
    let state = Arc::new(Mutex::new(None));
    let serving = tokio::spawn(serve(system.clone(), config, state.clone()));
    println!("ready");
    let mut lines = BufReader::new(stdin()).lines();
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            line = lines.next_line() => match line? {
                Some(line) if line != "look" => stuck.obey(&line).await?,
                Some(_) => {
                    let state = state.lock().unwrap_or_else(PoisonError::into_inner).clone();
                    let serves = state.is_some_and(|state| state.borrow().is_connected());
                    println!("looked {serves} {}", ResourceUsage::now(0));
                }
                None => break,
            }
        }
    }
    serving.abort();
    system.shutdown().await;
    // A thread may be waiting for a line, and the runtime would wait for that thread.
    std::process::exit(0)
}

/// Spawns the actors that execute requests; members of a fleet share two of them.
async fn spawn_workers(
    system: &ActorSystem,
    log: &Arc<File>,
    is_member: bool,
) -> Result<(), SpawnError> {
    let listed: &[_] = if is_member { &LISTED } else { &[] };
    for urn in ["quick", "slow", "frail"].iter().chain(listed) {
        let log = log.clone();
        let worker = move || {
            let log = log.clone();
            async move { Ok::<_, Failure>(ChaosWorker { log }) }
        };
        let worker = system.supervise(worker).restart(Restart::Always);
        let worker = worker.budget(u32::MAX, Duration::from_secs(1));
        let worker = worker.backoff(Backoff::none()).urn(*urn);
        if is_member && ["quick", "slow"].contains(urn) {
            worker.shared().await?;
        } else {
            worker.await?;
        }
    }
    Ok(())
}

/// The actor that gets stuck, and its control.
struct StuckControl {
    system: ActorSystem,
    is_stuck: watch::Sender<bool>,
    actor: ActorRef<Stuck>,
}

impl StuckControl {
    async fn start(system: &ActorSystem) -> Result<Self, SpawnError> {
        let is_stuck = watch::Sender::new(false);
        Ok(Self {
            system: system.clone(),
            actor: spawn_stuck(system, &is_stuck).await?,
            is_stuck,
        })
    }

    /// Obeys `stick`, `release` or `kill`.
    async fn obey(&mut self, line: &str) -> Result<(), SpawnError> {
        if line == "kill" {
            self.actor.kill();
            self.actor.stopped().await;
            self.actor = spawn_stuck(&self.system, &self.is_stuck).await?;
        }
        self.is_stuck.send_replace(line == "stick");
        Ok(())
    }
}

async fn spawn_stuck(
    system: &ActorSystem,
    is_stuck: &watch::Sender<bool>,
) -> Result<ActorRef<Stuck>, SpawnError> {
    let is_stuck = is_stuck.subscribe();
    system.spawn(Stuck { is_stuck }).urn("stuck").await
}

/// The connection state of the current proxy, if there is one.
type State = Arc<Mutex<Option<watch::Receiver<ConnectionState>>>>;

/// Serves whenever no other process serves.
async fn serve(system: ActorSystem, config: Config, state: State) {
    let set = |new| *state.lock().unwrap_or_else(PoisonError::into_inner) = new;
    loop {
        match start_proxy(&system, &config).await {
            Ok(proxy) => {
                set(Some(proxy.connection_state()));
                let end = proxy.stopped().await;
                set(None);
                println!("ended {end:?}");
            }
            Err(error) => println!("not yet: {error}"),
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// Silences panics on purpose.
fn expect_panics() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if panic.payload().downcast_ref() != Some(&ON_PURPOSE) {
            hook(panic);
        }
    }));
}
