use conclib::prelude::*;

#[derive(ActorMessage, Serialize, Deserialize)]
struct Beat;

#[derive(Actor)]
struct ExampleActor;

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(response = u32)]
struct Double(u32);

#[handlers]
impl ExampleActor {
    #[handler]
    fn double(&mut self, message: Double) -> u32 {
        message.0 * 2
    }
}

async fn tell(actor: conclib::ActorRef<ExampleActor>) {
    let _ = actor.tell(Beat).await;
}

async fn ask(actor: conclib::ActorRef<ExampleActor>) {
    let _ = actor.ask(Beat).await;
}

async fn not_a_message(actor: conclib::ActorRef<ExampleActor>) {
    let _ = actor.tell(5).await;
}

fn main() {}
