use conclib::prelude::*;

#[derive(ActorMessage, Serialize, Deserialize)]
struct Beat;

#[derive(Actor)]
struct ExampleActor;

#[handlers]
impl ExampleActor {
    #[handler]
    fn absent(_: Beat) {}

    #[handler]
    fn by_value(self, _: Beat) {}

    #[handler]
    fn boxed(self: Box<Self>, _: Beat) {}
}

fn main() {}
