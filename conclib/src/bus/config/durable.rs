//! The settings of durable messages.

use std::time::Duration;

use crate::bus::config::{Config, HOUR};
use crate::bus::transport::stream::MAX_RETRY_PAUSE;
use crate::time::backoff::Backoff;

/// Settings of durable messages; those of the actor process count.
impl Config {
    /// Time after which the durable messages of a proxy that sends no heartbeats are taken over: 30 s by
    /// default, 100 ms to 24 h.
    ///
    /// A handler may take longer: a running proxy sends heartbeats for the messages of its actors.
    #[must_use]
    pub fn visibility_timeout(mut self, timeout: Duration) -> Self {
        if !(Duration::from_millis(100)..=24 * HOUR).contains(&timeout) {
            self.reject("the visibility timeout", "it must be 100 ms to 24 h");
        }
        self.visibility_timeout = timeout;
        self
    }

    /// Pauses between a failed delivery of a durable message and the next one: 5 s at first, doubled up to
    /// 5 min, unless its type has [pauses of its own](crate::ActorMessage). At most 24 h.
    ///
    /// Each pause is shortened by a random part of up to one half. The failures of a message are counted
    /// on the bus, so that another process continues with the next pause. A pause itself ends early with
    /// its process: after an orderly stop the next process delivers the message at once, and after a
    /// crash when the [visibility timeout](Self::visibility_timeout) has passed since the failure.
    ///
    /// ```
    /// use conclib::{Backoff, Config};
    /// use std::time::Duration;
    ///
    /// let second = Duration::from_secs(1);
    /// let config = Config::memory().retry_backoff(Backoff::starting_at(second).up_to(60 * second));
    /// # drop(config);
    /// ```
    #[must_use]
    pub fn retry_backoff(mut self, backoff: Backoff) -> Self {
        if backoff.bounds().1 > MAX_RETRY_PAUSE {
            self.reject(
                "the retry backoff",
                "its longest pause must be 24 h at most",
            );
        }
        self.retry_backoff = backoff;
        self
    }

    /// Time for which a durable message waits for an actor with its URN, before it becomes a [dead
    /// letter](crate::durable::DeadLetters): 24 h by default, 100 ms to 30 days.
    ///
    /// A missing actor is no failed delivery, and its messages delay no others: when it appears, it gets
    /// them within a second. Missing are also an actor that failed and will not start again, and a private
    /// one. The time counts from when the message was stored, at the earliest from when the actor was
    /// first missed by the process that serves: it begins again with each process.
    #[must_use]
    pub fn missing_timeout(mut self, timeout: Duration) -> Self {
        if !(Duration::from_millis(100)..=30 * 24 * HOUR).contains(&timeout) {
            self.reject(
                "the timeout of missing actors",
                "it must be 100 ms to 30 days",
            );
        }
        self.missing_timeout = timeout;
        self
    }

    /// Number of deliveries of a durable message before it becomes a [dead
    /// letter](crate::durable::DeadLetters): 5 by default, at least 1.
    ///
    /// A process that ends amid its work counts one delivery for every message that it had taken. The
    /// last delivery of such a message is made alone, so that a message that ends its process takes no
    /// other one along; with 1 the first delivery is the last, and cannot be made alone.
    #[must_use]
    pub fn max_deliveries(mut self, deliveries: u32) -> Self {
        if deliveries == 0 {
            self.reject("the number of deliveries", "it must be at least 1");
        }
        self.max_deliveries = deliveries;
        self
    }

    /// Time for which the reply to a durable message is stored: a client that repeats the message with
    /// the same idempotency key receives the stored reply, and the message is not handled again. 1 h
    /// by default, 1 s to 30 days.
    ///
    /// Every message costs Redis the memory of its reply for this time: at a thousand messages per
    /// second, an hour is some 3.6 million small keys, and a day would be 86 million. An hour is
    /// far longer than a client repeats a message on its own.
    #[must_use]
    pub fn result_ttl(mut self, ttl: Duration) -> Self {
        if !(Duration::from_secs(1)..=30 * 24 * HOUR).contains(&ttl) {
            self.reject("the time to live of results", "it must be 1 s to 30 days");
        }
        self.result_ttl = ttl;
        self
    }

    /// Number of durable messages that may wait to be handled: 1,000,000 by default. Beyond it
    /// clients receive [`Overloaded`](crate::AskError::Overloaded). Messages that are under way at that
    /// moment come on top.
    #[must_use]
    pub fn max_stream_len(mut self, messages: u64) -> Self {
        if messages == 0 {
            self.reject("the length of the stream", "it must be at least 1");
        }
        self.max_stream_len = messages;
        self
    }
}
