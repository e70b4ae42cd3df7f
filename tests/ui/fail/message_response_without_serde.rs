use conclib::prelude::*;

struct Doubled;

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(response = Doubled)]
struct Double;

fn main() {}
