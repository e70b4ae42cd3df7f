//! The value of a lease's key, and the scripts around it.
//!
//! The value is the lease frame of [`protocol`](crate::bus::protocol); the scripts write its epoch.
//!
//! The scripts are sent whole: they run once in 2 s, and a restart of Redis or a `SCRIPT FLUSH`
//! cannot take them away.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::bus::redis::resp::RedisReply;
use crate::bus::transport::{Epoch, FormerTerm, LeaseClaim, LeaseRecord, TransportError};

/// Takes the lease. Keys: lease, last epochs. Arguments: the bytes before the epoch, those between the
/// epoch and the age, the owner, its instance, its age or 0, the attempt, the duration of the lease in
/// ms, and the epoch that the owner held last, or 0. Returns the age last, and before it:
/// `0, lease` if another system has it; `1, epoch, now, last epochs` if it was taken; `2, lease` if a
/// younger process of the same instance has it; `3, ''` if another system has had it since the owner
/// held it.
///
/// The last epochs are written as `epoch:owner`, and `r` if the lease was released, with spaces behind
/// them, the newest first. Deleting comes first: it is allowed when Redis is out of memory, and then so
/// are the commands after it.
///
/// An attempt whose reply was lost may have taken the lease, or take it yet: a later attempt of the
/// same owner takes it over, and an earlier one never does.
///
/// The age of a process is the epoch that could have been given out at its first attempt, or its first
/// one in the list: the epochs that an older process had are smaller. An attempt that does not know its
/// age takes no lease from another process: it may be late, and its process gone.
pub(super) const ACQUIRE: &str = "\
local lease = redis.call('GET', KEYS[1])
local last = redis.call('GET', KEYS[2]) or ''
local owner, attempt, age, before = ARGV[3], tonumber(ARGV[6]), tonumber(ARGV[5]), ARGV[8]
local knows_age = age > 0
local count, since, others = 0, before ~= '0', false
for entry in string.gmatch(last, '%S+') do
  count = count + 1
  local epoch, by = string.match(entry, '^%d+'), string.match(entry, ':(%x+)')
  if epoch == before then since = false end
  if by == owner and not knows_age then age = tonumber(epoch) end
  if by ~= owner and since then others = true end
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local epoch = math.max((tonumber(string.match(last, '^%d+')) or 0) + 1, now, age)
if age == 0 then age = epoch end
local is_read, held = pcall(cmsgpack.unpack, lease or '')
if not is_read or type(held) ~= 'table' then held = {} end
local is_ours = held[7] == owner
local held_age, held_attempt = tonumber(held[8]), tonumber(held[9])
local is_namesake = held_age and ARGV[4] ~= '' and held[6] == ARGV[4] and not is_ours
if is_namesake and knows_age and held_age >= age then return {2, lease, age} end
if others or (since and count >= 8) then
  if is_ours then redis.call('DEL', KEYS[1]) end
  return {3, '', age}
end
if lease then
  if not held_age or not held_attempt then return {0, lease, age} end
  if is_ours then
    if held_attempt >= attempt then return {0, lease, age} end
  elseif not is_namesake or not knows_age then
    return {0, lease, age}
  end
end
local all = string.format('%.0f:%s %s', epoch, owner, last)
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[2], string.match(all, '^' .. string.rep('%S+ ', 8)) or all)
local value = ARGV[1] .. cmsgpack.pack(epoch) .. ARGV[2] .. cmsgpack.pack(age) .. cmsgpack.pack(attempt)
redis.call('SET', KEYS[1], value, 'PX', ARGV[7])
return {1, epoch, now, last, age}";

/// The beginning of the scripts for a lease that the caller should own. Keys: lease. Arguments: the
/// epoch, and the owner. After a failover that has lost writes, another system can have the same epoch.
macro_rules! if_owned {
    ($otherwise:literal, $then:literal) => {
        concat!(
            "local lease = redis.call('GET', KEYS[1])\n\
             local is_read, held = pcall(cmsgpack.unpack, lease or '')\n\
             local is_ours = is_read and type(held) == 'table' and held[7] == ARGV[2]\n\
             if not is_ours or held[1] ~= tonumber(ARGV[1]) then return ",
            $otherwise,
            " end\n",
            $then
        )
    };
}

/// Writes the lease anew, with the same epoch, and appends a frame to the inbox if one is given: from then
/// on its owner takes requests, or no more of them. Keys: lease, and the inbox. Arguments: the epoch, the
/// owner, the bytes before and behind the epoch, the duration of the lease in ms, and the frame. Returns 1,
/// or 0 if the caller does not own the lease.
pub(super) const REWRITE: &str = if_owned!(
    "0",
    "redis.call('DEL', KEYS[1])
local value = ARGV[3] .. cmsgpack.pack(tonumber(ARGV[1])) .. ARGV[4]
redis.call('SET', KEYS[1], value, 'PX', ARGV[5])
if KEYS[2] then redis.call('RPUSH', KEYS[2], ARGV[6]) end
return 1"
);

/// Renews the lease. Keys: lease. Arguments: the epoch, the owner, and the duration of the lease in ms.
/// Returns the time in ms, or nil if the caller does not own the lease.
pub(super) const RENEW: &str = if_owned!(
    "false",
    "redis.call('PEXPIRE', KEYS[1], ARGV[3])
local time = redis.call('TIME')
return time[1] * 1000 + math.floor(time[2] / 1000)"
);

/// Gives a lost lease back, in case it still stands. Keys: lease. Arguments: the epoch, and the owner.
/// Returns 1, or 0 if the caller does not own the lease.
pub(super) const GIVE_UP: &str = if_owned!(
    "0",
    "redis.call('DEL', KEYS[1])
return 1"
);

/// Releases the lease in good order. Keys: lease, last epochs. Arguments: the epoch, and the owner.
/// Returns 1, or 0 if the caller does not own the lease. Here too, deleting comes first.
pub(super) const RELEASE: &str = if_owned!(
    "0",
    "redis.call('DEL', KEYS[1])
local last = redis.call('GET', KEYS[2])
if last then
  redis.call('SET', KEYS[2], (string.gsub(last, '^' .. ARGV[1] .. ':%x+', '%0r')))
end
return 1"
);

/// The bytes before the epoch: an array of nine.
pub(super) const HEAD: &[u8] = &[0x99];

/// The process that takes a lease.
#[derive(Debug, Clone, Copy)]
pub(super) struct LeaseOwner {
    /// A random number for each proxy in each process.
    id: u64,
}

impl LeaseOwner {
    pub(super) fn random() -> Self {
        Self {
            id: fastrand::u64(..),
        }
    }

    /// The number as a text: the scripts' decoder knows no binary elements.
    pub(super) fn hex(self) -> String {
        format!("{:016x}", self.id)
    }
}

/// The bytes between the epoch and the age.
pub(super) fn middle(
    claim: &LeaseClaim,
    owner: LeaseOwner,
) -> Result<Vec<u8>, rmp_serde::encode::Error> {
    let mut bytes = rmp_serde::to_vec(&claim.versions)?;
    rmp_serde::encode::write(&mut bytes, &(claim.max_frame,))?;
    let length = u64::try_from(claim.length.as_millis()).unwrap_or(u64::MAX);
    rmp_serde::encode::write(&mut bytes, &length)?;
    rmp_serde::encode::write(&mut bytes, &claim.serves)?;
    rmp_serde::encode::write(&mut bytes, &claim.instance)?;
    rmp_serde::encode::write(&mut bytes, &owner.hex())?;
    Ok(bytes)
}

/// The bytes behind the epoch.
pub(super) fn tail(
    claim: &LeaseClaim,
    owner: LeaseOwner,
    age: u64,
    attempt: u32,
) -> Result<Vec<u8>, rmp_serde::encode::Error> {
    let mut bytes = middle(claim, owner)?;
    rmp_serde::encode::write(&mut bytes, &age)?;
    rmp_serde::encode::write(&mut bytes, &attempt)?;
    Ok(bytes)
}

/// The last epochs, as [`ACQUIRE`] returns them, the newest first.
pub(super) fn read_epochs(last: &str, owner: LeaseOwner) -> Vec<FormerTerm> {
    let owner = owner.hex();
    let read = |entry: &str| {
        let (epoch, rest) = entry.split_once(':').unwrap_or((entry, ""));
        let released = rest.strip_suffix('r');
        Some(FormerTerm {
            epoch: Epoch(epoch.parse().ok()?),
            is_own: released.unwrap_or(rest) == owner,
            was_released: released.is_some(),
        })
    };
    last.split(' ').filter_map(read).collect()
}

/// The lease in the reply to a `GET`. Commands that were given to the connection along with it may
/// have been executed, so that no error here is [`TransportError::NotDone`].
pub(super) fn read(reply: RedisReply) -> Result<Option<LeaseRecord>, TransportError> {
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
    match LeaseRecord::decode(&bytes) {
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
    use std::time::Duration;

    use super::*;

    #[test]
    fn lease_is_read_as_it_was_written() {
        let claim = LeaseClaim {
            versions: (1, 3),
            max_frame: 4 << 20,
            length: Duration::from_secs(6),
            serves: true,
            instance: "worker-0".to_owned(),
            age: None,
            before: None,
        };
        let epoch = Epoch(1_700_000_000_000);
        let written = rmp_serde::to_vec(&epoch.0).unwrap();
        let tail = tail(&claim, LeaseOwner { id: 7 }, 9, 5).unwrap();
        assert!(tail.ends_with(b"0007\x09\x05"));
        let bytes = [HEAD, &written, &tail].concat();
        let LeaseClaim {
            versions,
            max_frame,
            length,
            serves,
            ..
        } = claim;
        let lease = LeaseRecord {
            epoch,
            versions,
            max_frame,
            length,
            serves,
        };
        assert_eq!(LeaseRecord::decode(&bytes).unwrap(), lease);
    }

    #[test]
    fn epochs_are_read_with_their_owners() {
        let (own, other) = (LeaseOwner { id: 0xab }, LeaseOwner { id: 1 });
        let text = format!("9:{} 8:{}r 7 x:1 ", own.hex(), other.hex());
        let term = |epoch, is_own, was_released| FormerTerm {
            epoch: Epoch(epoch),
            is_own,
            was_released,
        };
        let expected = [
            term(9, true, false),
            term(8, false, true),
            term(7, false, false),
        ];
        assert_eq!(read_epochs(&text, own), expected);
        assert_eq!(read_epochs("", own), []);
    }
}
