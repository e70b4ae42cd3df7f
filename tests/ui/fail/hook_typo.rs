use conclib::prelude::*;

#[derive(ActorMessage, Serialize, Deserialize)]
struct Beat;

#[derive(Actor)]
struct ExampleActor;

#[handlers]
impl ExampleActor {
    async fn on_strat(&mut self, ctx: &mut Context<Self>) {
        ctx.stop();
    }

    fn on_shutdown(&self) {}
}

fn main() {}
