//! The messages that both processes share.

use conclib::prelude::*;

/// Asks for a greeting.
#[derive(ActorMessage, Serialize, Deserialize, Debug)]
#[message(response = Greeting)]
pub struct Greet {
    pub name: String,
}

/// The greeter's answer.
#[derive(Serialize, Deserialize, Debug)]
pub struct Greeting {
    pub text: String,
    /// How many greetings this greeter has given.
    pub count: u64,
    /// The process id of the worker.
    pub worker: u32,
}
