use conclib::prelude::*;

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(crate = "conclib")]
struct Quoted;

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(crate)]
struct Nothing;

#[derive(Actor)]
#[actor(crate = conclib::, urn = "a")]
struct Half;

#[handlers(crate = 5)]
impl Half {}

#[derive(Actor)]
#[actor(crate = conclib, crate = conclib)]
struct Twice;

#[handlers]
impl Twice {}

fn main() {}
