//! The messages that a system's actors handle, with their fields.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::core::SystemCore;
use crate::message::MessageSchema;
use crate::system::ActorSystem;

/// A message that actors of a system handle, by [`ActorSystem::schemas`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct HandledMessage {
    /// Its name on the wire.
    pub message: Cow<'static, str>,
    /// Its fields and its response, as [`MessageSchema`] has them; `None` if its type does not say.
    pub schema: Option<Cow<'static, str>>,
    /// The actor types that handle it, by the names of the Rust types.
    pub actor_types: Vec<Cow<'static, str>>,
}

impl HandledMessage {
    /// The hash of the schema, as [`MessageSchema::fingerprint`] has it.
    pub fn fingerprint(&self) -> Option<u64> {
        self.schema.as_deref().map(MessageSchema::fingerprint_of)
    }

    /// The messages that the actors of a system handle, in the order of their names.
    pub(crate) fn all(core: &SystemCore) -> Vec<Self> {
        let mut handled: BTreeMap<_, Vec<Cow<'static, str>>> = BTreeMap::new();
        for of_type in core.types() {
            for (message, schema) in of_type.messages() {
                let schema = schema.map(MessageSchema::line);
                let actor_types = handled.entry((message, schema)).or_default();
                actor_types.push(of_type.name.into());
            }
        }
        let messages = handled.into_iter();
        messages
            .map(|((message, schema), mut actor_types)| {
                actor_types.sort_unstable();
                HandledMessage {
                    message: message.into(),
                    schema: schema.map(Cow::from),
                    actor_types,
                }
            })
            .collect()
    }
}

impl ActorSystem {
    /// The messages from other processes that the actors of this system handle, by name: of each type that was spawned. Raw
    /// handlers, which take any name, are left out. Messages of one name whose types differ are listed apart.
    ///
    /// ```
    /// use conclib::prelude::*;
    ///
    /// #[derive(ActorMessage, Serialize, Deserialize)]
    /// #[message(response = u64)]
    /// struct Double { n: u32 }
    ///
    /// #[derive(Actor)]
    /// struct Doubler;
    ///
    /// #[handlers]
    /// impl Doubler {
    ///     #[handler]
    ///     fn double(&mut self, Double { n }: Double) -> u64 { u64::from(n) * 2 }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let system = ActorSystem::new();
    /// system.spawn(Doubler).await?;
    /// let schemas = system.schemas();
    /// assert_eq!(schemas[0].message, "Double");
    /// assert_eq!(schemas[0].schema.as_deref(), Some("Double { n: u32 } -> u64"));
    /// # Ok(()) }
    /// ```
    pub fn schemas(&self) -> Vec<HandledMessage> {
        HandledMessage::all(self.core())
    }
}
