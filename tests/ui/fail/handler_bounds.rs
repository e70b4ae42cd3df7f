use conclib::prelude::*;

#[derive(ActorMessage)]
#[message(local)]
struct Show<T>(T);

#[derive(ActorMessage)]
#[message(local)]
struct Hide;

#[derive(Actor)]
struct ExampleActor<T>(T);

#[handlers]
impl<T: Send + 'static> ExampleActor<T> {
    fn on_start(&mut self)
    where
        T: Default,
    {
    }

    #[handler]
    fn show(&mut self, _: Show<T>)
    where
        T: std::fmt::Display + Clone,
    {
    }

    #[handler]
    fn hide(&mut self, _: Hide)
    where
        Self: Clone,
    {
    }
}

fn main() {}
