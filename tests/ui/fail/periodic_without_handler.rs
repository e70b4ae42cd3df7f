use conclib::prelude::*;

#[derive(ActorMessage, Serialize, Deserialize)]
struct Beat;

#[derive(Actor)]
#[periodic(tick = Beat, every = "500ms")]
struct ExampleActor;

#[handlers]
impl ExampleActor {}

fn main() {}
