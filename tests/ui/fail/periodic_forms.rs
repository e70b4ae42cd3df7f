use conclib::prelude::*;

#[derive(ActorMessage, Serialize, Deserialize)]
struct Beat;

impl Beat {
    const DEFAULT: Self = Self;

    fn new() -> Self {
        Self
    }
}

#[derive(Actor)]
#[periodic(tick = Beat::new(), every = "1s")]
#[periodic(tick = Beat::DEFAULT, every = "1s")]
#[periodic(tick = || Beat, every = "1s")]
#[periodic(tick = "Beat", every = "1s")]
struct ExampleActor;

#[handlers]
impl ExampleActor {
    #[handler]
    fn beat(&mut self, _: Beat) {}
}

fn main() {}
