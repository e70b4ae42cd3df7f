use conclib::prelude::*;

#[derive(ActorMessage)]
#[message(local)]
union Bits {
    int: u32,
    float: f32,
}

fn main() {}
