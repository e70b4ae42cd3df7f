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

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(retry = "10s")]
struct RetryWithoutDurable;

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(durable, retry = "often")]
struct RetryIsNoDuration;

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(durable, retry = "5m..1s")]
struct RetryIsReversed;

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(durable, retry = "1h..25h")]
struct RetryIsTooLong;

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(durable, retry = 10)]
struct RetryIsANumber;

fn main() {}
