use conclib::prelude::*;

#[derive(Actor)]
#[actor(name = "example")]
struct Unknown;

#[derive(Actor)]
#[actor(urn = "a", urn = "b")]
struct Twice;

#[handlers]
impl Unknown {}
#[handlers]
impl Twice {}

fn main() {}
