//! A client process: `asking_process <redis url>` asks the actor `holder`, which does not
//! answer, prints `asked` once the actor has the request, and waits.

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
    // Requests of one client arrive in order: an answer to this one proves that the other arrived.
    let forgotten = client.ask("holder", Forget).timeout(timeout).await;
    println!("asked {forgotten:?}");
    println!("{:?}", hold.await?);
    Ok(())
}
