"""The Lua scripts that write calls, each over one partition's record, indexes, stream and outbox.

The owner index (a hash, call id to owner) lists the live calls of the partition, the tombstone index (a
sorted set by expiry) the ended ones. Both change in the script that changes the record, so neither can drift.
The end of a call also goes into the outbox (`ended_outbox`), a stream of its own: the stream of saves keeps
an entry for two minutes only.
"""

from typing import Final

from sipgw.store import Script

STREAM_RETENTION_MS: Final = 120_000
"""How long stream entries are kept, which is how long a watcher may be away."""

OUTBOX_LENGTH: Final = 4096
"""The most ended calls that a partition's outbox keeps when nobody takes them.

262,144 for the gateway, about 100 MB.
"""

# KEYS: record, owners, ended, stream, outbox. ARGV from 1: new record, call id, owner, transition, tombstone
# ms ("" when live).
_WRITE: Final = f"""
local function write()
  local now = redis.call('TIME')
  local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
  if ARGV[5] ~= '' then
    redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[5])
    redis.call('HDEL', KEYS[2], ARGV[2])
    redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now_ms)
    redis.call('ZADD', KEYS[3], now_ms + ARGV[5], ARGV[2])
    redis.call('XADD', KEYS[5], 'MAXLEN', '~', {OUTBOX_LENGTH}, '*', 't', ARGV[4])
  else
    redis.call('SET', KEYS[1], ARGV[1])
    redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
    redis.call('ZREM', KEYS[3], ARGV[2])
  end
  local oldest = string.format('%.0f', now_ms - {STREAM_RETENTION_MS})
  redis.call('XADD', KEYS[4], 'MINID', '~', oldest, '*', 't', ARGV[4])
end
"""

CREATE: Final = Script(
    "create_call",
    _WRITE
    + """
local held = redis.call('GET', KEYS[1])
if held then
  if string.sub(held, 1, 33) == string.sub(ARGV[1], 1, 33) then return false end
  return held
end
write()
return false
""",
    is_repeatable=True,
)
"""Returns nil when the record was created, else the record that is there."""

SAVE: Final = Script(
    "save_call",
    _WRITE
    + """
local head = redis.call('GETRANGE', KEYS[1], 0, 32)
if string.sub(head, 9, 24) ~= ARGV[6] then
  if head == string.sub(ARGV[1], 1, 33) then return {'saved'} end
  return {'conflict', redis.call('GET', KEYS[1])}
end
local state = string.sub(head, 33, 33)
if not string.find(ARGV[7], state, 1, true) then return {'illegal', state} end
write()
return {'saved'}
""",
    is_repeatable=True,
)
"""ARGV 6: the expected version; 7: the states from which the new state may follow."""

RESTORE: Final = Script(
    "restore_call",
    _WRITE
    + """
local held = redis.call('GET', KEYS[1])
if held and string.sub(held, 1, 24) >= string.sub(ARGV[1], 1, 24) then return held end
write()
return false
""",
    is_repeatable=True,
)
"""Returns nil when our record was published, else the record that is as new or newer."""

FORGET: Final = Script(
    "forget_call",
    """
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
return redis.call('HDEL', KEYS[2], ARGV[1])
""",
    is_repeatable=True,
)
"""Removes a call whose record is gone from the owner index."""
