//! A client process: `asking_process <redis url>` asks the actor `holder` something that nobody
//! answers, says `asked` once the actor has it, and waits.

use std::error::Error;
use std::time::Duration;

use conclib::{Config, ProxyClient};
use conclib_tests::messages::{Forget, Hold};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args()
        .nth(1)
        .ok_or("usage: asking_process <url>")?;
    let client = ProxyClient::connect(&Config::new(&url)?).await?;
    let timeout = Duration::from_secs(60);
    let hold = tokio::spawn(client.ask("holder", Hold).timeout(timeout));
    while client.in_flight() == 0 {
        tokio::task::yield_now().await;
    }
    // Requests of one client arrive in order, so that an answer to this one proves the other.
    let forgotten = client.ask("holder", Forget).timeout(timeout).await;
    println!("asked {forgotten:?}");
    println!("{:?}", hold.await?);
    Ok(())
}
