//! What the key of a lease holds, and the scripts around it.
//!
//! The value is the lease frame of [`frame`](crate::bus::protocol); the scripts write its epoch.
//!
//! The scripts are sent whole: they run once in 2 s, and so there is nothing that a restart of
//! Redis or a `SCRIPT FLUSH` could take away.

use bytes::Bytes;
use fred::error::Error;

use crate::bus::redis::reason;
use crate::bus::transport::{Lease, TransportError};

/// Keys: lease, last epochs. Arguments: what precedes and what follows the epoch in the lease, and
/// how long it lasts in ms. Returns `[0, lease]`, or `[1, epoch, now, last epochs]`.
///
/// The last epochs are written as numbers with spaces between them, the newest first. Deleting comes
/// first: it is allowed when Redis is out of memory, and what follows then is so too.
///
/// An attempt whose answer was lost may have taken the lease, or take it yet: a later one of the same
/// process takes it from there, and an earlier one never does. Their numbers are the last four bytes.
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

/// Keys: lease. Arguments: what precedes the epoch, the epoch, and how long the lease is to last
/// in ms. Returns the time in ms, or nil if the lease is another's.
pub(super) const RENEW: &str = "\
local ours = ARGV[1] .. cmsgpack.pack(tonumber(ARGV[2]))
local lease = redis.call('GET', KEYS[1])
if not lease or string.sub(lease, 1, #ours) ~= ours then return false end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
local time = redis.call('TIME')
return time[1] * 1000 + math.floor(time[2] / 1000)";

/// Keys: lease, inbox. Arguments: what precedes the epoch, the epoch, and what to append to the
/// inbox. Here too, deleting comes first.
pub(super) const RELEASE: &str = "\
local ours = ARGV[1] .. cmsgpack.pack(tonumber(ARGV[2]))
local lease = redis.call('GET', KEYS[1])
if not lease or string.sub(lease, 1, #ours) ~= ours then return 0 end
redis.call('DEL', KEYS[1])
redis.call('RPUSH', KEYS[2], ARGV[3])
return 1";

/// What precedes the epoch: an array of three.
pub(super) const HEAD: &[u8] = &[0x93];

/// Which process takes a lease, and with which attempt.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempt {
    /// Another for each process, and for each proxy in it.
    pub(super) process: u64,
    pub(super) number: u32,
}

impl Attempt {
    fn to_bytes(self) -> [u8; 12] {
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&self.process.to_be_bytes());
        bytes[8..].copy_from_slice(&self.number.to_be_bytes());
        bytes
    }
}

/// What follows the epoch.
pub(super) fn tail(lease: &Lease, by: Attempt) -> Result<Vec<u8>, rmp_serde::encode::Error> {
    let mut bytes = rmp_serde::to_vec(&lease.versions)?;
    let attempt = serde_bytes::ByteArray::new(by.to_bytes());
    rmp_serde::encode::write(&mut bytes, &(lease.max_frame, attempt))?;
    Ok(bytes)
}

/// The lease in a reply. What was given to the connection along with it may have been done, so that
/// nothing here is certain to be not done.
pub(super) fn read(reply: Result<Option<Bytes>, Error>) -> Result<Option<Lease>, TransportError> {
    let Some(bytes) = reply.map_err(|error| TransportError::Unknown(reason(&error)))? else {
        return Ok(None);
    };
    match Lease::decode(&bytes) {
        Ok(lease) => Ok(Some(lease)),
        Err(error) => {
            tracing::warn!(%error, "the lease cannot be read: treated as none");
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
    fn what_is_written_is_read() {
        let epoch = rmp_serde::to_vec(&lease().epoch.0).unwrap();
        let (process, number) = (7, 0x0102_0304);
        let tail = tail(&lease(), Attempt { process, number }).unwrap();
        assert!(tail.ends_with(&[0, 0, 0, 7, 1, 2, 3, 4]));
        let bytes = [HEAD, &epoch, &tail].concat();
        assert_eq!(Lease::decode(&bytes).unwrap(), lease());
    }
}
