//! The messages of the test actors.

use conclib::prelude::*;
use serde_bytes::ByteBuf;

/// Asks for twice the number.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone, Copy)]
#[message(response = u32)]
pub struct Double {
    /// The number.
    pub n: u32,
}

/// Adds a number to the list.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone, Copy)]
pub struct Record {
    /// The number.
    pub n: u32,
}

/// Asks for the list.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone, Copy)]
#[message(response = Vec<u32>)]
pub struct Recorded;

/// Takes money, if there is enough; says what is left.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone, Copy)]
#[message(response = Result<u64, Declined>)]
pub struct Withdraw {
    /// How much.
    pub cents: u64,
}

/// There is not enough money.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
pub struct Declined {
    /// How much is missing.
    pub missing: u64,
}

/// Asks for a response of that size.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone, Copy)]
#[message(response = ByteBuf)]
pub struct Fill {
    /// The size.
    pub bytes: usize,
}

/// Brings bytes; asks how many there were.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone)]
#[message(response = usize)]
pub struct Carry {
    /// The bytes.
    pub bytes: ByteBuf,
}

/// The answer comes with [`Release`].
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone, Copy)]
#[message(response = u32)]
pub struct Hold;

/// Answers all that were held, with this number; says how many.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone, Copy)]
#[message(response = usize)]
pub struct Release {
    /// The answer.
    pub n: u32,
}

/// Nobody ever answers this; the handler lets the reply go.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone, Copy)]
pub struct Forget;

/// The handler panics.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone, Copy)]
pub struct Explode;

/// The handler waits until it is let go on.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone, Copy)]
#[message(response = u32)]
pub struct Pass {
    /// Comes back.
    pub n: u32,
}

/// Stays in its process.
#[derive(ActorMessage, Debug)]
#[message(local, response = u32)]
pub struct Secret;

/// Asks for the attributes that came along, as `name=value`, with commas between.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone, Copy)]
#[message(response = String)]
pub struct Trace;

/// No actor handles it.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone, Copy)]
pub struct Stranger;
