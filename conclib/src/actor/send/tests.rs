//! What only a mailbox made for the purpose shows.

use std::sync::Arc;

use super::*;
use crate::actor::any::AnyActor;
use crate::actor::recipient::Receives;
use crate::message::WireCodec;
use crate::urn::Urn;

struct Question;

impl ActorMessage for Question {
    type Response = ();
    const NAME: &'static str = "Question";
    const WIRE: Option<WireCodec<Self>> = None;
}

/// A mailbox without room, that lets the message in between the last look and the timeout.
struct LetsInLate {
    urn: Urn,
}

fn lets_in_late() -> Recipient<Question> {
    Recipient::new(Arc::new(LetsInLate {
        urn: Urn::generate(),
    }))
}

impl Receives<Question> for LetsInLate {
    fn actor(self: Arc<Self>) -> Arc<dyn AnyActor> {
        unreachable!("no actor asks");
    }

    fn urn(&self) -> &Urn {
        &self.urn
    }

    fn poll_send(
        &self,
        _: &mut Context<'_>,
        ticket: &mut Option<Ticket>,
        envelope: &mut Option<Envelope<Question>>,
    ) -> Poll<Result<(), Closed>> {
        *ticket = Some(Ticket::default());
        if let Some((_message, reply)) = envelope.take() {
            assert!(reply.limit().is_none_or(|limit| limit.start().is_some()));
            std::mem::forget(reply); // its handler keeps it
        }
        Poll::Pending
    }

    fn withdraw(&self, _: Ticket) -> Option<Envelope<Question>> {
        None
    }

    fn try_tell(&self, message: Question) -> Result<(), TellError<Question>> {
        Err(TellError::new(message, AskError::overloaded()))
    }

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
async fn a_message_that_was_let_in_at_the_last_moment_counts_as_accepted() {
    let ask = Ask::new(lets_in_late(), Question);
    let timeout = AskError::Timeout {
        delivered: Delivered::Accepted,
    };
    assert_eq!(ask.timeout(Duration::from_secs(1)).await, Err(timeout));
    let tell = Tell::new(lets_in_late(), Question);
    assert!(tell.timeout(Duration::from_secs(1)).await.is_ok());
}

#[test]
fn a_message_that_was_let_in_at_the_last_moment_counts_also_without_a_runtime() {
    let tell = Tell::new(lets_in_late(), Question);
    assert!(tell.timeout(Duration::from_millis(1)).blocking().is_ok());
}

#[test]
fn a_deadline_costs_little_where_nobody_waits() {
    assert!(size_of::<Tell<Question>>() <= size_of::<Sending<Question>>() + 40);
    assert!(size_of::<Ask<Question>>() <= size_of::<Sending<Question>>() + 48);
}
