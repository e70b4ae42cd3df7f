//! The scripts around the map of a fleet. Each works in the cluster slot of the map, except the last one.
//!
//! | key | fields | values |
//! |---|---|---|
//! | fleet | `version`, `freed`, `unswept` | counters |
//! | | `last` | the last number that a member was given |
//! | | `m:<id>` | a member's profile, which no script reads |
//! | | `s:<id>` | the digit of its state, and its node; without this it is no member |
//! | heartbeats | `<id>` | their number; apart from the fleet, so that they cost little to read |
//! | listed names of a shard | the name | the number of its member in six bytes, and a seventh if another member stands by |
//!
//! Counters that members compare are at least the time in ms, so that they rise even after data were lost.
//! A script that must work when Redis is out of memory deletes first: that is allowed then, and so are the
//! commands after it. Values that another program has written count as 0. Parts of members that it has
//! left or deleted are given heartbeats when the next member joins: where these stand still, they are
//! removed as a member is.

/// A script, behind functions for all of them.
macro_rules! script {
    ($($part:expr),*) => {
        concat!(
            "\
local fleet = KEYS[1]
local function number(text)
  local read = tonumber(text or '0')
  if read and read >= 0 and read < 281474976710656 then return math.floor(read) end
  return 0
end
local function get(field) return number(redis.call('HGET', fleet, field)) end
local function put(key, field, value)
  redis.call('HDEL', key, field)
  redis.call('HSET', key, field, string.format('%.0f', value))
end
local function rise(field)
  local time = redis.call('TIME')
  local value = math.max(get(field) + 1, time[1] * 1000 + math.floor(time[2] / 1000))
  put(fleet, field, value)
  return value
end
local function is_member(id) return redis.call('HEXISTS', fleet, 's:' .. id) == 1 end
",
            $($part),*
        )
    };
}

/// `change` raises the version and announces it on the channel, the first argument of a script; `delete`
/// deletes a member.
macro_rules! change {
    () => {
        "\
local function change()
  local version = rise('version')
  redis.call('PUBLISH', ARGV[1], string.format('%.0f', version))
  return version
end
local function delete(id)
  redis.call('HDEL', fleet, 'm:' .. id, 's:' .. id)
  redis.call('HDEL', KEYS[2], id)
end
"
    };
}

/// `owner` tells the number of the member that has a name, by the name's value, and its state: none, and
/// an empty one, if it is no member. `free` frees a name: one that a member stands by for stays, as that of
/// no member, so that clients wait.
macro_rules! owner {
    () => {
        "\
local owners = {}
local function owner(value)
  local packed = string.sub(value, 1, 6)
  local known = owners[packed]
  if not known then
    known = {state = ''}
    local a, b, c, d, e, f = string.byte(packed, 1, 6)
    if f then
      known.id = ((((a * 256 + b) * 256 + c) * 256 + d) * 256 + e) * 256 + f
      local member = redis.call('HGET', fleet, string.format('s:%.0f', known.id)) or ''
      known.state = string.sub(member, 1, 1)
    end
    owners[packed] = known
  end
  return known
end
local function is_awaited(value) return #value > 6 end
local function free(names, name, value)
  if not is_awaited(value) then
    redis.call('HDEL', names, name)
    return false
  end
  redis.call('HSET', names, name, string.rep('\\0', 6))
  return true
end
"
    };
}

/// Adds a member. Keys: fleet, heartbeats. Arguments: the channel, its node, its state, its profile. Returns
/// its number.
pub(super) const JOIN: &str = script!(
    change!(),
    "\
local parts, earlier, count = {}, {}, 0
for _, field in ipairs(redis.call('HKEYS', fleet)) do
  local kind, id = string.match(field, '^([ms]):(%d+)$')
  if id then parts[#parts + 1] = id end
  if kind == 's' then
    count = count + 1
    if string.sub(redis.call('HGET', fleet, field), 2) == ARGV[2] then
      earlier[#earlier + 1] = id
    end
  end
end
if count - #earlier >= 4096 then return redis.error_reply('ERR the fleet has too many members') end
local id = string.format('%.0f', rise('last'))
for _, part in ipairs(parts) do redis.call('HSETNX', KEYS[2], part, '0') end
for _, former in ipairs(earlier) do delete(former) end
redis.call('HSET', fleet, 'm:' .. id, ARGV[4], 's:' .. id, ARGV[3] .. ARGV[2])
put(KEYS[2], id, 1)
local version = change()
if #earlier > 0 then put(fleet, 'unswept', version) end
return tonumber(id)"
);

/// Writes the profile of a member anew. Keys: fleet, heartbeats. Arguments: the channel, its number, its
/// node, its state, its profile. Returns 1, or 0 if it is no member.
pub(super) const ANNOUNCE: &str = script!(
    change!(),
    "\
local id = ARGV[2]
if not is_member(id) then return 0 end
change()
redis.call('HSET', fleet, 'm:' .. id, ARGV[5], 's:' .. id, ARGV[4] .. ARGV[3])
return 1"
);

/// Counts a heartbeat. Keys: fleet, heartbeats. Arguments: the member's number. Returns 1, or 0 if it is no
/// member.
pub(super) const HEARTBEAT: &str = script!(
    "\
local id = ARGV[1]
if not is_member(id) then return 0 end
put(KEYS[2], id, number(redis.call('HGET', KEYS[2], id)) + 1)
return 1"
);

/// Removes a member whose heartbeats stand still. Keys: fleet, heartbeats. Arguments: the channel, its
/// number, and its heartbeats. Returns 1, or 0 if it has had another number of them, or is no member.
pub(super) const REMOVE: &str = script!(
    change!(),
    "\
local count = redis.call('HGET', KEYS[2], ARGV[2])
if not count or number(count) ~= tonumber(ARGV[3]) then return 0 end
delete(ARGV[2])
put(fleet, 'unswept', change())
return 1"
);

/// Lists names. Keys: fleet, and listed names of shards. Arguments: the number of the member, the same in
/// six bytes, and then for each shard the number of its names, and the names. Returns for each name 0 if the
/// caller has it, or the number of the member that has it; nil if the caller is no member.
pub(super) const LIST: &str = script!(
    owner!(),
    "\
local own, at, listed = ARGV[2], 3, {}
if not is_member(ARGV[1]) then return false end
for key = 2, #KEYS do
  local last, written = at + tonumber(ARGV[at]), {}
  for i, value in ipairs(redis.call('HMGET', KEYS[key], unpack(ARGV, at + 1, last))) do
    value = value or ''
    local has = 0
    if string.sub(value, 1, 6) ~= own then
      local found, next = owner(value), nil
      if found.state == '' or found.state == '3' then
        next = own .. (is_awaited(value) and '+' or '')
      else
        has = found.id
        if not is_awaited(value) then next = value .. '+' end
      end
      if next then written[#written + 1], written[#written + 2] = ARGV[at + i], next end
    end
    listed[#listed + 1] = has
  end
  if #written > 0 then redis.call('HSET', KEYS[key], unpack(written)) end
  at = last + 1
end
return listed"
);

/// Frees names that a member has. Keys: fleet, and listed names of shards. Arguments: the number of the
/// member in six bytes, and then names as [`LIST`] has them.
pub(super) const UNLIST: &str = script!(
    owner!(),
    "\
local at, is_freed = 2, false
for key = 2, #KEYS do
  local last = at + tonumber(ARGV[at])
  for i, value in ipairs(redis.call('HMGET', KEYS[key], unpack(ARGV, at + 1, last))) do
    if value and string.sub(value, 1, 6) == ARGV[1] then
      is_freed = free(KEYS[key], ARGV[at + i], value) or is_freed
    end
  end
  at = last + 1
end
if is_freed then rise('freed') end
return 1"
);

/// Frees names that are of no member. Keys: fleet, and listed names of a shard. Arguments: the position,
/// and the number of names to look at. Returns the next position.
pub(super) const SWEEP: &str = script!(
    owner!(),
    "\
local page = redis.call('HSCAN', KEYS[2], ARGV[1], 'COUNT', ARGV[2])
local is_freed = false
for i = 1, #page[2], 2 do
  local name, value = page[2][i], page[2][i + 1]
  if owner(value).state == '' then
    is_freed = free(KEYS[2], name, value) or is_freed
  end
end
if is_freed then rise('freed') end
return page[1]"
);

/// Notes that all shards were swept. Keys: fleet. Arguments: the version since which no member may have been
/// removed.
pub(super) const SWEPT: &str = script!(
    "\
if get('unswept') == tonumber(ARGV[1]) then redis.call('HDEL', fleet, 'unswept') end
return 1"
);

/// Deletes the inboxes of a node without a lease. Keys: its lease, its last epochs, and the inboxes of
/// these. Arguments: the last epochs as they were when the keys were made of them.
pub(super) const FORGET_NODE: &str = "\
if redis.call('GET', KEYS[1]) or redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('UNLINK', unpack(KEYS, 2))
return 1";
