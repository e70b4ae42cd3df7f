//! The frames of the bus, as a peer without the library writes them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf, Bytes};

/// The version of the protocol.
pub const VERSION: u8 = 1;

/// The client of a raw request.
pub const CLIENT: [u8; 16] = [0xab; 16];

/// The key of the inbox of an epoch.
pub fn inbox(epoch: u64) -> String {
    format!("conclib:{{n:main}}:inbox:{epoch}")
}

/// A request, in the form of the wire.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Request {
    /// The version of the protocol.
    pub version: u8,
    /// 0 for an ask, 1 for a tell, 2 for a cancellation, 3 for a wake, 4 for a confirmation.
    pub kind: u8,
    /// The number of the request.
    pub id: u64,
    /// The client, which listens on the channel with its name.
    pub client: ByteArray<16>,
    /// The URN of the actor.
    pub urn: String,
    /// The name of the message.
    pub message: String,
    /// The deadline, on Redis' clock in ms.
    pub deadline: u64,
    /// The attributes.
    pub attributes: BTreeMap<String, String>,
    /// The encoded message.
    pub contents: ByteBuf,
}

impl Request {
    /// A request to the worker to double a number, without a deadline.
    pub fn double(id: u64, n: u32) -> Self {
        Self {
            version: VERSION,
            kind: 0,
            id,
            client: ByteArray::new(CLIENT),
            urn: "worker".to_owned(),
            message: "Double".to_owned(),
            deadline: u64::MAX,
            attributes: BTreeMap::new(),
            contents: contents("n", n),
        }
    }

    /// A request of a made-up client.
    pub fn made_up(number: u64) -> Self {
        let mut client = [0xee; 16];
        client[..8].copy_from_slice(&number.to_be_bytes());
        Self {
            client: ByteArray::new(client),
            ..Self::double(1, 1)
        }
    }

    /// The frame of this request.
    ///
    /// # Panics
    ///
    /// Never: its fields can be encoded.
    pub fn frame(&self) -> Vec<u8> {
        rmp_serde::to_vec(self).expect("fields that can be encoded")
    }
}

/// The contents of a message with one field.
///
/// # Panics
///
/// If the value cannot be encoded.
pub fn contents(field: &str, value: impl Serialize) -> ByteBuf {
    let encoded = rmp_serde::to_vec(&BTreeMap::from([(field, value)]));
    ByteBuf::from(encoded.expect("a value that can be encoded"))
}

/// A frame of one answer.
///
/// # Panics
///
/// Never: its fields can be encoded.
pub fn reply(epoch: u64, id: u64, status: u8, contents: &[u8]) -> Vec<u8> {
    let nothing = BTreeMap::<String, String>::new();
    let answer = (id, status, "", nothing, Bytes::new(contents));
    rmp_serde::to_vec(&(VERSION, epoch, [answer])).expect("fields that can be encoded")
}
