//! The fields of a message, as a line.

use std::fmt;

/// The fields of a message with their types, and its response: a line such as `Double { n: u32 } -> u64`.
///
/// `#[derive(ActorMessage)]` makes it of the type's declaration, for [`ActorMessage::SCHEMA`](crate::ActorMessage::SCHEMA).
/// Logs show it when a message or an answer does not decode, and [`ActorSystem::schemas`](crate::ActorSystem::schemas)
/// lists those of a system, so that two versions of a program can be compared. It costs no message anything.
///
/// ```
/// use conclib::message::MessageSchema;
/// use conclib::prelude::*;
///
/// #[derive(ActorMessage, Serialize, Deserialize)]
/// #[message(response = u64)]
/// struct Double {
///     n: u32,
///     #[serde(default)]
///     twice: bool,
/// }
///
/// const SCHEMA: MessageSchema = Double::SCHEMA.unwrap();
/// assert_eq!(SCHEMA.line(), "Double { n: u32, twice?: bool } -> u64");
/// assert_eq!(SCHEMA.fingerprint(), MessageSchema::fingerprint_of(SCHEMA.line()));
/// ```
///
/// The line has what serde writes: a field has the name of its `#[serde(rename = "…")]`, one with `#[serde(default)]` is marked
/// `?`, since it may be missing, one with `#[serde(skip)]` is left out, and other attributes of serde stand in front, as
/// written. Of a type in it, also of the response, it has the name and not the fields: the derive sees no other
/// declaration. So two lines that are equal may differ in such a type, and two that differ may understand each other;
/// [changing a message](crate::docs::changing_a_message) has the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MessageSchema {
    line: &'static str,
}

impl MessageSchema {
    /// A schema with this line, for a message whose [`ActorMessage`](crate::ActorMessage) is written by hand.
    pub const fn new(line: &'static str) -> Self {
        Self { line }
    }

    /// The line.
    pub const fn line(self) -> &'static str {
        self.line
    }

    /// A hash of the line: the same in each process.
    pub const fn fingerprint(self) -> u64 {
        Self::fingerprint_of(self.line)
    }

    /// The hash of a line.
    pub const fn fingerprint_of(line: &str) -> u64 {
        let bytes = line.as_bytes();
        let mut hash = 0xcbf2_9ce4_8422_2325_u64; // FNV-1a
        let mut place = 0;
        while place < bytes.len() {
            hash = (hash ^ bytes[place] as u64).wrapping_mul(0x0100_0000_01b3);
            place += 1;
        }
        hash
    }
}

impl fmt::Display for MessageSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.line)
    }
}
