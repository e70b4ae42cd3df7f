use conclib::prelude::*;

#[derive(Serialize, Deserialize)]
struct Color;

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(name = "Set<{T}>")]
struct Set<T>(T);

#[derive(Actor)]
struct ExampleActor;

#[handlers]
impl ExampleActor {
    #[handler]
    fn set(&mut self, _: Set<Color>) {}
}

fn main() {}
