//! The end of a consumer: what no actor has is given back, and what actors have is seen out.

use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, warn};

use crate::bus::durable::consumer::{Consumer, FINISH, LONG_AGO, PAGE};
use crate::bus::durable::redelivery::attempts_of_lost_read;
use crate::bus::transport::stream::EntryId;

impl Consumer {
    /// Gives back what no actor has, and waits for the rest; not for ever, if nobody waits for that.
    pub(super) async fn leave(&mut self) {
        self.is_leaving = true;
        self.transport.stop_reading().await; // one may be blocked
        if self.reading.take().is_some() {
            self.give_back_what_was_not_heard_of().await;
        }
        let mut back = self.prefetch.give_back();
        for waiting in self.foreign.give_back() {
            self.prefetch.release(&[waiting.id]);
            back.push((waiting.id, waiting.attempts));
        }
        self.release(back, LONG_AGO).await;
        let abandoned = self.shared.abandoned.clone();
        let patience = async move {
            abandoned.cancelled().await;
            // ForeignPage have to come to their end as well.
            sleep(FINISH.mul_f64(0.9)).await;
        };
        tokio::pin!(patience);
        loop {
            self.end().await;
            if self.prefetch.is_empty() && self.acks.is_empty() {
                return;
            }
            if Instant::now() >= self.heartbeat {
                self.heartbeat = Instant::now() + self.limits.heartbeat();
                self.touch().await;
            }
            let next = self.acks.next_attempt().unwrap_or(self.heartbeat);
            tokio::select! {
                biased;
                () = &mut patience => break,
                Some((ticket, outcome)) = self.answers.recv() => self.answered(ticket, outcome),
                () = sleep_until(next.min(self.heartbeat)) => {}
            }
        }
        let rest = self.prefetch.abandon();
        warn!(
            count = rest.len(),
            "durable messages were not handled in time; others take them over"
        );
        self.release(rest, LONG_AGO).await;
    }

    /// Gives back what a read may have taken whose reply has not come in; no actor had it. What
    /// waits for its next delivery is given back as well.
    async fn give_back_what_was_not_heard_of(&mut self) {
        let mut after = EntryId::default();
        let page = u32::try_from(PAGE).unwrap_or(u32::MAX);
        loop {
            let own = match self.transport.own_claims(after, page).await {
                Ok(own) => own,
                Err(why) => return debug!(%why, "what was read last cannot be found"),
            };
            let Some(last) = own.last() else { return };
            after = last.id;
            let unknown = own.iter().filter(|own| !self.prefetch.knows(own.id));
            let unknown = unknown.map(|own| {
                let redelivery = self.prefetch.redelivery(own.id);
                (
                    own.id,
                    redelivery.unwrap_or_else(|| attempts_of_lost_read(own.attempts)),
                )
            });
            let unknown = unknown.collect();
            self.release(unknown, LONG_AGO).await;
        }
    }
}
