//! The actor process of the pair `actors` and `web`. It needs a Redis: `CONCLIB_REDIS_URL`, or the
//! one at localhost:6379. Ends on Ctrl-C, or SIGTERM.

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
async fn main() -> RunEnd {
    tracing_subscriber::fmt::init();
    run(Config::from_env(), async |system| {
        system.spawn(Doubler).await?;
        let account = Account { balance: 10_000 };
        system.spawn(account).urn("account/1").await?;
        println!("actors are made; Ctrl-C ends them, and a second process stands by meanwhile");
        Ok(())
    })
    .await
}
