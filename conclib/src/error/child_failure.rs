//! The error of an actor that fails because of a child.

use std::error::Error;
use std::fmt;

use super::Failure;
use crate::urn::Urn;

/// The error with which an actor fails because a child of it failed: the child
/// [escalates](crate::system::Spawn::escalate), or is a member of a
/// [`Supervisor`](crate::supervisor::Supervisor) whose budget of restarts is spent.
///
/// Its [`source`](Error::source) is the child's failure, so that
/// [`Failure::downcast_ref`] finds the error at the bottom.
///
/// ```
/// use conclib::error::ChildFailure;
/// use conclib::prelude::*;
///
/// #[derive(Actor)]
/// #[actor(urn = "journal")]
/// struct Journal;
///
/// #[handlers]
/// impl Journal {
///     fn on_start(&mut self) -> Result<(), Failure> { Err(std::io::Error::other("no disk").into()) }
/// }
///
/// #[derive(Actor)]
/// struct Desk;
///
/// #[handlers]
/// impl Desk {
///     async fn on_start(&mut self, ctx: &mut Context<Self>) {
///         drop(ctx.spawn(Journal).escalate().await);
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let system = ActorSystem::new();
/// let end = system.spawn(Desk).await?.stopped().await;
/// let failure = end.failure().unwrap();
/// assert_eq!(failure.to_string(), "its child `journal` failed: no disk");
/// assert_eq!(failure.downcast_ref::<ChildFailure>().unwrap().urn, "journal");
/// assert!(failure.downcast_ref::<std::io::Error>().is_some());
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ChildFailure {
    /// The URN of the child.
    pub urn: Urn,
    /// The failure of the child: of a member of a group, the last one.
    pub failure: Failure,
    text: String,
}

impl ChildFailure {
    /// The error for a child that escalates its failure.
    pub(crate) fn escalated(urn: Urn, failure: Failure) -> Self {
        let text = format!("its child `{urn}` failed");
        Self::new(urn, failure, text)
    }

    /// An error with this text.
    pub(crate) fn new(urn: Urn, failure: Failure, text: String) -> Self {
        Self { urn, failure, text }
    }
}

impl fmt::Display for ChildFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for ChildFailure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.failure.as_error())
    }
}
