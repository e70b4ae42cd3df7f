//! The consumer group of the stream: made when a consumer begins, and kept free of ended consumers.

use fred::types::{Resp3Frame, Value};
use tracing::debug;

use crate::bus::redis::library::{into_array, into_bytes, into_u64, unexpected};
use crate::bus::redis::stream::{RedisConsumer, entries};
use crate::bus::transport::TransportError;

/// A consumer without claims is removed from the group after this time in ms without a command:
/// each proxy that ever served was one.
const REMOVE_AFTER: u64 = 24 * 60 * 60 * 1000;

impl RedisConsumer {
    /// Creates the stream and the group, unless they exist.
    pub(super) async fn create(&self) -> Result<(), TransportError> {
        let arguments = vec!["0".into(), "MKSTREAM".into()];
        match self.request("XGROUP CREATE", arguments).await {
            Err(TransportError::NotDone(why)) if why.starts_with("BUSYGROUP") => {}
            // A Redis without memory refuses the command even if the group exists.
            Err(TransportError::NotDone(_) | TransportError::NotPermitted(_))
                if self.has_group().await => {}
            made => drop(made?),
        }
        if let Err(error) = self.remove_ended_consumers().await {
            debug!(%error, "cannot remove ended consumers from the group");
        }
        Ok(())
    }

    /// True if the group exists.
    async fn has_group(&self) -> bool {
        self.request("XPENDING", Vec::new()).await.is_ok()
    }

    /// Removes consumers that have ended long ago from the group. Only the owner of the lease reads from
    /// the group, so that none of them comes back meanwhile.
    async fn remove_ended_consumers(&self) -> Result<(), TransportError> {
        let consumers = self.request("XINFO CONSUMERS", Vec::new()).await?;
        for consumer in into_array(consumers).ok_or_else(unexpected)? {
            let mut facts = entries::pairs(consumer).unwrap_or_default();
            let number = |fact: Option<&Resp3Frame>| fact.and_then(into_u64);
            let holds = number(facts.get("pending")).unwrap_or(u64::MAX);
            let idle = number(facts.get("idle")).unwrap_or(0);
            if let Some(name) = facts.remove("name").and_then(into_bytes)
                && holds == 0
                && idle >= REMOVE_AFTER
            {
                let name = Value::Bytes(name);
                self.request("XGROUP DELCONSUMER", vec![name]).await?;
            }
        }
        Ok(())
    }
}
