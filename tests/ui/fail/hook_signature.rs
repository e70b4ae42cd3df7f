use conclib::prelude::*;

#[derive(ActorMessage, Serialize, Deserialize)]
struct Beat;

#[derive(Actor)]
struct ExampleActor;

#[handlers]
impl ExampleActor {
    fn on_start(&mut self, _reason: &StopReason) {}

    async fn on_stop(&mut self, _ctx: &mut Context<Self>, _reason: StopReason) {}

    fn on_failure(_failure: &Failure) {}
}

fn main() {}
