//! A group of actors that depend on each other: when the connection fails, it and the actors built on
//! it restart, and no waiting message is lost.
//!
//! `cargo run --example supervision`

use std::error::Error;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use conclib::prelude::*;
use conclib::supervision::Backoff;
use conclib::supervisor::{ChildSpec, Strategy, Supervisor};
use conclib::system::LookupError;

#[derive(ActorMessage)]
#[message(local, response = u32)]
struct Fetch(u32);

/// A connection that breaks now and then.
#[derive(Actor)]
#[actor(urn = "connection")]
struct Connection {
    number: u32,
}

impl Connection {
    async fn open() -> Result<Self, Failure> {
        static OPENED: AtomicU32 = AtomicU32::new(0);
        let number = OPENED.fetch_add(1, Ordering::Relaxed) + 1;
        tokio::time::sleep(Duration::from_millis(5)).await; // the time of connecting
        println!("connection {number} opens");
        Ok(Self { number })
    }
}

#[handlers]
impl Connection {
    #[handler]
    async fn fetch(&mut self, Fetch(n): Fetch) -> Result<u32, Failure> {
        if n == 3 && self.number == 1 {
            return Err(Failure::msg("connection reset by peer"));
        }
        Ok(n * 10)
    }
}

/// Works with the connection that existed when it started.
#[derive(Actor)]
#[actor(urn = "session")]
struct Session {
    connection: ActorRef<Connection>,
}

#[handlers]
impl Session {
    #[handler]
    async fn fetch(&mut self, message: Fetch) -> Result<u32, Failure> {
        Ok(self.connection.ask(message).await?)
    }

    fn on_stop(&mut self, reason: &StopReason) {
        println!("session ends: {reason}");
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let system = ActorSystem::new();
    let found = system.clone();
    let storage = Supervisor::new(Strategy::RestForOne)
        .budget(5, Duration::from_secs(60))
        .backoff(Backoff::starting_at(Duration::from_millis(20)))
        .member(ChildSpec::new(Connection::open))
        .member(ChildSpec::new(move || {
            let connection = found.actor("connection");
            async move {
                Ok::<_, LookupError>(Session {
                    connection: connection?,
                })
            }
        }));
    system.spawn(storage).urn("storage").await?;

    for n in 1..=5 {
        match system.ask("session", Fetch(n)).await {
            Ok(value) => println!("fetched {value}"),
            Err(error) => println!("not fetched: {error}"),
        }
    }
    println!("\n{}", system.snapshot());
    system.shutdown().await;
    Ok(())
}
