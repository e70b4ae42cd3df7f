//! The part of a system that has other processes find its actors by their names.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::actor::any::AnyActor;
use crate::actor::listing::ListingSlot;

/// The wait for a name; its error is the node of the member that has it.
pub(crate) type ListedFuture<'a> = Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>>;

/// Lists the names of a system's actors in a fleet.
pub(crate) trait NameLists: Send + Sync {
    /// Notes that an actor has its URN, and is about to start or runs. A second call changes nothing.
    fn claimed(&self, actor: &dyn AnyActor);

    /// Notes that an actor has freed its URN.
    fn released(&self, actor: &dyn AnyActor);

    /// Waits until a name is listed here; fails if another member keeps it.
    fn listed(&self, slot: Arc<ListingSlot>) -> ListedFuture<'_>;
}
