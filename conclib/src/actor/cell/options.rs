//! The options of a spawn that an actor's cell needs.

use super::Thread;

/// The options of a spawn that an actor's cell needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct SpawnOptions {
    /// Decides how the actor's references keep it.
    pub(crate) lifetime: Lifetime,
    /// Decides if the actor's failure is its parent's too.
    pub(crate) escalation: Escalation,
    /// The actor restarts after it has stopped itself.
    pub(crate) restarts_itself: bool,
    /// Decides how other processes find the actor.
    pub(crate) visibility: Visibility,
    /// The end of the actor is reported to the program.
    pub(crate) essential: bool,
    /// The thread that runs the actor.
    pub(crate) thread: Thread,
}

/// The way in which other processes find an actor by its URN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Visibility {
    /// In a fleet, one member has the URN.
    #[default]
    Public,
    /// In a fleet, several members may have the URN.
    Shared,
    /// They do not.
    Private,
}

/// The effect of an actor's references on its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Lifetime {
    /// None: they are not counted.
    #[default]
    UntilStopped,
    /// The actor stops when the last one is dropped.
    WhileReferenced,
    /// Messages to its URN start the actor, and it ends when it is idle and has no references.
    OnDemand,
    /// A context in a unit test: no task runs the actor, and none would stop its children.
    Test,
}

/// The condition under which an actor's failure makes its parent fail too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Escalation {
    #[default]
    Never,
    /// Only while no stop was requested. An actor that is to stop may fail: another takes its place.
    UntilAskedToStop,
    Always,
}
