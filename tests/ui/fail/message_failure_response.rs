use conclib::prelude::*;

#[derive(Serialize, Deserialize)]
struct Receipt;

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(response = Result<Receipt, Failure>)]
struct Charge;

#[derive(ActorMessage)]
#[message(local, response = Result<Receipt, conclib::Failure>)]
struct Refund;

type Broken<T> = Result<T, Failure>;

#[derive(ActorMessage)]
#[message(local, response = Broken<u32>)]
struct Count;

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(response = Result<T, Failure>)]
struct Quote<T>(T);

fn main() {}
