//! Several workers behind one URN: slow requests run concurrently, and each account has the same
//! worker.
//!
//! `cargo run --example pool`

use std::collections::HashMap;
use std::error::Error;
use std::time::{Duration, Instant};

use conclib::pool::{Pool, Route};
use conclib::prelude::*;
use futures_util::future::try_join_all;

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(response = usize)]
struct Resize {
    picture: usize,
}

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(response = u64)]
struct Deposit {
    account: String,
    cents: u64,
}

#[derive(Actor, Default)]
struct Worker {
    balances: HashMap<String, u64>,
}

#[handlers]
impl Worker {
    #[handler]
    async fn resize(&mut self, message: Resize) -> usize {
        tokio::time::sleep(Duration::from_millis(50)).await; // something slow
        message.picture
    }

    #[handler]
    fn deposit(&mut self, message: Deposit) -> u64 {
        let balance = self.balances.entry(message.account).or_default();
        *balance += message.cents;
        *balance
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let system = ActorSystem::new();
    let workers = Pool::new(8, || async { Worker::default() })
        .route(Route::LeastLoaded)
        .by_key(|message: &Deposit| message.account.clone());
    let workers = system.spawn(workers).urn("workers").await?;

    let start = Instant::now();
    let pictures = (0..40).map(|picture| workers.ask(Resize { picture }));
    let resized = try_join_all(pictures).await?.len();
    println!("{resized} pictures of 50 ms each in {:?}", start.elapsed());

    for cents in [100, 250] {
        for account in ["ann", "bob"] {
            let account = account.to_owned();
            let deposit = Deposit {
                account: account.clone(),
                cents,
            };
            // By URN, as another process would.
            let balance = system.ask("workers", deposit).await?;
            println!("{account} has {balance}");
        }
    }

    workers.resize(2).await?;
    println!("\n{}", system.snapshot());
    system.shutdown().await;
    Ok(())
}
