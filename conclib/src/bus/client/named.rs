//! Asks and tells of messages by their names, without their types.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bus::client::{ProxyClient, RemoteAsk, RemoteTell};
use crate::envelope::PING;
use crate::message::NamedMessage;

impl ProxyClient {
    /// Asks an actor with a message whose type is not in this program: `name` is its name on the wire, and
    /// `message` anything with its fields. For tools and gateways; programs have the types of their messages.
    ///
    /// The response is read as an `R`. Whether a message is durable is part of its type, and not known
    /// here: [`RemoteAsk::durable`] says it.
    ///
    /// ```
    /// use conclib::prelude::*;
    /// use std::collections::BTreeMap;
    ///
    /// # #[derive(ActorMessage, Serialize, Deserialize)]
    /// # #[message(response = u32)]
    /// # struct Double { n: u32 }
    /// # #[derive(Actor)]
    /// # #[actor(urn = "doubler")]
    /// # struct Doubler;
    /// # #[handlers]
    /// # impl Doubler {
    /// #     #[handler]
    /// #     fn double(&mut self, message: Double) -> u32 { message.n * 2 }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (config, system) = (Config::memory(), ActorSystem::new());
    /// # system.spawn(Doubler).await?;
    /// # start_proxy(&system, &config).await?;
    /// # let client = ProxyClient::connect(&config).await?;
    /// let message = BTreeMap::from([("n", 21)]);
    /// let doubled: u32 = client.ask_named("doubler", "Double", &message).await?;
    /// assert_eq!(doubled, 42);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`ask`](Self::ask): [`BadRequest`](crate::AskError::BadRequest) also if the actor cannot read
    /// `message` as the type of that name.
    ///
    /// # Cancel safety
    ///
    /// As for [`ask`](Self::ask).
    pub fn ask_named<R: DeserializeOwned + Send + 'static>(
        &self,
        urn: impl AsRef<str>,
        name: impl Into<String>,
        message: &impl Serialize,
    ) -> RemoteAsk<NamedMessage<R>> {
        let message = NamedMessage::new(message);
        RemoteAsk::named(self.clone(), urn.as_ref(), name.into(), message)
    }

    /// Proves that an actor takes messages: the request waits in its mailbox for its turn, and is answered before
    /// any handler. So it takes as long as a message would wait. It starts an actor on
    /// [demand](crate::ActorSystem::on_demand), as any message does.
    ///
    /// ```
    /// use conclib::prelude::*;
    ///
    /// # #[derive(Actor)]
    /// # #[actor(urn = "doubler")]
    /// # struct Doubler;
    /// # #[handlers]
    /// # impl Doubler {}
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (config, system) = (Config::memory(), ActorSystem::new());
    /// # system.spawn(Doubler).await?;
    /// # start_proxy(&system, &config).await?;
    /// # let client = ProxyClient::connect(&config).await?;
    /// client.ping("doubler").await?;
    /// let missing = client.ping("missing").await;
    /// assert!(matches!(missing, Err(AskError::ActorNotFound { .. })));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`ask`](Self::ask). An actor of an earlier version of conclib answers with
    /// [`Unhandled`](crate::AskError::Unhandled) at its turn, and its raw handler gets the request.
    ///
    /// # Cancel safety
    ///
    /// As for [`ask`](Self::ask).
    pub fn ping(&self, urn: impl AsRef<str>) -> RemoteAsk<NamedMessage<()>> {
        self.ask_named(urn, PING, &())
    }

    /// Sends an actor a message whose type is not in this program: see [`ask_named`](Self::ask_named).
    ///
    /// # Errors
    ///
    /// As for [`tell`](Self::tell).
    ///
    /// # Cancel safety
    ///
    /// As for [`tell`](Self::tell).
    pub fn tell_named(
        &self,
        urn: impl AsRef<str>,
        name: impl Into<String>,
        message: &impl Serialize,
    ) -> RemoteTell<NamedMessage<()>> {
        let message = NamedMessage::new(message);
        RemoteTell::named(self.clone(), urn.as_ref(), name.into(), message)
    }
}
