//! One member of the fleet. `CONCLIB_INSTANCE` names it.

use std::time::Duration;

use conclib::prelude::*;
use fleet::messages::{GetSquare, Square};
use tokio::time::sleep;

/// Computes squares. Each member has one, and they share the work.
#[derive(Actor)]
#[actor(urn = "squares", shared)]
struct Squares {
    member: String,
}

#[handlers]
impl Squares {
    #[handler]
    async fn square(&mut self, message: GetSquare) -> Square {
        sleep(Duration::from_millis(2)).await; // the work
        Square {
            square: message.n * message.n,
            member: self.member.clone(),
        }
    }
}

#[tokio::main]
async fn main() -> RunEnd {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let member = std::env::var("CONCLIB_INSTANCE").unwrap_or_default();
    run(Config::from_env().map(Config::fleet), async move |system| {
        let squares = Squares {
            member: member.clone(),
        };
        system.spawn(squares).essential().await?;
        println!("{member} has its actors");
        Ok(())
    })
    .await
}
