use conclib::prelude::*;

#[derive(ActorMessage, Serialize, Deserialize)]
struct Beat;

#[derive(Actor)]
struct ExampleActor;

#[handlers]
impl ExampleActor {
    #[handler]
    fn beat(&mut self, _: Beat) {}
}

#[handlers]
impl ExampleActor {}

fn main() {}
