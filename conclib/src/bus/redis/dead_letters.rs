//! The dead letters in Redis.

use std::sync::Arc;

use async_trait::async_trait;

use crate::bus::config::{Config, RedisAddress};
use crate::bus::keys::Keys;
use crate::bus::redis::connection::Connection;
use crate::bus::redis::endpoint::{ConnectionRole, Endpoint};
use crate::bus::redis::library::{LibrarySession, into_array, into_u64, unexpected};
use crate::bus::redis::stream::{entries, entry};
use crate::bus::redis::{COMMAND, Unreachable};
use crate::bus::transport::TransportError;
use crate::bus::transport::stream::{DeadLetterEntry, DeadLetterStore, EntryId};

/// The dead letters of a node.
pub(crate) struct RedisDeadLetters {
    keys: Keys,
    commands: Arc<Connection<LibrarySession>>,
}

impl RedisDeadLetters {
    /// Opens them over a connection of their own.
    pub(crate) async fn connect(
        address: &RedisAddress,
        config: &Config,
    ) -> Result<Self, Unreachable> {
        let endpoint = Arc::new(Endpoint::new(address, config, Arc::default()));
        let commands = Connection::open(&endpoint, ConnectionRole::Commands).await?;
        Ok(Self::over(config.keys(), Arc::new(commands)))
    }

    pub(super) fn over(keys: Keys, commands: Arc<Connection<LibrarySession>>) -> Self {
        Self { keys, commands }
    }

    async fn range(
        &self,
        from: String,
        to: String,
        count: u32,
    ) -> Result<Vec<DeadLetterEntry>, TransportError> {
        let count = i64::from(count).into();
        let key = self.keys.dead_letters().into();
        let arguments = vec![key, from.into(), to.into(), "COUNT".into(), count];
        let link = self.commands.link()?;
        let reply = link.request("XRANGE", arguments, COMMAND).await?;
        let listed = into_array(reply).ok_or_else(unexpected)?;
        let letters: Option<_> = listed.into_iter().map(entries::dead_letter).collect();
        letters.ok_or_else(unexpected)
    }
}

#[async_trait]
impl DeadLetterStore for RedisDeadLetters {
    async fn list(
        &self,
        after: EntryId,
        count: u32,
    ) -> Result<Vec<DeadLetterEntry>, TransportError> {
        self.range(format!("({after}"), "+".to_owned(), count).await
    }

    async fn get(&self, id: EntryId) -> Result<Option<DeadLetterEntry>, TransportError> {
        let mut found = self.range(id.to_string(), id.to_string(), 1).await?;
        Ok(found.pop())
    }

    async fn replay(&self, id: EntryId) -> Result<Option<EntryId>, TransportError> {
        let Some(letter) = self.get(id).await? else {
            return Ok(None);
        };
        // First appended, then deleted: two entries with the same key are handled once, but a message
        // in neither place would be lost.
        let arguments = entry(&self.keys.durable(), letter.into());
        let link = self.commands.link()?;
        let added = link.request("XADD", arguments, COMMAND).await?;
        let added = entries::id(added).ok_or_else(unexpected)?;
        self.delete(id).await?; // false if another tool has removed it meanwhile: it was appended all the same
        Ok(Some(added))
    }

    async fn delete(&self, id: EntryId) -> Result<bool, TransportError> {
        let arguments = vec![self.keys.dead_letters().into(), id.to_string().into()];
        let link = self.commands.link()?;
        let deleted = link.request("XDEL", arguments, COMMAND).await?;
        Ok(into_u64(&deleted).ok_or_else(unexpected)? > 0)
    }
}
