//! Durable messages: stored by the bus until they are handled, delivered at least once.
//!
//! A client appends a message to the stream of a node, and repeats that until the bus confirms it. The
//! [`consumer`] of the proxy that serves the node claims the message, delivers it to its actor, caches
//! the result by the message's dedup key, and only then removes the entry from the stream. If the
//! proxy's process ends, the next consumer claims the entry. A message that fails too often becomes a
//! dead letter.
//!
//! - [`consumer`]: moves messages from the stream to actors, and acknowledges them
//! - [`prefetch`]: messages claimed for delivery, and those deferred behind them (pure)
//! - [`redelivery`]: decides between another delivery and a dead letter (pure)
//! - [`due`]: decides about the due times of delayed messages (pure)
//! - [`result_cache`]: dedup keys, and the encoded results of acknowledged messages (pure)
//! - [`foreign_claims`]: messages of other consumers, and duplicates held back for them (pure)
//! - [`inheritance`]: the search for entries of earlier processes of the same instance (pure)
//! - [`unconfirmed`]: entries read before it was known that this process still has the lease (pure)
//! - [`quarantine`]: messages delivered one at a time, since they may end processes (pure)
//! - [`decoded`]: stored requests in the terms of users (pure)
//! - [`dead_letters`]: messages that could not be handled, for users

pub(super) mod consumer;
pub(crate) mod dead_letters;
pub(crate) mod decoded;
mod due;
mod foreign_claims;
mod inheritance;
mod prefetch;
mod quarantine;
mod redelivery;
mod result_cache;
mod unconfirmed;
