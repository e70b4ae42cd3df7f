//! The actor process.

use conclib::prelude::*;
use hello::{Greet, Greeting};

#[derive(Actor)]
#[actor(urn = "greeter")]
struct Greeter {
    greetings: u64,
}

#[handlers]
impl Greeter {
    #[handler]
    async fn greet(&mut self, message: Greet) -> Greeting {
        self.greetings += 1;
        Greeting {
            text: format!("Hello, {}!", message.name),
            count: self.greetings,
            worker: std::process::id(),
        }
    }
}

#[tokio::main]
async fn main() -> RunEnd {
    tracing_subscriber::fmt::init();
    run(Config::from_env(), async |system| {
        system.spawn(Greeter { greetings: 0 }).essential().await?;
        Ok(())
    })
    .await
}
