//! The attributes of a message, which travel with its reply.

use std::mem;
use std::sync::Arc;

use super::incoming::Incoming;
use super::{Reply, Target};
use crate::error::AskError;
use crate::message::attributes::Attributes;

impl<R: Send + 'static> Reply<R> {
    /// The attributes of the message, like [`Context::attributes`](crate::Context::attributes): for code
    /// that answers later, and for implementations of
    /// [`Handlers::dispatch`](crate::actor::Handlers::dispatch) by hand.
    ///
    /// ```
    /// use conclib::prelude::*;
    ///
    /// #[derive(ActorMessage)]
    /// #[message(local, response = String)]
    /// struct Greet;
    ///
    /// #[derive(Actor)]
    /// struct Host;
    ///
    /// #[handlers]
    /// impl Host {
    ///     #[handler]
    ///     fn greet(&mut self, _: Greet, reply: Reply<String>) {
    ///         tokio::spawn(async move {
    ///             let guest = reply.attributes().get("guest").unwrap_or("stranger").to_owned();
    ///             reply.send(guest);
    ///         });
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let system = ActorSystem::new();
    /// let host = system.spawn(Host).await?;
    /// assert_eq!(host.ask(Greet).attribute("guest", "Ada").await?, "Ada");
    /// assert_eq!(host.ask(Greet).await?, "stranger");
    /// # Ok(()) }
    /// ```
    pub fn attributes(&self) -> &Attributes {
        match &self.target {
            Target::None => Attributes::none(),
            Target::WithAttributes(attributes) => attributes,
            Target::Local(sender) => sender
                .slot()
                .map_or(Attributes::none(), Incoming::attributes),
            Target::Remote { responder, .. } => responder.attributes(),
        }
    }

    /// Adds attributes to a message that is not sent yet.
    ///
    /// # Errors
    ///
    /// The error of a message that has too many.
    pub(crate) fn add_attributes<K: Into<String>, V: Into<String>>(
        &mut self,
        attributes: impl IntoIterator<Item = (K, V)>,
    ) -> Result<(), AskError> {
        let mut attributes = attributes.into_iter().peekable();
        if attributes.peek().is_none() {
            return Ok(());
        }
        let mut shared = self.take_attributes().unwrap_or_default();
        let own = Arc::make_mut(&mut shared);
        own.extend(attributes);
        let checked = own.check();
        self.target = Target::WithAttributes(shared);
        checked
    }

    /// Takes the attributes of an ask that is about to be sent.
    #[inline]
    pub(crate) fn take_attributes(&mut self) -> Option<Arc<Attributes>> {
        let Target::WithAttributes(attributes) = &mut self.target else {
            return None;
        };
        Some(mem::take(attributes))
    }
}
