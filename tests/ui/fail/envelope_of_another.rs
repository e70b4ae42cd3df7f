use conclib::{handlers, Actor, ActorMessage};

#[derive(ActorMessage)]
#[message(local)]
struct RequestEnvelope;

#[derive(Actor)]
struct ExampleActor;

#[handlers]
impl ExampleActor {
    #[handler]
    fn letter(&mut self, _: RequestEnvelope) {}
}

fn main() {}
