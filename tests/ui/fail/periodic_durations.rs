use conclib::prelude::*;

#[derive(ActorMessage, Serialize, Deserialize)]
struct Beat;

#[derive(Actor)]
#[periodic(tick = Beat, every = "often")]
#[periodic(tick = Beat, every = "0s")]
#[periodic(tick = Beat, every = 500)]
#[periodic(tick = Beat, every = "1s", jitter = "5")]
struct ExampleActor;

#[handlers]
impl ExampleActor {
    #[handler]
    fn beat(&mut self, _: Beat) {}
}

fn main() {}
