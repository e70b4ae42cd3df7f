//! The lifecycle of a group's member: reports to the group, and waits for its permission to
//! restart.

use std::future::Future;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::actor::supervision::Supervision;
use crate::actor::{Actor, IntoActor};
use crate::error::Failure;
use crate::stop_reason::StopReason;
use crate::supervision::Restart;
use crate::supervision::lifecycle::sealed::StateSource;
use crate::supervision::lifecycle::uptime_since;
use crate::supervisor::event::{Event, Permit};
use crate::urn::Urn;

/// The connection of a member to its group.
pub(super) struct MemberLink {
    pub(super) index: usize,
    pub(super) events: mpsc::UnboundedSender<Event>,
}

impl MemberLink {
    fn report(&self, event: Event) {
        drop(self.events.send(event)); // fails if the supervisor has ended
    }
}

impl Drop for MemberLink {
    fn drop(&mut self) {
        self.report(Event::Gone(self.index));
    }
}

/// The lifecycle of a member.
pub(super) struct GroupMember<F> {
    factory: F,
    restart: Restart,
    link: MemberLink,
    /// The start of the current incarnation.
    started_at: Option<Instant>,
}

impl<F> GroupMember<F> {
    pub(super) fn new(factory: F, restart: Restart, link: MemberLink) -> Self {
        Self {
            factory,
            restart,
            link,
            started_at: None,
        }
    }
}

impl<A, F, Fut> StateSource<A> for GroupMember<F>
where
    A: Actor,
    F: FnMut() -> Fut + Send + 'static,
    Fut: Future<Output: IntoActor<Actor = A>> + Send + 'static,
{
    const RUNS_ONCE: bool = false;

    fn supervision(&self) -> Supervision {
        Supervision::Group
    }

    fn make(&mut self) -> impl Future<Output = Result<Option<A>, Failure>> + Send {
        let making = (self.factory)();
        async move { making.await.into_actor().map(Some) }
    }

    fn started(&mut self) {
        self.link.report(Event::Up(self.link.index));
    }

    fn begin(&mut self) {
        self.started_at = Some(Instant::now());
    }

    async fn next(&mut self, urn: &Urn, end: StopReason) -> Result<(), StopReason> {
        let told_to_end = matches!(end, StopReason::Restarted);
        if !told_to_end && !self.restart.follows(&end) {
            self.restart.log_last_failure(urn, &end);
            return Err(end);
        }
        let (permit, permitted) = oneshot::channel();
        self.link.report(Event::Down {
            index: self.link.index,
            end: end.clone(),
            uptime: uptime_since(self.started_at),
            permit: Permit(permit),
        });
        // An error means that the supervisor has dropped the permit: it is stopping.
        permitted.await.unwrap_or(Err(match end {
            StopReason::Restarted => StopReason::ParentStopped,
            end => end,
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use super::*;
    use crate::prelude::*;

    #[derive(Actor)]
    struct Idle;

    #[handlers]
    impl Idle {}

    #[tokio::test]
    async fn member_stops_if_its_supervisor_ends_before_the_permit() {
        let (events, mut reports) = mpsc::unbounded_channel();
        let link = MemberLink { index: 0, events };
        let mut member = GroupMember::new(|| ready(Idle), Restart::default(), link);
        let urn = Urn::generate();
        let next = StateSource::<Idle>::next(&mut member, &urn, StopReason::Restarted);
        let (next, ()) = tokio::join!(next, async { drop(reports.recv().await) });
        assert!(matches!(next, Err(StopReason::ParentStopped)), "{next:?}");
    }
}
