//! The only method of a block lacks `#[handler]`.

use conclib::prelude::*;

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(response = u32)]
struct Ping(u32);

#[derive(Actor)]
struct Echo;

#[handlers]
impl Echo {
    async fn ping(&mut self, message: Ping) -> u32 {
        message.0
    }
}

async fn ask(system: &ActorSystem) -> Result<u32, Failure> {
    let echo = system.spawn(Echo).await?;
    echo.tell(Ping(1)).await?;
    let recipient: Recipient<Ping> = echo.recipient();
    drop(recipient);
    Ok(echo.ask(Ping(2)).await?)
}

fn main() {}
