//! The message that is being handled, as the context of its handler sees it.

use std::sync::Arc;

use crate::deadlock::PendingReply;
use crate::message::attributes::Attributes;
use crate::reply::RequestId;

/// A message that a handler has received: an ask, a request from the bus, or a tell with attributes.
pub(crate) trait Incoming: Send + Sync {
    /// The ask; `None` for a tell.
    fn pending(self: Arc<Self>) -> Option<Arc<dyn PendingReply>>;

    /// The attributes of the message.
    fn attributes(&self) -> &Attributes;

    /// The id in logs of a request from the bus.
    fn request_id(&self) -> Option<RequestId> {
        None
    }
}

/// A tell within the process.
impl Incoming for Attributes {
    fn pending(self: Arc<Self>) -> Option<Arc<dyn PendingReply>> {
        None
    }

    fn attributes(&self) -> &Attributes {
        self
    }
}
