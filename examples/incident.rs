//! An incident to practise on: 1,000 accounts, one of which waits for ever, and dead letters to be replayed
//! once it works again. docs/first-look.md walks through it with the operator's tool.
//!
//! `cargo run --example incident`, with a Redis at `CONCLIB_REDIS_URL` or on this machine; Ctrl-C ends it.

use std::error::Error;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use conclib::prelude::*;

const ACCOUNTS: u32 = 1000;

/// The account whose price list cannot be read at first.
const BROKEN: u32 = 317;

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(response = i64)]
struct Balance;

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(durable, retry = "100ms")]
struct Book {
    cents: i64,
}

#[derive(ActorMessage)]
#[message(local)]
struct Record {
    account: u32,
}

/// Writes down what is booked.
#[derive(Actor, Default)]
struct Ledger {
    written: u64,
    /// The mistake of this program: these replies are never given.
    unclear: Vec<Reply<()>>,
}

#[handlers]
impl Ledger {
    #[handler]
    fn record(&mut self, Record { account }: Record, reply: Reply<()>) {
        if account == BROKEN && self.unclear.is_empty() {
            self.unclear.push(reply);
            return;
        }
        self.written += 1;
        reply.send(());
    }
}

#[derive(Actor)]
struct Account {
    number: u32,
    balance: i64,
    ledger: ActorRef<Ledger>,
    has_prices: bool,
}

#[handlers]
impl Account {
    #[handler]
    fn balance(&self, _: Balance) -> i64 {
        self.balance
    }

    #[handler]
    async fn book(&mut self, Book { cents }: Book) -> Result<(), Failure> {
        if cents < 0 && !self.has_prices {
            return Err(Failure::msg("the price list cannot be read"));
        }
        let account = self.number;
        self.ledger.ask(Record { account }).await?;
        self.balance += cents;
        Ok(())
    }
}

/// Bookings that the broken account fails: each is a start without a price list.
const FAILURES: [i64; 3] = [-30, -20, -10];

/// How often the broken account has started.
static STARTS: AtomicU32 = AtomicU32::new(0);

async fn start(system: &ActorSystem) -> Result<(), Box<dyn Error>> {
    let mut ledgers = Vec::new();
    for number in 0..10 {
        let ledger = system.spawn(Ledger::default());
        ledgers.push(ledger.urn(format!("ledger/{number}")).await?);
    }
    for number in 0..ACCOUNTS {
        let ledger = ledgers[number as usize / 100].clone();
        let open = move || {
            let ledger = ledger.clone();
            async move {
                let starts = if number == BROKEN {
                    STARTS.fetch_add(1, Ordering::Relaxed)
                } else {
                    u32::MAX
                };
                let has_prices = starts as usize >= FAILURES.len();
                Ok::<_, Failure>(Account {
                    number,
                    balance: 0,
                    ledger,
                    has_prices,
                })
            }
        };
        let account = system.supervise(open);
        account.urn(format!("account/{number}")).await?;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().init(); // actions of operators are logged at the level INFO
    let config = Config::from_env()?.max_deliveries(1);
    let system = ActorSystem::new();
    start(&system).await?;
    let proxy = start_proxy(&system, &config).await?;
    let client = ProxyClient::connect(&config).await?;

    let broken = format!("account/{BROKEN}");
    for cents in FAILURES {
        client.tell(&broken, Book { cents }).await?;
    }
    client.tell("account/4242", Book { cents: 1 }).await?; // there is no such account
    while proxy.stats().durable.dead_letters < FAILURES.len() as u64 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    client.tell(&broken, Book { cents: 500 }).await?; // which its ledger never answers
    println!("{ACCOUNTS} accounts, and one of them is stuck: find it");

    let traffic = async {
        for number in (0..ACCOUNTS).cycle().filter(|number| *number != BROKEN) {
            drop(client.ask(format!("account/{number}"), Balance).await);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        () = traffic => {}
        ended = tokio::signal::ctrl_c() => ended?,
    }
    system.shutdown().await;
    Ok(())
}
