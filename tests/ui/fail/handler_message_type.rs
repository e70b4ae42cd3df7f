use conclib::prelude::*;

#[derive(ActorMessage, Serialize, Deserialize)]
struct Beat;

#[derive(Actor)]
struct ExampleActor;

#[handlers]
impl ExampleActor {
    #[handler]
    fn any(&mut self, _: impl ActorMessage) {}

    #[handler]
    fn borrowed(&mut self, _: &Beat) {}
}

fn main() {}
