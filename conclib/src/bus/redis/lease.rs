//! The value of a lease's key, and the scripts around it.
//!
//! The value is the lease frame of [`protocol`](crate::bus::protocol); the scripts write its epoch.
//!
//! The scripts are sent whole: they run once in 2 s, and a restart of Redis or a `SCRIPT FLUSH`
//! cannot take them away.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::bus::redis::resp::RedisReply;
use crate::bus::transport::{Lease, TransportError};

/// Takes the lease. Keys: lease, last epochs. Arguments: the bytes before and after the epoch in the
/// lease, and its duration in ms. Returns `[0, lease]`, or `[1, epoch, now, last epochs]`.
///
/// The last epochs are written as numbers with spaces between them, the newest first. Deleting comes
/// first: it is allowed when Redis is out of memory, and then so are the commands after it.
///
/// An attempt whose reply was lost may have taken the lease, or take it yet: a later attempt of the
/// same process takes it over, and an earlier one never does. The attempt's number is the last four
/// bytes of the lease.
pub(super) const ACQUIRE: &str = "\
local held = redis.call('GET', KEYS[1])
if held then
  if string.sub(held, -#ARGV[2], -5) ~= string.sub(ARGV[2], 1, -5) then return {0, held} end
  local before = struct.unpack('>I4', string.sub(held, -4))
  if before >= struct.unpack('>I4', string.sub(ARGV[2], -4)) then return {0, held} end
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local last = redis.call('GET', KEYS[2]) or ''
local epoch = math.max((tonumber(string.match(last, '^%d+')) or 0) + 1, now)
local all = string.format('%.0f %s', epoch, last)
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[2], string.match(all, '^' .. string.rep('%d+ ', 8)) or all)
redis.call('SET', KEYS[1], ARGV[1] .. cmsgpack.pack(epoch) .. ARGV[2], 'PX', ARGV[3])
return {1, epoch, now, last}";

/// Renews the lease. Keys: lease. Arguments: the bytes before the epoch, the epoch, and the duration
/// of the lease in ms. Returns the time in ms, or nil if the caller does not own the lease.
pub(super) const RENEW: &str = "\
local ours = ARGV[1] .. cmsgpack.pack(tonumber(ARGV[2]))
local lease = redis.call('GET', KEYS[1])
if not lease or string.sub(lease, 1, #ours) ~= ours then return false end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
local time = redis.call('TIME')
return time[1] * 1000 + math.floor(time[2] / 1000)";

/// Releases the lease. Keys: lease, inbox. Arguments: the bytes before the epoch, the epoch, and a
/// frame to append to the inbox. Returns 1, or 0 if the caller does not own the lease. Here too,
/// deleting comes first.
pub(super) const RELEASE: &str = "\
local ours = ARGV[1] .. cmsgpack.pack(tonumber(ARGV[2]))
local lease = redis.call('GET', KEYS[1])
if not lease or string.sub(lease, 1, #ours) ~= ours then return 0 end
redis.call('DEL', KEYS[1])
redis.call('RPUSH', KEYS[2], ARGV[3])
return 1";

/// The bytes before the epoch: an array of three.
pub(super) const HEAD: &[u8] = &[0x93];

/// The process that takes a lease, and the number of its attempt.
#[derive(Debug, Clone, Copy)]
pub(super) struct LeaseAttempt {
    /// A random number for each proxy in each process.
    pub(super) process: u64,
    pub(super) number: u32,
}

impl LeaseAttempt {
    fn to_bytes(self) -> [u8; 12] {
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&self.process.to_be_bytes());
        bytes[8..].copy_from_slice(&self.number.to_be_bytes());
        bytes
    }
}

/// The bytes after the epoch.
pub(super) fn tail(
    lease: &Lease,
    attempt: LeaseAttempt,
) -> Result<Vec<u8>, rmp_serde::encode::Error> {
    let mut bytes = rmp_serde::to_vec(&lease.versions)?;
    let bytes_of_attempt = serde_bytes::ByteArray::new(attempt.to_bytes());
    rmp_serde::encode::write(&mut bytes, &(lease.max_frame, bytes_of_attempt))?;
    Ok(bytes)
}

/// The lease in the reply to a `GET`. Commands that were given to the connection along with it may
/// have been executed, so that no error here is [`TransportError::NotDone`].
pub(super) fn read(reply: RedisReply) -> Result<Option<Lease>, TransportError> {
    static HAS_WARNED: AtomicBool = AtomicBool::new(false);
    let bytes = match reply {
        RedisReply::Bulk(bytes) => bytes,
        RedisReply::Null => return Ok(None),
        other => {
            return Err(TransportError::Unknown(format!(
                "the lease cannot be read: {other:?}"
            )));
        }
    };
    match Lease::decode(&bytes) {
        Ok(lease) => Ok(Some(lease)),
        Err(error) => {
            // Each batch reads it.
            if HAS_WARNED.swap(true, Ordering::Relaxed) {
                tracing::debug!(%error, "cannot read the lease: treating it as free");
            } else {
                tracing::warn!(%error, "cannot read the lease: treating it as free");
            }
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::transport::Epoch;

    fn lease() -> Lease {
        Lease {
            epoch: Epoch(1_700_000_000_000),
            versions: (1, 3),
            max_frame: 4 << 20,
        }
    }

    #[test]
    fn lease_is_read_as_it_was_written() {
        let epoch = rmp_serde::to_vec(&lease().epoch.0).unwrap();
        let (process, number) = (7, 0x0102_0304);
        let tail = tail(&lease(), LeaseAttempt { process, number }).unwrap();
        assert!(tail.ends_with(&[0, 0, 0, 7, 1, 2, 3, 4]));
        let bytes = [HEAD, &epoch, &tail].concat();
        assert_eq!(Lease::decode(&bytes).unwrap(), lease());
    }
}
