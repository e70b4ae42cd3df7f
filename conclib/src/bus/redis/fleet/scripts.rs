//! The scripts around the map of a fleet. Each works in the cluster slot of the map.
//!
//! The first key is always the hash of the fleet, with the fields `version`, `last` (the last number that a
//! member was given), `freed` and `unswept`, and for each member `m:<id>` (its profile, which no script
//! reads), `s:<id>` (the digit of its state, and its node) and `b:<id>` (the number of its heartbeats). A
//! member without `s:<id>` is none any more. Leftovers of one, such as a count alone, are reported by
//! [`PULSE`] and removed as a member is.
//!
//! A listed name's value is the number of its member in six bytes, and a seventh if another member stands
//! by. See [`names`](super::names).
//!
//! Counters that users can see are at least the time in ms: so they rise even after the data were lost.
//! Deleting comes first where a script must work when Redis is out of memory: it is allowed then, and so are
//! the commands after it. Fields that another program has written count as 0.

/// Functions for all scripts, in front of each.
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
local function put(field, value)
  redis.call('HDEL', fleet, field)
  redis.call('HSET', fleet, field, string.format('%.0f', value))
end
local function rise(field)
  local time = redis.call('TIME')
  local value = math.max(get(field) + 1, time[1] * 1000 + math.floor(time[2] / 1000))
  put(field, value)
  return value
end
local function is_member(id) return redis.call('HEXISTS', fleet, 's:' .. id) == 1 end
",
            $($part),*
        )
    };
}

/// Announces a change of the map; returns its version. The first argument of a script is the channel.
macro_rules! change {
    () => {
        "\
local function change()
  local version = rise('version')
  redis.call('PUBLISH', ARGV[1], string.format('%.0f', version))
  return version
end
local function delete(id) redis.call('HDEL', fleet, 'm:' .. id, 's:' .. id, 'b:' .. id) end
"
    };
}

/// Reads the counters: version, freed, unswept, and numbers of members with their heartbeats.
macro_rules! pulse {
    () => {
        "\
local function pulse()
  local fields, ids, seen, heartbeats = {}, {}, {}, {}
  for _, field in ipairs(redis.call('HKEYS', fleet)) do
    local id = string.match(field, '^[bms]:(%d+)$')
    if id and not seen[id] and #ids < 4096 then
      seen[id] = true
      ids[#ids + 1] = id
      fields[#fields + 1] = 'b:' .. id
    end
  end
  if #ids > 0 then
    for i, count in ipairs(redis.call('HMGET', fleet, unpack(fields))) do
      heartbeats[2 * i - 1], heartbeats[2 * i] = number(ids[i]), number(count)
    end
  end
  return {get('version'), get('freed'), get('unswept'), heartbeats}
end
"
    };
}

/// Tells of which member a listed name is, by its value: its number, and its state, which is empty if it is
/// none.
macro_rules! owner {
    () => {
        "\
local function owner(value)
  local a, b, c, d, e, f = string.byte(value, 1, 6)
  if not f then return '' end
  return string.format('%.0f', ((((a * 256 + b) * 256 + c) * 256 + d) * 256 + e) * 256 + f)
end
local states = {}
local function state(value)
  local id = owner(value)
  if id == '' then return '' end
  if not states[id] then
    states[id] = string.sub(redis.call('HGET', fleet, 's:' .. id) or '', 1, 1)
  end
  return states[id]
end
local function is_awaited(value) return #value > 6 end
"
    };
}

/// Adds a member. Arguments: the channel, its node, its state, its profile. Returns its number.
pub(super) const JOIN: &str = script!(
    change!(),
    "\
local earlier, count = {}, 0
for _, field in ipairs(redis.call('HKEYS', fleet)) do
  local id = string.match(field, '^s:(%d+)$')
  if id then
    count = count + 1
    if string.sub(redis.call('HGET', fleet, field), 2) == ARGV[2] then
      earlier[#earlier + 1] = id
    end
  end
end
if count - #earlier >= 4096 then return redis.error_reply('ERR the fleet has too many members') end
local id = string.format('%.0f', rise('last'))
for _, former in ipairs(earlier) do delete(former) end
redis.call('HSET', fleet, 'm:' .. id, ARGV[4], 's:' .. id, ARGV[3] .. ARGV[2], 'b:' .. id, '1')
local version = change()
if #earlier > 0 then put('unswept', version) end
return tonumber(id)"
);

/// Writes the profile of a member anew. Arguments: the channel, its number, its node, its state, its
/// profile. Returns 1, or 0 if it is no member.
pub(super) const ANNOUNCE: &str = script!(
    change!(),
    "\
local id = ARGV[2]
if not is_member(id) then return 0 end
change()
redis.call('HSET', fleet, 'm:' .. id, ARGV[5], 's:' .. id, ARGV[4] .. ARGV[3])
return 1"
);

/// Counts a heartbeat. Arguments: the member's number. Returns the counters, or nil if it is no member.
pub(super) const HEARTBEAT: &str = script!(
    pulse!(),
    "\
if not is_member(ARGV[1]) then return false end
local count = 'b:' .. ARGV[1]
put(count, get(count) + 1)
return pulse()"
);

/// Reads the counters.
pub(super) const PULSE: &str = script!(pulse!(), "return pulse()");

/// Removes a member whose heartbeats stand still. Arguments: the channel, its number, and its heartbeats.
/// Returns 1, or 0 if it has had another number of them, or is no member.
pub(super) const REMOVE: &str = script!(
    change!(),
    "\
local id = ARGV[2]
local is_there = false
for _, kind in ipairs({'m:', 's:', 'b:'}) do
  is_there = is_there or redis.call('HEXISTS', fleet, kind .. id) == 1
end
if not is_there or get('b:' .. id) ~= tonumber(ARGV[3]) then return 0 end
delete(id)
put('unswept', change())
return 1"
);

/// Lists names. Keys: the fleet, and hashes of listed names. Arguments: the number of the member, the same in
/// six bytes, and then for each name the place of its hash among the keys, and the name. Returns for each
/// name 0 if the caller has it, or the number of the member that has it; nil if the caller is no member.
pub(super) const LIST: &str = script!(
    owner!(),
    "\
local id, own = ARGV[1], ARGV[2]
if not is_member(id) then return false end
local listed = {}
for i = 3, #ARGV, 2 do
  local names, name = KEYS[tonumber(ARGV[i])], ARGV[i + 1]
  local value = redis.call('HGET', names, name) or ''
  local found, has = state(value), 0
  if string.sub(value, 1, 6) ~= own then
    if found == '' or found == '3' then
      redis.call('HSET', names, name, own .. (is_awaited(value) and '+' or ''))
    else
      has = tonumber(owner(value))
      if not is_awaited(value) then redis.call('HSET', names, name, value .. '+') end
    end
  end
  listed[#listed + 1] = has
end
return listed"
);

/// Frees names that a member has. Keys: the fleet, and hashes of listed names. Arguments: the number of the
/// member in six bytes, and then names as [`LIST`] has them.
pub(super) const UNLIST: &str = script!(
    owner!(),
    "\
local is_freed = false
for i = 2, #ARGV, 2 do
  local names, name = KEYS[tonumber(ARGV[i])], ARGV[i + 1]
  local value = redis.call('HGET', names, name) or ''
  if string.sub(value, 1, 6) == ARGV[1] then
    redis.call('HDEL', names, name)
    is_freed = is_freed or is_awaited(value)
  end
end
if is_freed then rise('freed') end
return 1"
);

/// Frees names that are of no member. Keys: the fleet, and a hash of listed names. Arguments: the position,
/// and the number of names to look at. Returns the next position.
pub(super) const SWEEP: &str = script!(
    owner!(),
    "\
local page = redis.call('HSCAN', KEYS[2], ARGV[1], 'COUNT', ARGV[2])
local is_freed = false
for i = 1, #page[2], 2 do
  local name, value = page[2][i], page[2][i + 1]
  if state(value) == '' then
    redis.call('HDEL', KEYS[2], name)
    is_freed = is_freed or is_awaited(value)
  end
end
if is_freed then rise('freed') end
return page[1]"
);

/// Notes that all shards were swept. Arguments: the version since which no member may have been removed.
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
