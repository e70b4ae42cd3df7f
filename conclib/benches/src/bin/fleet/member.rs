//! An actor process: `fleet member <port> <number>`.
//!
//! It prints `ready` when its worker can be asked, and stops as after a `SIGTERM` when its input ends. With
//! `--names`, it waits for a line after that, spawns so many actors, and prints how long that took.

use std::io::{BufRead, stdin};
use std::process::{ExitCode, Termination};
use std::time::{Duration, Instant};

use clap::Args;
use conclib::actor::Listing;
use conclib::prelude::*;
use conclib_benches::children::{READY, say, when_input_ends};
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::actors::{Customer, Worker, config, customer};

/// The interval of looks at listings.
const LOOK: Duration = Duration::from_millis(5);

/// The task of an actor process.
#[derive(Debug, Args)]
pub(crate) struct Order {
    /// Leads to Redis.
    port: u16,
    /// The number of the member, which its replies name.
    number: u32,
    /// Milliseconds that a request takes.
    #[arg(long, default_value_t = 0)]
    pause: u64,
    /// Its name; generated unless set.
    #[arg(long)]
    instance: Option<String>,
    /// Serves without a fleet.
    #[arg(long)]
    plain: bool,
    /// Spawns so many actors with listed names when it is told to.
    #[arg(long)]
    names: Option<u64>,
}

/// The time that many names took.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct NamesTaken {
    /// Seconds until all actors were spawned.
    pub(crate) spawned: f64,
    /// Seconds until all names were listed.
    pub(crate) listed: f64,
}

pub(crate) fn main(order: &Order) -> ExitCode {
    let serving = async {
        let (told, go) = oneshot::channel();
        stop_with_the_input(told);
        let config = config(order.port, order.plain).map(|config| match &order.instance {
            Some(instance) => config.instance(instance),
            None => config,
        });
        match config {
            Ok(config) => serve(order, config, go).await.report(),
            Err(problem) => {
                eprintln!("{problem}");
                ExitCode::FAILURE
            }
        }
    };
    match Runtime::new() {
        Ok(runtime) => runtime.block_on(serving),
        Err(_) => ExitCode::FAILURE,
    }
}

async fn serve(order: &Order, config: Config, go: oneshot::Receiver<()>) -> RunEnd {
    let (is_plain, names) = (order.plain, order.names);
    let (member, pause) = (order.number, Duration::from_millis(order.pause));
    let mut go = Some(go);
    run(config, async move |system: ActorSystem| {
        let worker = system.spawn(Worker { member, pause }).await?;
        let go = go.take();
        tokio::spawn(async move {
            if !is_plain {
                until(|| worker.listing() == Listing::Shared).await;
            }
            say(READY);
            if let (Some(names), Some(go)) = (names, go)
                && go.await.is_ok()
            {
                let taken = take_names(&system, names).await;
                say(&serde_json::to_string(&taken).unwrap_or_default());
            }
        });
        Ok(())
    })
    .await
}

/// Sends word of a first line, and stops this process in good order when its input ends.
fn stop_with_the_input(told: oneshot::Sender<()>) {
    std::thread::spawn(move || {
        if matches!(stdin().lock().read_line(&mut String::new()), Ok(1..)) {
            // Of no use unless names were asked for.
            let _ = told.send(());
        }
        when_input_ends(terminate);
    });
}

#[cfg(unix)]
fn terminate() {
    use rustix::process::{Signal, getpid, kill_process};

    // Cannot fail: the process is this one.
    let _ = kill_process(getpid(), Signal::TERM);
}

#[cfg(not(unix))]
fn terminate() {
    std::process::exit(0);
}

async fn take_names(system: &ActorSystem, names: u64) -> NamesTaken {
    let began = Instant::now();
    let actors = spawn_customers(system, 0..names).await;
    let spawned = began.elapsed().as_secs_f64();
    until_listed(&actors).await;
    NamesTaken {
        spawned,
        listed: began.elapsed().as_secs_f64(),
    }
}

/// Spawns actors with listed names of these numbers.
pub(crate) async fn spawn_customers(
    system: &ActorSystem,
    numbers: std::ops::Range<u64>,
) -> Vec<ActorRef<Customer>> {
    let mut actors = Vec::new();
    for number in numbers {
        let spawned = system.spawn(Customer).urn(customer(number)).await;
        actors.push(spawned.expect("each name is spawned once"));
    }
    actors
}

/// Waits until all names are listed. Each actor is looked at until it is, not again.
pub(crate) async fn until_listed(actors: &[ActorRef<Customer>]) {
    for actor in actors {
        until(|| actor.listing() == Listing::Listed).await;
    }
}

async fn until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        sleep(LOOK).await;
    }
}
