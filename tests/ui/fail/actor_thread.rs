use conclib::prelude::*;

#[derive(Actor)]
#[actor(urn = "a", thread = true)]
struct Value;

#[derive(Actor)]
#[actor(thread, mailbox = 5, thread)]
struct Twice;

#[handlers]
impl Value {}
#[handlers]
impl Twice {}

fn main() {}
