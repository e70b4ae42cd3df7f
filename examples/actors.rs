//! The actor process of the pair `actors` and `web`. It needs a Redis: `CONCLIB_REDIS_URL`, or the
//! one at localhost:6379. Ends on Ctrl-C.

use conclib::prelude::*;
use messages::{Declined, Double, Doubled, Receipt, Withdraw};

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

/// An account that many web servers withdraw from, one withdrawal at a time.
#[derive(Actor)]
struct Account {
    balance: u64,
}

#[handlers]
impl Account {
    #[handler]
    async fn withdraw(&mut self, message: Withdraw) -> Result<Receipt, Declined> {
        message.take_from(&mut self.balance)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt::init();
    let system = ActorSystem::new();
    system.spawn(Doubler).await?;
    system
        .spawn(Account { balance: 10_000 })
        .urn("account/1")
        .await?;
    start_proxy(&system, &Config::from_env()?).await?;
    println!("actors serve; Ctrl-C ends them");

    tokio::signal::ctrl_c().await?;
    let report = system.shutdown().await;
    println!("actors ended, clean: {}", report.is_clean());
    Ok(())
}
