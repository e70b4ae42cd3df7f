use conclib::handler as on_message;
use conclib::prelude::*;

#[derive(ActorMessage, Serialize, Deserialize)]
struct Beat;

#[derive(Actor)]
struct ExampleActor;

#[handlers]
impl ExampleActor {
    #[on_message]
    fn beat(&mut self, _: Beat) {}
}

fn main() {}
