use conclib::prelude::*;

#[derive(ActorMessage, Serialize, Deserialize)]
struct Beat;

#[derive(Actor)]
struct ExampleActor;

mod drums {
    use conclib::prelude::*;

    #[derive(ActorMessage, Serialize, Deserialize)]
    pub struct Beat;
}

mod local {
    use conclib::prelude::*;

    #[derive(ActorMessage)]
    #[message(local)]
    pub struct Beat;
}

#[handlers]
impl ExampleActor {
    #[handler]
    fn beat(&mut self, _: Beat) {}

    #[handler]
    fn drum(&mut self, _: drums::Beat) {}

    // Stays in the process, so its name does not matter.
    #[handler]
    fn local(&mut self, _: local::Beat) {}
}

fn main() {}
