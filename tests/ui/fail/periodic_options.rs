use conclib::prelude::*;

#[derive(ActorMessage, Serialize, Deserialize)]
struct Beat;

#[derive(Actor)]
#[periodic(tick = Beat)]
#[periodic(every = "1s")]
#[periodic(tick = Beat, every = "1s", first = "later")]
#[periodic(tick = Beat, every = "1s", missed = "drop")]
#[periodic(tick = Beat, every = "1s", each = "2s")]
#[periodic(tick = Beat, every = "1s", every = "2s")]
struct ExampleActor;

#[handlers]
impl ExampleActor {
    #[handler]
    fn beat(&mut self, _: Beat) {}
}

fn main() {}
