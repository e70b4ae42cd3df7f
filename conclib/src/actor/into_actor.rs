//! The states that a spawn takes: of a start that may fail, and of an actor that there may be none of.

use crate::actor::Actor;
use crate::error::Failure;

/// The return type of an actor's factory: the actor, or a `Result` of it and an error.
///
/// [`ActorSystem::supervise`](crate::ActorSystem::supervise) takes such factories:
///
/// ```
/// use conclib::prelude::*;
///
/// #[derive(Actor)]
/// struct Journal(std::fs::File);
///
/// #[handlers]
/// impl Journal {}
///
/// # async fn start(system: &ActorSystem) -> Result<(), Box<dyn std::error::Error>> {
/// // Returns `Result<Journal, std::io::Error>`.
/// let open = || async { std::fs::File::open("journal").map(Journal) };
/// let journal = system.supervise(open).await?;
/// # Ok(()) }
/// ```
#[diagnostic::on_unimplemented(
    message = "a factory cannot return `{Self}`",
    label = "returns `{Self}`",
    note = "return an actor, or `Result` of an actor and an error"
)]
pub trait IntoActor {
    /// The type of the actor.
    type Actor: Actor;

    /// Converts the value into a `Result`.
    ///
    /// # Errors
    ///
    /// The error of a factory that could not make an actor.
    fn into_actor(self) -> Result<Self::Actor, Failure>;
}

impl<A: Actor> IntoActor for A {
    type Actor = A;

    fn into_actor(self) -> Result<A, Failure> {
        Ok(self)
    }
}

impl<A: Actor, E: Into<Failure>> IntoActor for Result<A, E> {
    type Actor = A;

    fn into_actor(self) -> Result<A, Failure> {
        self.map_err(Into::into)
    }
}

/// The return type of a factory of actors [on demand](crate::ActorSystem::on_demand): the actor, or an
/// `Option` of it, where `None` says that there is no actor of this name; or a `Result` of either.
///
/// ```
/// use conclib::prelude::*;
/// use std::{fs, io};
///
/// #[derive(Actor)]
/// struct Journal(String);
///
/// #[handlers]
/// impl Journal {}
///
/// /// Loads the journal of this name, if there is one.
/// async fn load(urn: Urn) -> io::Result<Option<Journal>> {
///     match fs::read_to_string(urn.as_str()) {
///         Ok(text) => Ok(Some(Journal(text))),
///         Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
///         Err(error) => Err(error),
///     }
/// }
/// # use conclib::Urn;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let system = ActorSystem::new();
/// system.on_demand("journal/*", load).await?;
/// # Ok(()) }
/// ```
#[diagnostic::on_unimplemented(
    message = "a factory of actors on demand cannot return `{Self}`",
    label = "returns `{Self}`",
    note = "return an actor or an `Option` of it, or a `Result` of either and an error"
)]
pub trait MaybeActor {
    /// The type of the actor.
    type Actor: Actor;

    /// Converts the value into a `Result`.
    ///
    /// # Errors
    ///
    /// The error of a factory that could not make an actor.
    fn into_maybe(self) -> Result<Option<Self::Actor>, Failure>;
}

impl<A: Actor> MaybeActor for A {
    type Actor = A;

    fn into_maybe(self) -> Result<Option<A>, Failure> {
        Ok(Some(self))
    }
}

impl<A: Actor> MaybeActor for Option<A> {
    type Actor = A;

    fn into_maybe(self) -> Result<Option<A>, Failure> {
        Ok(self)
    }
}

impl<M: MaybeActor, E: Into<Failure>> MaybeActor for Result<M, E> {
    type Actor = M::Actor;

    fn into_maybe(self) -> Result<Option<M::Actor>, Failure> {
        self.map_err(Into::into)?.into_maybe()
    }
}
