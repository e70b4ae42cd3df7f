use conclib::prelude::*;

#[derive(Actor)]
struct ExampleActor;

#[handlers(urn = "example")]
impl ExampleActor {}

fn main() {}
