use conclib::prelude::*;

#[derive(ActorMessage, Serialize, Deserialize)]
struct Beat;

#[derive(Actor)]
struct ExampleActor;

#[handlers]
impl ExampleActor {
    #[handler]
    fn second_message(&mut self, _: Beat, _: Beat) {}

    #[handler]
    fn second_context(&mut self, _: Beat, _ctx: &mut Context<Self>, _again: &mut Context<Self>) {}

    #[handler]
    fn shared_context(&mut self, _: Beat, _ctx: &Context<Self>) {}

    #[handler]
    fn with_reason(&mut self, _: Beat, _reason: &StopReason) {}
}

fn main() {}
