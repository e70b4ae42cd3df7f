//! Everything in one process, with nothing to install: an actor, a periodic actor, the proxy, and
//! a client that asks them over the bus in memory.

use std::time::Duration;

use conclib::prelude::*;
use messages::{Double, Doubled};

#[derive(Actor)]
#[actor(urn = "doubler")]
struct Doubler;

#[handlers]
impl Doubler {
    #[handler]
    async fn double(&mut self, message: Double) -> Doubled {
        Doubled {
            n: u64::from(message.n) * 2,
        }
    }
}

#[derive(ActorMessage)]
#[message(local)] // the tick never leaves the process, so it needs no serde
struct Beat;

/// Asks for the number of beats.
#[derive(ActorMessage, Serialize, Deserialize)]
#[message(response = u64)]
struct Count;

#[derive(Actor)]
#[actor(urn = "heart")]
#[periodic(tick = Beat, every = "100ms", first = "after")]
struct Heart {
    beats: u64,
}

#[handlers]
impl Heart {
    #[handler]
    fn beat(&mut self, _: Beat) {
        self.beats += 1;
        println!("heart:   beat {}", self.beats);
    }

    #[handler]
    fn count(&mut self, _: Count) -> u64 {
        self.beats
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The actor process. `Config::default()` instead would be Redis at localhost:6379.
    let config = Config::memory();
    let system = ActorSystem::new();
    let doubler = system.spawn(Doubler).await?;
    system.spawn(Heart { beats: 0 }).await?;
    start_proxy(&system, &config).await?;
    println!(
        "local:   2 x 21 = {}",
        doubler.ask(Double { n: 21 }).await?.n
    );

    // The asking side: over Redis this could be another process on another machine.
    let client = ProxyClient::connect(&config).await?;
    println!(
        "client:  2 x 1000 = {}",
        client.ask("doubler", Double { n: 1000 }).await?.n
    );
    match client.ask("absent", Double { n: 1 }).await {
        Err(error) => println!("client:  {error}"),
        Ok(answer) => println!("client:  unexpected {answer:?}"),
    }
    tokio::time::sleep(Duration::from_millis(350)).await;
    println!(
        "client:  the heart beat {} times",
        client.ask("heart", Count).await?
    );

    let report = system.shutdown().await;
    println!("system:  shut down, clean: {}", report.is_clean());
    Ok(())
}
