//! The messages that members and the web process share.

use conclib::prelude::*;

/// Asks for the square of a number, which takes its actor 2 ms.
#[derive(ActorMessage, Serialize, Deserialize, Debug)]
#[message(response = Square)]
pub struct GetSquare {
    /// The number to be squared.
    pub n: u64,
}

/// The answer to [`GetSquare`].
#[derive(Serialize, Deserialize, Debug)]
pub struct Square {
    /// The square.
    pub square: u64,
    /// The member whose actor has answered.
    pub member: String,
}
