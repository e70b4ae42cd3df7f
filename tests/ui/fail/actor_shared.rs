use conclib::prelude::*;

#[derive(Actor)]
#[actor(urn = "a", shared, private)]
struct Both;

#[derive(Actor)]
#[actor(urn = "b", shared = true)]
struct Value;

#[handlers]
impl Both {}
#[handlers]
impl Value {}

fn main() {}
