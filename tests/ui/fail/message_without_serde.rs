use conclib::prelude::*;

#[derive(ActorMessage)]
struct Double {
    n: u32,
}

#[derive(ActorMessage, Serialize)]
struct Half;

fn main() {}
