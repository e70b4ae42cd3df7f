//! Messages of the test actors, within the process and over the bus.

use conclib::prelude::*;
use serde_bytes::ByteBuf;

use crate::Gate;

/// Answered with 1, or any other number.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[message(response = u32)]
pub struct Ping;

/// A regular tick.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone, Copy)]
pub struct Beat;

/// A text to be logged.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub struct Note(pub String);

/// A [`Note`].
pub fn note(text: impl Into<String>) -> Note {
    Note(text.into())
}

/// Keeps the handler busy until the test opens the gate.
#[derive(ActorMessage, Debug)]
#[message(local)]
pub struct Pass(pub Gate);

/// Asks for twice the number.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[message(response = u32)]
pub struct Double {
    /// The number.
    pub n: u32,
}

/// Appends a number to the worker's list.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone, Copy)]
pub struct Record {
    /// The number.
    pub n: u32,
}

/// Asks for the list.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone, Copy)]
#[message(response = Vec<u32>)]
pub struct Recorded;

/// Withdraws money, if there is enough; the answer is the new balance.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone, Copy)]
#[message(response = Result<u64, Declined>)]
pub struct Withdraw {
    /// The amount.
    pub cents: u64,
}

/// There is not enough money.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
pub struct Declined {
    /// The missing amount.
    pub missing: u64,
}

/// Asks for a response of this size.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone, Copy)]
#[message(response = ByteBuf)]
pub struct Fill {
    /// The size.
    pub bytes: usize,
}

/// Carries bytes; the answer is their number.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone)]
#[message(response = usize)]
pub struct Carry {
    /// The bytes.
    pub bytes: ByteBuf,
}

/// Answered by [`Release`].
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone, Copy)]
#[message(response = u32)]
pub struct Hold;

/// Answers all held requests with a number; the answer is their count.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone, Copy)]
#[message(response = usize)]
pub struct Release {
    /// The number.
    pub n: u32,
}

/// Never answered: the handler drops its reply.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone, Copy)]
pub struct Forget;

/// The handler returns an error.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone, Copy)]
pub struct Fail;

/// The handler panics.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone, Copy)]
pub struct Explode;

/// Held by a [`GatedActor`](crate::actors::GatedActor) until the test admits it.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone, Copy)]
#[message(response = u32)]
pub struct Enter {
    /// The answer.
    pub n: u32,
}

/// A message that stays in its process.
#[derive(ActorMessage, Debug)]
#[message(local, response = u32)]
pub struct Secret;

/// Asks for the attributes of the request, as `name=value`, separated by commas.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone, Copy)]
#[message(response = String)]
pub struct Trace;

/// A message that no actor handles.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone, Copy)]
pub struct Stranger;
