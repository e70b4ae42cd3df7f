use conclib::prelude::*;

#[derive(Serialize, Deserialize)]
struct Receipt;

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(response = Result<Receipt, Failure>)]
struct Charge;

fn main() {}
