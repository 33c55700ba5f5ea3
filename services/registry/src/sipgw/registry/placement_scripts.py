"""The Lua scripts of placement: everything is under the tag {relays}, so each runs atomically.

order            sorted set: relays that may have room, by (newest revision, ordinal, lane), lowest first
known            sorted set: every relay by the end of its lease, at first by its registration
revisions        hash: revision of a live relay to its turn; the highest turn was seen last
relay:<key>      hash: the registration, the lease's end, what the relay reported, what is held beside that
held:<key>       sorted set by expiry: "call id:units" reserved and not yet reported by the relay
call:<call id>   "units:<key>": the relay that holds the call's reservation

<key> is "name/incarnation". What is held is a set, never a counter: `held_units` and `held_calls` in the hash
are sums of it, kept up by each step and taken anew by each heartbeat: a step costs the same whatever is held.
"""

from typing import Final

from sipgw.store import Script

RELAY_LEASE_MS: Final = 3_000
RESERVATION_MS: Final = 10_000
CONFIRMED_MS: Final = 60_000
KNOWN_MS: Final = 600_000
"""How long a lost relay is still listed, as not healthy."""

_CONSTANTS: Final = f"""
local RELAY_LEASE_MS, RESERVATION_MS = {RELAY_LEASE_MS}, {RESERVATION_MS}
local CONFIRMED_MS, KNOWN_MS = {CONFIRMED_MS}, {KNOWN_MS}
"""

_PRELUDE: Final = """
local prefix = KEYS[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function relay_key(relay) return prefix .. 'relay:' .. relay end
local function held_key(relay) return prefix .. 'held:' .. relay end
local function call_key(call) return prefix .. 'call:' .. call end
local function number(text) return tonumber(text or '0') or 0 end
local function incarnation_of(relay) return string.match(relay, '([^/]*)$') end
local function is_of_name(relay, name) return string.sub(relay, 1, #name + 1) == name .. '/' end

local function state_of(relay)
  local f = redis.call('HMGET', relay_key(relay), 'lease', 'draining', 'drain', 'capacity', 'used', 'ports',
    'held_units', 'held_calls', 'score', 'registration', 'full', 'late')
  return {
    healthy = number(f[1]) > now,
    draining = f[2] == '1' or f[3] == '1',
    full = f[11] == '1',
    late = f[12] == '1',
    free_units = number(f[4]) - number(f[5]) - number(f[7]),
    free_ports = number(f[6]) - number(f[8]),
    score = f[9],
    registration = f[10],
  }
end

local function put_in_order(relay)
  local state = state_of(relay)
  if state.healthy and not state.draining and not state.full and not state.late
    and state.free_units > 0 and state.free_ports > 0 then
    redis.call('ZADD', prefix .. 'order', state.score, relay)
  else
    redis.call('ZREM', prefix .. 'order', relay)
  end
end

local function take_sums(relay)
  local units, calls = 0, 0
  redis.call('ZREMRANGEBYSCORE', held_key(relay), '-inf', now)
  for _, member in ipairs(redis.call('ZRANGE', held_key(relay), 0, -1)) do
    units = units + number(string.match(member, ':(%d+)$'))
    calls = calls + 1
  end
  redis.call('HSET', relay_key(relay), 'held_units', units, 'held_calls', calls)
  put_in_order(relay)
end

local function has_reported(relay, call)
  local reported = redis.call('HGET', relay_key(relay), 'reported')
  return reported and string.find(reported, call, 1, true) ~= nil
end

local function reservation_of(call)
  local units, relay = string.match(redis.call('GET', call_key(call)) or '', '^(%d+):(.*)$')
  return relay, units
end

local function count(relay, units, calls)
  redis.call('HINCRBY', relay_key(relay), 'held_units', units)
  redis.call('HINCRBY', relay_key(relay), 'held_calls', calls)
  put_in_order(relay)
end

local function hold(relay, call, units, ms)
  local added = redis.call('ZADD', held_key(relay), now + ms, call .. ':' .. units)
  redis.call('SET', call_key(call), units .. ':' .. relay, 'PX', ms)
  if added == 1 then count(relay, units, 1) end
end

local function let_go(relay, call, units)
  redis.call('DEL', call_key(call))
  if redis.call('ZREM', held_key(relay), call .. ':' .. units) == 1 then count(relay, -units, -1) end
end
"""


def _script(name: str, body: str) -> Script:
    return Script(name, _CONSTANTS + _PRELUDE + body, is_repeatable=True)


REGISTER: Final = _script(
    "register_relay",
    """
local relay, name, registration, capacity, revision, rank = unpack(ARGV)
local live_revisions = {[revision] = true}
for _, other in ipairs(redis.call('ZRANGE', prefix .. 'known', 0, -1)) do
  local f = redis.call('HMGET', relay_key(other), 'lease', 'revision')
  if other ~= relay and is_of_name(other, name) then
    -- The name's earlier incarnation is gone: its lease need not run out before nothing more is placed on it.
    redis.call('ZREM', prefix .. 'order', other)
    if number(f[1]) > now then redis.call('HSET', relay_key(other), 'lease', now) end
  elseif f[2] then
    -- Without a lease it has registered and not beaten yet.
    local until_ms = f[1] or number(redis.call('ZSCORE', prefix .. 'known', other)) + RELAY_LEASE_MS
    if number(until_ms) > now then live_revisions[f[2]] = true end
  end
end
-- By the set's score, which a relay between its registration and its first beat has too.
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', prefix .. 'known', '-inf', now - KNOWN_MS)) do
  redis.call('ZREM', prefix .. 'known', gone)
  redis.call('DEL', relay_key(gone), held_key(gone))
end
-- A revision that nobody runs any more has no turn: one that comes back (a rollback) is the newest again.
for _, seen in ipairs(redis.call('HKEYS', prefix .. 'revisions')) do
  if not live_revisions[seen] then redis.call('HDEL', prefix .. 'revisions', seen) end
end
local turn = redis.call('HGET', prefix .. 'revisions', revision)
if not turn then
  turn = redis.call('INCR', prefix .. 'turns')
  redis.call('HSET', prefix .. 'revisions', revision, turn)
end
redis.call('HSET', relay_key(relay), 'registration', registration, 'capacity', capacity, 'revision', revision,
  'score', string.format('%.0f', rank - turn * 4294967296))
redis.call('ZADD', prefix .. 'known', 'NX', now, relay)
return 1
""",
)
"""ARGV: key, name, registration, capacity, revision, rank (ordinal and lane in one number below 2^32)."""

BEAT: Final = _script(
    "beat_relay",
    """
local relay, used, draining, ports, reported, calls, full, late = unpack(ARGV)
if redis.call('HEXISTS', relay_key(relay), 'registration') == 0 then return false end
redis.call('HSET', relay_key(relay), 'lease', now + RELAY_LEASE_MS, 'used', used, 'draining', draining,
  'ports', ports, 'reported', reported, 'calls', calls, 'full', full, 'late', late)
redis.call('ZADD', prefix .. 'known', now + RELAY_LEASE_MS, relay)
local held = redis.call('ZRANGE', held_key(relay), 0, -1)
if #held > 0 then
  local has = {}
  for call in string.gmatch(reported, '[^ ]+') do has[call] = true end
  for _, member in ipairs(held) do
    if has[string.match(member, '^(.*):')] then redis.call('ZREM', held_key(relay), member) end
  end
end
take_sums(relay)
return redis.call('HGET', relay_key(relay), 'drain') or '0'
""",
)
"""ARGV: key, used units, draining, ports free, the reported call ids between spaces, their number, full,
late.

Returns nil: register first. Otherwise "1" when the relay shall drain.
"""

RESERVE: Final = _script(
    "reserve",
    """
local call, units, avoid = ARGV[1], ARGV[2], {}
for i = 3, #ARGV do avoid[ARGV[i]] = true end

local before, units_before = reservation_of(call)
if before then
  local state = state_of(before)
  local is_held = redis.call('ZSCORE', held_key(before), call .. ':' .. units_before)
  if not avoid[incarnation_of(before)] and state.healthy and not state.draining
    and (is_held and number(is_held) > now or has_reported(before, call)) then
    return {'placed', state.registration}
  end
  let_go(before, call, units_before)
end

local first = 0
while true do
  local relays = redis.call('ZRANGE', prefix .. 'order', first, first + 15)
  if #relays == 0 then break end
  for _, relay in ipairs(relays) do
    local state = state_of(relay)
    if not state.healthy or state.draining or state.full or state.late then
      redis.call('ZREM', prefix .. 'order', relay)
      first = first - 1
    elseif not avoid[incarnation_of(relay)] and state.free_units >= number(units)
      and state.free_ports > 0 then
      hold(relay, call, units, RESERVATION_MS)
      return {'placed', state.registration}
    end
  end
  first = first + #relays
end

local healthy, staying, taking, full, late = 0, 0, 0, 0, 0
for _, relay in ipairs(redis.call('ZRANGEBYSCORE', prefix .. 'known', string.format('(%.0f', now), '+inf')) do
  local state = state_of(relay)
  if state.healthy then healthy = healthy + 1 end
  if state.healthy and not state.draining then
    staying = staying + 1
    if state.full then full = full + 1
    elseif state.late then late = late + 1
    else taking = taking + 1 end
  end
end
if healthy == 0 then return {'no relay'} end
if staying == 0 then return {'all draining'} end
if late == staying then return {'all late'} end
if full == staying then return {'all full'} end
if taking == 0 then return {'all full or late'} end
return {'no room'}
""",
)
"""ARGV: call id, units, then the incarnations to avoid."""

CONFIRM: Final = _script(
    "confirm",
    """
local call, incarnation, units = ARGV[1], ARGV[2], ARGV[3]
local relay, held_units = reservation_of(call)
if relay and incarnation_of(relay) ~= incarnation then return 0 end
if not relay then
  for _, other in ipairs(redis.call('ZRANGE', prefix .. 'known', 0, -1)) do
    if incarnation_of(other) == incarnation then relay = other end
  end
end
if not relay or not state_of(relay).healthy then return 0 end
units = held_units or units
if has_reported(relay, call) then
  redis.call('SET', call_key(call), units .. ':' .. relay, 'PX', CONFIRMED_MS)
else
  hold(relay, call, units, CONFIRMED_MS)
end
return 1
""",
)
"""ARGV: call id, the relay's incarnation, units for an expired reservation.

Returns 1 when that relay lives: the call is held until the relay's report replaces the reservation.
"""

RELEASE: Final = _script(
    "release",
    """
local relay, units = reservation_of(ARGV[1])
if not relay or (ARGV[2] ~= '' and incarnation_of(relay) ~= ARGV[2]) then return 0 end
let_go(relay, ARGV[1], units)
return 1
""",
)
"""ARGV: call id, the relay's incarnation ("" for any)."""

DRAIN: Final = _script(
    "drain_relay",
    """
local found = 0
for _, relay in ipairs(redis.call('ZRANGE', prefix .. 'known', 0, -1)) do
  if is_of_name(relay, ARGV[1]) and state_of(relay).healthy then
    redis.call('HSET', relay_key(relay), 'drain', ARGV[2])
    put_in_order(relay)
    found = 1
  end
end
return found
""",
)
"""ARGV: name, 1 or 0. Drains the live incarnation; a later one under the name takes calls."""

LIST: Final = _script(
    "list_relays",
    """
local found = {}
for _, relay in ipairs(redis.call('ZRANGEBYSCORE', prefix .. 'known', now - KNOWN_MS, '+inf')) do
  local state = state_of(relay)
  if state.registration then
    local f = redis.call('HMGET', relay_key(relay), 'used', 'calls', 'ports', 'held_units', 'held_calls',
      'drain')
    found[#found + 1] = {state.registration, state.healthy and 1 or 0, state.draining and 1 or 0,
      number(f[1]), number(f[2]), number(f[3]), number(f[4]), number(f[5]), number(f[6]),
      state.full and 1 or 0, state.late and 1 or 0}
  end
end
return found
""",
)
