//! The end of a consumer: what no actor has is given back, and what actors have is seen out.

use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, warn};

use crate::bus::durable::consumer::{Consumer, FINISH, LONG_AGO, PAGE};
use crate::bus::durable::redelivery::unheard_of;
use crate::bus::transport::stream::EntryId;

impl Consumer {
    /// Gives back what no actor has, and waits for the rest; not for ever, if nobody waits for that.
    pub(super) async fn leave(&mut self) {
        self.is_leaving = true;
        self.transport.stop_reading().await; // one may be blocked
        if self.reading.take().is_some() {
            self.give_back_what_was_not_heard_of().await;
        }
        let mut back = self.hand.give_back();
        for waiting in self.elsewhere.give_back() {
            self.hand.release(&[waiting.id]);
            back.push((waiting.id, waiting.attempts));
        }
        self.lay_aside(back, LONG_AGO).await;
        let abandoned = self.shared.abandoned.clone();
        let patience = async move {
            abandoned.cancelled().await;
            // Others have to come to their end as well.
            sleep(FINISH.mul_f64(0.9)).await;
        };
        tokio::pin!(patience);
        loop {
            self.end().await;
            if self.hand.is_empty() && self.endings.is_empty() {
                return;
            }
            if Instant::now() >= self.beat {
                self.beat = Instant::now() + self.bounds.beat();
                self.touch().await;
            }
            let next = self.endings.next_attempt().unwrap_or(self.beat);
            tokio::select! {
                biased;
                () = &mut patience => break,
                Some((ticket, outcome)) = self.answers.recv() => self.answered(ticket, outcome),
                () = sleep_until(next.min(self.beat)) => {}
            }
        }
        let rest = self.hand.abandon();
        warn!(
            count = rest.len(),
            "durable messages were not handled in time; others take them over"
        );
        self.lay_aside(rest, LONG_AGO).await;
    }

    /// Gives back what a read may have taken whose reply has not come in; no actor had it. What
    /// waits for its next delivery is given back as well.
    async fn give_back_what_was_not_heard_of(&mut self) {
        let mut after = EntryId::default();
        let page = u32::try_from(PAGE).unwrap_or(u32::MAX);
        loop {
            let own = match self.transport.own(after, page).await {
                Ok(own) => own,
                Err(why) => return debug!(%why, "what was read last cannot be found"),
            };
            let Some(last) = own.last() else { return };
            after = last.id;
            let unknown = own.iter().filter(|own| !self.hand.knows(own.id));
            let unknown = unknown.map(|own| {
                let rested = self.hand.rested(own.id);
                (own.id, rested.unwrap_or_else(|| unheard_of(own.attempts)))
            });
            let unknown = unknown.collect();
            self.lay_aside(unknown, LONG_AGO).await;
        }
    }
}
