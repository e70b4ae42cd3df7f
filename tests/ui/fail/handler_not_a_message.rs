use conclib::prelude::*;

#[derive(ActorMessage, Serialize, Deserialize)]
struct Beat;

#[derive(Actor)]
struct ExampleActor;

struct Count(u32);

#[handlers]
impl ExampleActor {
    #[handler]
    fn count(&mut self, _: Count) {}
}

fn main() {}
