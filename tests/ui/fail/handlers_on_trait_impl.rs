use conclib::prelude::*;

#[derive(ActorMessage, Serialize, Deserialize)]
struct Beat;

struct ExampleActor;

trait Beating {
    fn beat(&mut self, message: Beat);
}

#[handlers]
impl Beating for ExampleActor {
    #[handler]
    fn beat(&mut self, _: Beat) {}
}

fn main() {}
