use conclib::prelude::*;

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(name = "")]
struct Empty;

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(name = "two words")]
struct TwoWords;

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(name = 5)]
struct Number;

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(name = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx")]
struct TooLong;

fn main() {}
