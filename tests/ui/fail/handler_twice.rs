use conclib::prelude::*;

#[derive(ActorMessage, Serialize, Deserialize)]
struct Beat;

#[derive(Actor)]
struct ExampleActor;

#[handlers]
impl ExampleActor {
    #[handler]
    fn beat(&mut self, _: Beat) {}

    #[handler]
    fn beat_again(&mut self, _: Beat) {}
}

fn main() {}
