use conclib::prelude::*;

#[derive(ActorMessage, Serialize, Deserialize)]
struct Beat;

#[derive(Actor)]
struct ExampleActor;

#[handlers]
impl ExampleActor {
    #[handler]
    fn first(&mut self, _: RequestEnvelope) {}

    #[handler]
    fn second(&mut self, _: RequestEnvelope) {}
}

fn main() {}
