use conclib::prelude::*;
use conclib::ActorRef;

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(response = u32)]
struct Double(u32);

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(response = u32)]
struct Half(u32);

#[derive(ActorMessage)]
#[message(local, response = u32)]
struct Local(u32);

struct NoMessage(u32);

#[derive(Actor)]
struct ExampleActor;

#[handlers]
impl ExampleActor {
    #[handler]
    fn double(&mut self, message: Double) -> u32 {
        message.0 * 2
    }
}

async fn no_handler(actor: ActorRef<ExampleActor>) -> Result<u32, AskError> {
    Ok(actor.ask(Half(1)).await?)
}

async fn no_message(actor: ActorRef<ExampleActor>) -> Result<u32, AskError> {
    Ok(actor.ask(NoMessage(1)).await?)
}

async fn local(client: ProxyClient) -> Result<u32, AskError> {
    Ok(client.ask("example", Local(1)).await?)
}

async fn tell_local(client: ProxyClient) {
    client.tell("example", Local(1)).await.unwrap();
}

async fn no_message_from_outside(client: ProxyClient) -> Result<u32, AskError> {
    Ok(client.ask("example", NoMessage(1)).await?)
}

fn main() {}
