use conclib::prelude::*;

#[derive(ActorMessage)]
#[message(local)]
struct Local<'a: 'static>(&'a str);

#[derive(ActorMessage)]
#[message(local)]
struct Wrapped<T>(T);

#[derive(Actor)]
struct ExampleActor;

#[handlers]
impl ExampleActor {
    #[handler]
    fn elided(&mut self, _: Local<'_>) {}

    #[handler]
    fn named<'a>(&mut self, _: Wrapped<Option<Local<'a>>>) {}

    #[handler]
    fn reference(&mut self, _: Wrapped<&str>) {}
}

fn main() {}
