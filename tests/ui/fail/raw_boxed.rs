use conclib::prelude::*;

#[derive(ActorMessage, Serialize, Deserialize)]
struct Beat;

#[derive(Actor)]
struct ExampleActor;

#[handlers]
impl ExampleActor {
    #[handler]
    fn raw(&mut self, _: Box<RequestEnvelope>) {}

    #[handler]
    fn borrowed(&mut self, _: &RequestEnvelope) {}
}

fn main() {}
