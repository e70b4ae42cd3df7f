use conclib::prelude::*;

#[derive(Actor)]
struct ExampleActor {
    shared: std::rc::Rc<u32>,
}

#[handlers]
impl ExampleActor {}

fn main() {}
