//! The messages that wait for their due times: a sorted set, whose scores are these times in ms.
//!
//! A member is a whole entry: its position in the stream, in order of which members of one score are
//! sorted, its due time, its pauses, its key and its frame. So an entry that is added twice, because its
//! removal from the stream was interrupted, is one member.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use fred::types::Value;
use tracing::warn;

use crate::bus::redis::COMMAND;
use crate::bus::redis::library::{into_array, into_bytes, into_u64, unexpected};
use crate::bus::redis::stream::{RedisConsumer, entry};
use crate::bus::transport::stream::{EntryId, EntryOptions, MAX_RETRY_PAUSE, StreamEntry};
use crate::bus::transport::{ServerTime, TransportError};
use crate::time::backoff::Backoff;

/// The length of a member in front of its key, in bytes.
const HEAD: usize = 5 * 8 + 4;

/// Stands for pauses that a message does not set.
const NO_PAUSE: u64 = u64::MAX;

impl RedisConsumer {
    pub(super) async fn add_delayed(
        &self,
        entries: Vec<StreamEntry>,
        max: u64,
    ) -> Result<bool, TransportError> {
        if entries.is_empty() {
            return Ok(true);
        }
        let key = || Value::from(self.keys.delayed());
        let link = self.commands.link()?;
        let count = link.request("ZCARD", vec![key()], COMMAND).await?;
        if into_u64(&count).ok_or_else(unexpected)? >= max {
            return Ok(false);
        }
        let ids: Vec<_> = entries.iter().map(|entry| entry.id).collect();
        let members = entries.iter().flat_map(|entry| {
            let due = entry.options.due.unwrap_or_default().0;
            [due.to_string().into(), Value::Bytes(encode(entry))]
        });
        let arguments = [key()].into_iter().chain(members).collect();
        // Entries are removed from the stream only after they are certainly in the set.
        link.request("ZADD", arguments, COMMAND).await?;
        let removal = self.removal(&ids).into();
        let replies = link.pipeline(removal, COMMAND).await?;
        replies
            .into_iter()
            .find_map(Result::err)
            .map_or(Ok(true), Err)
    }

    pub(super) async fn next_due(&self) -> Result<Option<ServerTime>, TransportError> {
        let first = self.members(vec!["0".into(), "0".into()]).await?;
        Ok(first.first().and_then(|entry| entry.options.due))
    }

    pub(super) async fn members_due(
        &self,
        now: ServerTime,
        count: u32,
    ) -> Result<Vec<StreamEntry>, TransportError> {
        let limit = i64::from(count).into();
        let now = now.0.to_string().into();
        let range = vec![
            "-inf".into(),
            now,
            "BYSCORE".into(),
            "LIMIT".into(),
            0.into(),
            limit,
        ];
        self.members(range).await
    }

    /// The members in a range. Members that cannot be read are removed: they would stay the first for
    /// ever.
    async fn members(&self, range: Vec<Value>) -> Result<Vec<StreamEntry>, TransportError> {
        let key = || Value::from(self.keys.delayed());
        let link = self.commands.link()?;
        let arguments = [key()].into_iter().chain(range).collect();
        let listed = link.request("ZRANGE", arguments, COMMAND).await?;
        let mut entries = Vec::new();
        for member in into_array(listed).ok_or_else(unexpected)? {
            let member = into_bytes(member).ok_or_else(unexpected)?;
            if let Some(entry) = decode(member.clone()) {
                entries.push(entry);
            } else {
                let key_name = self.keys.delayed();
                warn!(key = key_name, "removed an unreadable delayed message");
                let arguments = vec![key(), Value::Bytes(member)];
                link.request("ZREM", arguments, COMMAND).await?;
            }
        }
        Ok(entries)
    }

    pub(super) async fn append_delayed(
        &self,
        entries: Vec<StreamEntry>,
    ) -> Result<(), TransportError> {
        if entries.is_empty() {
            return Ok(());
        }
        let members = entries.iter().map(|entry| Value::Bytes(encode(entry)));
        let key = Value::from(self.keys.delayed());
        let removal = [key].into_iter().chain(members).collect();
        let additions = entries
            .into_iter()
            .map(|delayed| ("XADD", entry(&self.stream, delayed.into())));
        // First appended, then removed: two entries with one key are handled once, but a message in
        // neither place would be lost.
        let link = self.commands.link()?;
        let added = link.pipeline(additions.collect(), COMMAND).await?;
        if let Some(error) = added.into_iter().find_map(Result::err) {
            return Err(error);
        }
        link.request("ZREM", removal, COMMAND).await.map(drop)
    }
}

fn encode(entry: &StreamEntry) -> Bytes {
    let StreamEntry {
        id,
        key,
        frame,
        options,
    } = entry;
    let mut member = BytesMut::with_capacity(HEAD + key.len() + frame.len());
    let millis = |pause: Duration| u64::try_from(pause.as_millis()).unwrap_or(NO_PAUSE - 1);
    let (first, longest) = match options.retry.map(|retry| retry.bounds()) {
        Some((first, longest)) => (millis(first), millis(longest)),
        None => (NO_PAUSE, NO_PAUSE),
    };
    let due = options.due.unwrap_or_default().0;
    for number in [id.0, id.1, due, first, longest] {
        member.put_u64(number);
    }
    // Redis takes no text of 4 GiB.
    member.put_u32(u32::try_from(key.len()).unwrap_or(u32::MAX));
    member.put_slice(key.as_bytes());
    member.put_slice(frame);
    member.freeze()
}

fn decode(mut member: Bytes) -> Option<StreamEntry> {
    if member.len() < HEAD {
        return None;
    }
    let id = EntryId(member.get_u64(), member.get_u64());
    let due = ServerTime(member.get_u64());
    let (first, longest) = (member.get_u64(), member.get_u64());
    let pause = |millis| Duration::from_millis(millis).min(MAX_RETRY_PAUSE);
    let retry =
        (first != NO_PAUSE).then(|| Backoff::starting_at(pause(first)).up_to(pause(longest)));
    let length = usize::try_from(member.get_u32()).ok()?;
    if member.len() < length {
        return None;
    }
    let key = member.split_to(length);
    Some(StreamEntry {
        id,
        key: std::str::from_utf8(&key).ok()?.to_owned(),
        frame: member,
        options: EntryOptions {
            retry,
            due: Some(due),
            is_repetition: false,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_survive_encoding_and_decoding() {
        let retry = Backoff::from_secs(1).up_to(Duration::from_secs(60));
        for retry in [None, Some(retry), Some(Backoff::none())] {
            let due = Some(ServerTime(1_700_000_000_000));
            let entry = StreamEntry {
                id: EntryId(7, 1),
                key: "order-17 \u{e4}".to_owned(),
                frame: Bytes::from_static(b"\x00frame"),
                options: EntryOptions {
                    retry,
                    due,
                    is_repetition: false,
                },
            };
            assert_eq!(decode(encode(&entry)), Some(entry));
        }
    }

    #[test]
    fn members_of_one_time_are_sorted_by_their_arrival() {
        let member = |id| {
            encode(&StreamEntry {
                id,
                key: String::new(),
                frame: Bytes::new(),
                options: EntryOptions::default(),
            })
        };
        assert!(member(EntryId(9, 300)) < member(EntryId(10, 0)));
        assert!(member(EntryId(10, 2)) < member(EntryId(10, 256)));
    }

    #[test]
    fn odd_members_are_not_read() {
        let whole = encode(&StreamEntry {
            id: EntryId(1, 0),
            key: "key".to_owned(),
            frame: Bytes::new(),
            options: EntryOptions::default(),
        });
        for length in 0..whole.len() {
            assert_eq!(decode(whole.slice(..length)), None, "{length}");
        }
    }
}
