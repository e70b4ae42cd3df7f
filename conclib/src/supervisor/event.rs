//! Reports of members to their group, and its permits to restart.

use std::time::Duration;

use conclib_macros::ActorMessage;
use tokio::sync::oneshot;

use crate::stop_reason::StopReason;

/// The reports of members, and of timers.
#[derive(ActorMessage)]
#[message(local)]
pub(super) enum Event {
    /// The member has started.
    Up(usize),
    /// An incarnation of the member has ended; the member waits for the permit.
    Down {
        index: usize,
        end: StopReason,
        uptime: Duration,
        permit: Permit,
    },
    /// The member has ended for good.
    Gone(usize),
    /// A timer of the group has fired.
    Timer,
}

/// Tells a waiting member to start again, or to end for the given reason.
pub(super) struct Permit(pub(super) oneshot::Sender<Result<(), StopReason>>);

impl Permit {
    pub(super) fn give(self, permission: Result<(), StopReason>) {
        drop(self.0.send(permission)); // fails if the member was stopped meanwhile
    }
}
