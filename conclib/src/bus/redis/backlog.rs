//! The script that counts what waits for a node.

use fred::types::Resp3Frame;

use crate::bus::redis::library::{into_array, into_bytes, into_u64};
use crate::bus::transport::Backlog;

/// Counts what waits for a node. Keys: inbox, durable messages, delayed ones, dead letters. Returns four numbers, -1
/// for one that may not be read, and the id of the first durable message, or an empty text.
///
/// A script, so that the first message itself stays there, which may be large.
pub(super) const READ: &str = "\
local function number(...)
  local reply = redis.pcall(...)
  return type(reply) == 'number' and reply or -1
end
local first = redis.pcall('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)
local id = not first.err and first[1] and first[1][1] or ''
return {number('LLEN', KEYS[1]), number('XLEN', KEYS[2]), number('ZCARD', KEYS[3]), number('XLEN', KEYS[4]), id}";

/// Reads the reply to [`READ`].
pub(super) fn read(reply: Resp3Frame) -> Option<Backlog> {
    let mut reply = into_array(reply)?;
    let first = into_bytes(reply.pop()?)?;
    let [inbox, stored, delayed, dead_letters] = &reply[..] else {
        return None;
    };
    Some(Backlog {
        inbox: into_u64(inbox),
        stored: into_u64(stored),
        oldest: String::from_utf8_lossy(&first).parse().ok(),
        delayed: into_u64(delayed),
        dead_letters: into_u64(dead_letters),
    })
}
