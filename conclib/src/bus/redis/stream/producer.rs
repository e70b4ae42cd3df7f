//! A client's end of the stream of durable messages in Redis.

use async_trait::async_trait;

use crate::bus::redis::COMMAND;
use crate::bus::redis::client::RedisClient;
use crate::bus::redis::library::{into_u64, unexpected};
use crate::bus::redis::stream::entry;
use crate::bus::transport::TransportError;
use crate::bus::transport::stream::{NewEntry, StreamProducer};

#[async_trait]
impl StreamProducer for RedisClient {
    async fn append(&self, messages: Vec<NewEntry>) -> Result<u64, TransportError> {
        let stream = self.keys.durable();
        let mut commands: Vec<_> = messages
            .into_iter()
            .map(|message| ("XADD", entry(&stream, message)))
            .collect();
        commands.push(("XLEN", vec![stream.into()]));
        let link = self.durable().await?;
        let mut replies = link.pipeline(commands, COMMAND).await?;
        let length = replies.pop().ok_or_else(unexpected)?;
        let refused = replies.iter().filter_map(|reply| reply.as_ref().err());
        if let Some(first) = refused.clone().next() {
            return Err(if refused.count() == replies.len() {
                first.clone()
            } else {
                TransportError::Unknown(first.to_string())
            });
        }
        // The messages are stored even if this user may not read the length.
        Ok(length.ok().and_then(|length| length.as_u64()).unwrap_or(0))
    }

    async fn len(&self) -> Result<u64, TransportError> {
        let stream = vec![self.keys.durable().into()];
        let link = self.durable().await?;
        let length = link.request("XLEN", stream, COMMAND).await?;
        into_u64(&length).ok_or_else(unexpected)
    }
}
