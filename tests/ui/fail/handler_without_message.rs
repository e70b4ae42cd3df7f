use conclib::prelude::*;

#[derive(ActorMessage, Serialize, Deserialize)]
struct Beat;

#[derive(Actor)]
struct ExampleActor;

#[handlers]
impl ExampleActor {
    #[handler]
    async fn nothing(&mut self) {}

    #[handler]
    async fn context_only(&mut self, _ctx: &mut Context<Self>) {}

    #[handler]
    async fn reply_first(&mut self, _reply: Reply<()>, _: Beat) {}
}

fn main() {}
