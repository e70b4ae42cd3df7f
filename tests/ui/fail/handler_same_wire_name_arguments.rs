use conclib::prelude::*;

#[derive(ActorMessage, Serialize, Deserialize)]
struct Set<T>(T);

#[derive(Actor)]
struct ExampleActor;

#[handlers]
impl ExampleActor {
    #[handler]
    fn number(&mut self, _: Set<u32>) {}

    #[handler]
    fn text(&mut self, _: Set<String>) {}
}

fn main() {}
