use conclib::prelude::*;

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(name = "Set<{V}>")]
struct Set<T, const N: usize>(T);

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(name = "Flag<{YES}>")]
struct Flag<const YES: bool>;

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(name = "{Plain}")]
struct Plain;

fn main() {}
