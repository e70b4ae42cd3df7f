use conclib::prelude::*;

#[derive(ActorMessage, Serialize, Deserialize)]
struct Beat;

#[derive(Actor)]
struct ExampleActor;

#[handlers]
impl ExampleActor {
    #[handler]
    fn any<M: ActorMessage>(&mut self, _: M) {}

    #[handler]
    fn sized<const N: usize>(&mut self, _: Beat) {}
}

fn main() {}
