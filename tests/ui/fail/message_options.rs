use conclib::prelude::*;

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(reply = u32)]
struct Unknown;

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(response = u32, response = u64)]
struct Twice;

#[derive(ActorMessage)]
#[message(local)]
#[message(local)]
struct TwiceInTwo;

#[derive(ActorMessage)]
#[message(local, name = "billing.Charge")]
struct LocalWithName;

#[derive(ActorMessage, Serialize, Deserialize)]
#[message]
struct Bare;

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(response)]
struct NoValue;

#[derive(ActorMessage)]
#[message(local, durable)]
struct LocalAndDurable;

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(durable, durable)]
struct TwiceDurable;

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(durable = true)]
struct DurableWithValue;

fn main() {}
