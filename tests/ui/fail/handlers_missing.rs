use conclib::prelude::*;

#[derive(ActorMessage, Serialize, Deserialize)]
struct Beat;

#[derive(Actor)]
struct ExampleActor;

impl ExampleActor {
    #[handler]
    fn beat(&mut self, _: Beat) {}
}

fn main() {}
