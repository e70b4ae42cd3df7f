use conclib::prelude::*;

#[derive(ActorMessage, Serialize, Deserialize)]
struct Beat;

#[derive(Actor)]
struct ExampleActor;

macro_rules! beat {
    () => {
        #[handler]
        fn beat(&mut self, _: Beat) {}
    };
}

#[handlers]
impl ExampleActor {
    beat!();
}

fn main() {}
