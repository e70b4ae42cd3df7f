use conclib::prelude::*;

#[derive(Actor)]
#[actor(urn = "a", private = true)]
struct Value;

#[derive(Actor)]
#[actor(private(yes), urn = "b")]
struct List;

#[derive(Actor)]
#[actor(private, mailbox = 5, private)]
struct Twice;

#[derive(Actor)]
#[actor(private = "from the bus")]
struct Text;

#[handlers]
impl Value {}
#[handlers]
impl List {}
#[handlers]
impl Twice {}
#[handlers]
impl Text {}

fn main() {}
