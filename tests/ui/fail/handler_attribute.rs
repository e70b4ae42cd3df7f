use conclib::prelude::*;

#[derive(ActorMessage, Serialize, Deserialize)]
struct Beat;

#[derive(Actor)]
struct ExampleActor;

#[derive(ActorMessage, Serialize, Deserialize)]
struct Stop;

#[derive(ActorMessage, Serialize, Deserialize)]
struct Flush;

#[handlers]
impl ExampleActor {
    #[handler(urgent)]
    fn with_arguments(&mut self, _: Beat) {}

    #[handler = "beat"]
    fn with_value(&mut self, _: Stop) {}

    #[handler]
    #[handler]
    fn twice(&mut self, _: Flush) {}
}

fn main() {}
