use conclib::prelude::*;

#[derive(ActorMessage, Serialize, Deserialize)]
struct Beat;

#[derive(Actor)]
struct ExampleActor;

#[handlers]
impl ExampleActor {
    #[handler]
    fn raw(&mut self, _: RequestEnvelope, _reply: Reply<u32>) {}
}

fn main() {}
