use conclib::prelude::*;

#[derive(ActorMessage, Serialize, Deserialize)]
struct Beat;

#[derive(Actor)]
#[periodic(tick = Beat, every = "500ms")]
struct ExampleActor<T>(T);

#[handlers]
impl<T: Send + 'static> ExampleActor<T> {}

fn main() {
    let system = ActorSystem::new();
    drop(system.spawn(ExampleActor(1_u8)));
}
