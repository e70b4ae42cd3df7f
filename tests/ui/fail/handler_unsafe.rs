use conclib::prelude::*;

#[derive(ActorMessage, Serialize, Deserialize)]
struct Beat;

#[derive(Actor)]
struct ExampleActor;

#[handlers]
impl ExampleActor {
    #[handler]
    unsafe fn beat(&mut self, _: Beat) {}

    #[handler]
    extern "C" fn call(&mut self, _: Beat) {}
}

fn main() {}
