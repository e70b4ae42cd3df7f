//! Work of actors that cannot be interrupted: a runtime that is dropped waits for it without a limit.

use std::sync::Arc;

use crate::actor::closures::RunningClosures;
use crate::core::registry::Registry;
use crate::urn::Urn;

/// The work of a system's actors that may keep a runtime that ends. Keeps nothing else of the system.
pub(crate) struct BlockingWork {
    closures: Arc<RunningClosures>,
    /// An actor that is left in it may be in a handler that blocks a thread of the runtime. A runtime does
    /// not wait for the threads that actors have for themselves.
    registry: Arc<Registry>,
}

impl BlockingWork {
    pub(super) fn new(closures: Arc<RunningClosures>, registry: Arc<Registry>) -> Self {
        Self { closures, registry }
    }

    /// True if no closure runs, and no actor is left on a runtime.
    pub(crate) fn is_over(&self) -> bool {
        self.closures.is_empty() && !self.registry.has_actors_on_runtime()
    }

    /// The actors whose closures run, and how many closures each has.
    pub(crate) fn closures(&self) -> Vec<(Urn, usize)> {
        self.closures.by_actor()
    }
}
