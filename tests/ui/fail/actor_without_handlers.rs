use conclib::prelude::*;

#[derive(Actor)]
struct ExampleActor;

fn main() {}
