//! Races between a timeout and a mailbox that admits the message, on a mailbox made for them.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::actor::any::AnyActor;
use crate::actor::recipient::Receives;
use crate::actor::{Ask, Tell};
use crate::error::{AskError, AskErrorKind, Delivered, TellError};
use crate::message::WireCodec;
use crate::urn::Urn;

struct Ping;

/// An actor for tests of futures that are ready at the first poll.
#[derive(crate::Actor)]
struct Idle;

#[derive(crate::ActorMessage)]
#[message(local)]
struct Note;

#[crate::handlers]
impl Idle {
    #[handler]
    fn note(&mut self, _: Note) {}
}

impl ActorMessage for Ping {
    type Response = ();
    const NAME: &'static str = "Ping";
    const WIRE: Option<WireCodec<Self>> = None;
}

/// A full mailbox that admits the message between the sender's last poll and its timeout.
struct AdmitsLate {
    urn: Urn,
}

fn admits_late() -> Recipient<Ping> {
    Recipient::new(Arc::new(AdmitsLate {
        urn: Urn::generate(),
    }))
}

impl Receives<Ping> for AdmitsLate {
    fn actor(self: Arc<Self>) -> Arc<dyn AnyActor> {
        unreachable!("deadlock detection follows no ask from outside of actors");
    }

    fn urn(&self) -> &Urn {
        &self.urn
    }

    fn poll_send(
        &self,
        _: &mut Context<'_>,
        ticket: &mut Option<Ticket>,
        envelope: &mut Option<Envelope<Ping>>,
    ) -> Poll<Result<(), Closed>> {
        *ticket = Some(Ticket::default());
        if let Some((_message, reply)) = envelope.take() {
            assert!(reply.limit().is_none_or(|limit| limit.start().is_ok()));
            std::mem::forget(reply); // its handler has it and does not reply
        }
        Poll::Pending
    }

    fn withdraw(&self, _: Ticket) -> Option<Envelope<Ping>> {
        None
    }

    fn try_tell(&self, message: Ping) -> Result<(), TellError<Ping>> {
        Err(TellError::new(message, AskError::overloaded()))
    }

    fn count_lost(&self, _: AskErrorKind) {}

    fn refusal(&self) -> AskError {
        AskError::ActorStopped
    }

    fn has_ended(&self) -> bool {
        false
    }

    fn add_reference(&self) {}

    fn drop_reference(&self) {}
}

#[tokio::test(start_paused = true)]
async fn message_admitted_at_the_timeout_counts_as_accepted() {
    let ask = Ask::new(admits_late(), Ping);
    let timeout = AskError::Timeout {
        delivered: Delivered::Accepted,
    };
    assert_eq!(ask.timeout(Duration::from_secs(1)).await, Err(timeout));
    let tell = Tell::new(admits_late(), Ping);
    assert!(tell.timeout(Duration::from_secs(1)).await.is_ok());
}

#[test]
fn message_admitted_at_the_timeout_counts_without_a_runtime() {
    let tell = Tell::new(admits_late(), Ping);
    assert!(tell.timeout(Duration::from_millis(1)).blocking().is_ok());
}

#[test]
fn deadlines_add_few_bytes_to_tells_and_asks() {
    assert!(size_of::<Tell<Ping>>() <= size_of::<MailboxSend<Ping>>() + 40);
    assert!(size_of::<Ask<Ping>>() <= size_of::<MailboxSend<Ping>>() + 48);
    let places = size_of::<Recipient<Ping>>() + size_of::<Option<Envelope<Ping>>>();
    assert!(size_of::<MailboxSend<Ping>>() <= places + 16);
}

/// Polls a future that is ready, and then once more.
async fn poll_twice(mut future: impl Future + Unpin) {
    let _ = (&mut future).await;
    let _ = future.await;
}

#[tokio::test]
#[should_panic(expected = "`Tell` polled after completion")]
async fn tell_polled_after_completion_panics() {
    let ctx = crate::Context::<Idle>::test();
    poll_twice(ctx.actor_ref().tell(Note)).await;
}

#[tokio::test]
#[should_panic(expected = "`Tell` polled after completion")]
async fn refused_tell_polled_after_completion_panics() {
    poll_twice(Tell::refused(Note, AskError::ActorStopped)).await;
}

#[tokio::test]
#[should_panic(expected = "`Ask` polled after completion")]
async fn ask_of_a_stopped_actor_polled_after_completion_panics() {
    let ctx = crate::Context::<Idle>::test();
    ctx.stop();
    poll_twice(ctx.actor_ref().ask(Note)).await;
}

#[tokio::test]
#[should_panic(expected = "`Forward` polled after completion")]
async fn forward_polled_after_completion_panics() {
    let ctx = crate::Context::<Idle>::test();
    poll_twice(ctx.actor_ref().forward(Note, Reply::for_tell())).await;
}
