//! A raw handler: it takes requests from outside undecoded, looks at their names, and answers
//! them itself. It returns unknown ones as `UnexpectedMessage`, and the asker gets that error.

use conclib::prelude::*;
use messages::{Double, Doubled, Withdraw};

#[derive(ActorMessage, Serialize, Deserialize)]
struct Unknown;

#[derive(Actor)]
#[actor(urn = "bank")]
struct Bank {
    balance: u64,
}

#[handlers]
impl Bank {
    #[handler]
    async fn receive(&mut self, envelope: RequestEnvelope) -> Result<(), UnexpectedMessage> {
        println!(
            "bank:    {} ({} bytes)",
            envelope.message(),
            envelope.contents().len()
        );
        if envelope.matches::<Double>() {
            let message: Double = envelope.extract()?;
            envelope.respond(Doubled {
                n: u64::from(message.n) * 2,
            });
        } else if envelope.matches::<Withdraw>() {
            let message: Withdraw = envelope.extract()?;
            envelope.respond(message.take_from(&mut self.balance));
        } else {
            return Err(envelope.unexpected());
        }
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = Config::memory();
    let system = ActorSystem::new();
    system.spawn(Bank { balance: 1_000 }).await?;
    start_proxy(&system, &config).await?;

    let client = ProxyClient::connect(&config).await?;
    println!("client:  {:?}", client.ask("bank", Double { n: 4 }).await?);
    for cents in [700, 700] {
        println!(
            "client:  {:?}",
            client.ask("bank", Withdraw { cents }).await?
        );
    }
    if let Err(error) = client.ask("bank", Unknown).await {
        println!("client:  {error}");
    }
    system.shutdown().await;
    Ok(())
}
