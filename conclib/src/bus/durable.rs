//! Durable messages: kept by the bus until they are handled, at least once.
//!
//! A client appends a message to the stream of its node, and repeats that until it knows that the
//! message is kept. The proxy that serves the node takes it from there
//! ([`consumer`](crate::bus::server)), gives it to its actor, remembers the answer by the message's
//! scope, and only then removes it. A message whose proxy dies is taken over by the next; one that
//! fails too often becomes a dead letter.
//!
//! - [`hand`]: which messages the consumer has in hand, and which wait behind them (pure)
//! - [`verdict`]: what becomes of a message that was not answered with a value (pure)
//! - [`record`]: what is remembered of a message that is over, and by which name (pure)
//! - [`foreign`]: which messages other consumers still have, and what waits for them (pure)
//! - [`quarantine`]: which messages are delivered one at a time, since they may end processes (pure)
//! - [`retry`]: when to try again what the bus has not done (pure)
//! - [`dead_letters`]: those that nobody could handle, for users

pub(crate) mod consumer;
pub(super) mod dead_letters;
pub(super) mod foreign_claims;
pub(super) mod prefetch;
pub(super) mod quarantine;
pub(super) mod redelivery;
pub(super) mod result_cache;
pub(super) mod retry;

/// The longest idempotency key, in bytes.
pub(super) const MAX_KEY: usize = 128;
