"""The Lua scripts of the outbox: take entries, take over those of dead consumers, acknowledge.

Each takes any number of partitions' outboxes as KEYS; in a Cluster one at a time. Acknowledged entries are
deleted in the same step, so an outbox holds only ended calls that have not been exported yet. Redis 6.2
commands only.
"""

from typing import Final

from sipgw.store import Script

OUTBOX_GROUP: Final = "call-records"

# Create the group when it is missing, at the first take and after data loss, from the beginning of the
# stream, so that calls that ended before are exported too.
_GROUP: Final = f"""
local group = '{OUTBOX_GROUP}'
local function with_group(key, ask)
  local answer = ask()
  if type(answer) == 'table' and answer.err then
    if string.sub(answer.err, 1, 7) ~= 'NOGROUP' then return redis.error_reply(answer.err) end
    redis.call('XGROUP', 'CREATE', key, group, '0', 'MKSTREAM')
    answer = ask()
  end
  return answer
end
local found = {{}}
"""

TAKE: Final = Script(
    "take_ends",
    _GROUP
    + """
for place, key in ipairs(KEYS) do
  local answer = with_group(key, function()
    return redis.pcall('XREADGROUP', 'GROUP', group, ARGV[1], 'COUNT', ARGV[2], 'STREAMS', key, '>')
  end)
  if answer and answer.err then return answer end
  if answer then
    for _, entry in ipairs(answer[1][2]) do
      table.insert(found, {place, entry[1], entry[2][2]})
    end
  end
end
return found
""",
)
"""ARGV: consumer, most entries of each outbox. Returns (index of the key, id, session) of new entries."""

# Claim with JUSTID, then read the entry by its id: for an entry that was trimmed while pending Redis 6.2
# returns nil without an id, so it could never be acknowledged.
TAKE_OVER: Final = Script(
    "take_over_ends",
    _GROUP
    + """
local waiting = 0
for place, key in ipairs(KEYS) do
  local answer = with_group(key, function()
    return redis.pcall('XAUTOCLAIM', key, group, ARGV[1], ARGV[3], '0-0', 'COUNT', ARGV[2], 'JUSTID')
  end)
  if answer.err then return answer end
  for _, id in ipairs(answer[2]) do
    local entry = id and redis.call('XRANGE', key, id, id)[1]
    if entry then
      table.insert(found, {place, id, entry[2][2]})
    elseif id then
      redis.call('XACK', key, group, id)
    end
  end
  for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', key, group)) do
    if consumer[4] == 0 and consumer[6] >= tonumber(ARGV[4]) then
      redis.call('XGROUP', 'DELCONSUMER', key, group, consumer[2])
    end
  end
  waiting = waiting + redis.call('XLEN', key)
end
return {waiting, found}
""",
)
"""ARGV: consumer; most entries of each outbox; ms that another consumer has held an entry.

Ms after which a consumer that owes nothing is removed from the group. Returns how many entries wait, then the
same as TAKE.
"""

ACKNOWLEDGE: Final = Script(
    "acknowledge_ends",
    f"""
for place, key in ipairs(KEYS) do
  redis.call('XACK', key, '{OUTBOX_GROUP}', ARGV[place])
  redis.call('XDEL', key, ARGV[place])
end
""",
    is_repeatable=True,
)
"""KEYS: the outbox of each entry. ARGV: the id of each entry."""
