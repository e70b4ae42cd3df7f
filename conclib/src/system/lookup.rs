//! Lookup of actors by URN, and asks and tells by URN.

use std::sync::Arc;

use super::ActorSystem;
use crate::actor::any::AnyActor;
use crate::actor::cell::ActorCell;
use crate::actor::{Actor, ActorRef, Ask, Recipient, Tell};
use crate::core::LookupError;
use crate::core::registry::LOOKUP_TRIES;
use crate::message::ActorMessage;

impl ActorSystem {
    /// Finds the actor with this URN, if its type is `A`.
    ///
    /// ```
    /// # use conclib::prelude::*;
    /// # #[derive(Actor)]
    /// # struct Worker;
    /// # #[handlers]
    /// # impl Worker {}
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let system = ActorSystem::new();
    /// let worker = system.spawn(Worker).urn("worker/7").await?;
    /// assert_eq!(system.actor::<Worker>("worker/7")?, worker);
    /// assert!(system.actor::<Worker>("worker/8").is_err());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`LookupError`]: no actor has the URN, the actor is of another type, or it failed and will not
    /// start again.
    pub fn actor<A: Actor>(&self, urn: impl AsRef<str>) -> Result<ActorRef<A>, LookupError> {
        self.find(urn.as_ref(), |actor| {
            match actor.clone().as_any().downcast::<ActorCell<A>>() {
                Ok(cell) => Ok(ActorRef::new(cell)),
                Err(_) => Err(LookupError::WrongType {
                    urn: actor.urn().clone(),
                    expected: std::any::type_name::<A>(),
                    found: actor.type_name(),
                }),
            }
        })
    }

    /// Finds the actor with this URN, of any type, as a recipient of `M`.
    ///
    /// ```
    /// # use conclib::prelude::*;
    /// # #[derive(ActorMessage)]
    /// # #[message(local, response = u32)]
    /// # struct Count;
    /// # #[derive(Actor)]
    /// # struct Counter;
    /// # #[handlers]
    /// # impl Counter {
    /// #     #[handler]
    /// #     fn count(&mut self, _: Count) -> u32 { 7 }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let system = ActorSystem::new();
    /// system.spawn(Counter).urn("counter").await?;
    /// let counter: Recipient<Count> = system.recipient("counter")?;
    /// assert_eq!(counter.ask(Count).await?, 7);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`LookupError`]: no actor has the URN, the actor has no handler for `M`, or it failed and will
    /// not start again.
    pub fn recipient<M: ActorMessage>(
        &self,
        urn: impl AsRef<str>,
    ) -> Result<Recipient<M>, LookupError> {
        self.find(urn.as_ref(), |actor| {
            Recipient::of(actor).ok_or_else(|| LookupError::Unhandled {
                urn: actor.urn().clone(),
                message: std::any::type_name::<M>(),
            })
        })
    }

    /// Sends a message to the actor with this URN; like [`ActorRef::tell`].
    pub fn tell<M: ActorMessage>(&self, urn: impl AsRef<str>, message: M) -> Tell<M> {
        match self.recipient(urn) {
            Ok(recipient) => Tell::by_urn(recipient, message),
            Err(error) => Tell::refused(message, error.into()),
        }
    }

    /// Sends a message to the actor with this URN and waits for the response; like
    /// [`ActorRef::ask`].
    pub fn ask<M: ActorMessage>(&self, urn: impl AsRef<str>, message: M) -> Ask<M> {
        match self.recipient(urn) {
            Ok(recipient) => Ask::by_urn(recipient, message),
            Err(error) => Ask::refused(error.into()),
        }
    }

    /// Finds the actor with this URN, or starts it, and makes a reference to it. An actor on demand may
    /// end before the reference is counted: then the lookup finds or starts the next one.
    #[inline]
    fn find<R>(
        &self,
        urn: &str,
        refer: impl Fn(&Arc<dyn AnyActor>) -> Result<R, LookupError>,
    ) -> Result<R, LookupError> {
        let registry = &self.core().registry;
        let mut tries = 1;
        loop {
            let actor = registry.find(urn)?;
            let reference = refer(&actor)?;
            if !actor.has_retired() || tries == LOOKUP_TRIES {
                return Ok(reference);
            }
            tries += 1;
        }
    }
}
