"""EdgeLeases: which edges live, at which address, and whether this process may declare one lapsed.

All leases are in one slot: a sorted set by expiry in Redis time, and the addresses. Beside them is a random
mark, drawn anew when it is missing. A reader that meets another mark knows that the leases were lost with the
data. A missing lease then proves nothing until every live edge has had a lease period to renew it.
"""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from sipgw.runtime.settings import Identity
from sipgw.store import Script, Store, StoreUnavailable, edges_key

EDGE_LEASE_MS: Final = 3_000
EDGE_BEAT_PERIOD_S: Final = 1.0
_FORGET_AFTER_MS: Final = 3_600_000

# KEYS: leases, addresses, mark. ARGV: fresh mark, then of a beat: member, address, lease ms, forget-after ms.
_BEAT_AND_READ: Final = Script(
    "edge_leases",
    """
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
redis.call('SET', KEYS[3], ARGV[1], 'NX')
if ARGV[2] then
  if ARGV[4] == '0' then
    redis.call('ZREM', KEYS[1], ARGV[2])
    redis.call('HDEL', KEYS[2], ARGV[2])
  else
    redis.call('ZADD', KEYS[1], now_ms + ARGV[4], ARGV[2])
    redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
  end
  for _, gone in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now_ms - ARGV[5])) do
    redis.call('ZREM', KEYS[1], gone)
    redis.call('HDEL', KEYS[2], gone)
  end
end
local live = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. string.format('%.0f', now_ms), '+inf')
local addresses = {}
if #live > 0 then addresses = redis.call('HMGET', KEYS[2], unpack(live)) end
return {redis.call('GET', KEYS[3]), live, addresses}
""",
    is_repeatable=True,
)


@dataclass(frozen=True, slots=True)
class EdgeLease:
    """A live edge and the address of its edge/v1 service."""

    identity: Identity
    grpc_address: str


class EdgeLeases:
    """The edges' leases, as one process sees them. Reads and renewals raise StoreUnavailable."""

    def __init__(self, store: Store, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._monotonic = monotonic
        self._keys = [edges_key("leases"), edges_key("addresses"), edges_key("mark")]
        self._mark: bytes | None = None
        self._reached_at = float("-inf")
        self._unbroken_since = float("inf")

    async def beat(self, identity: Identity, grpc_address: str) -> list[EdgeLease]:
        """Renew our lease for 3 s and return the live ones, ours among them."""
        return await self._run(str(identity), grpc_address, EDGE_LEASE_MS, _FORGET_AFTER_MS)

    async def give_up(self, identity: Identity) -> None:
        """Drop our lease at once, on a clean end.

        Others then claim our calls without waiting for the lapse.
        """
        await self._run(str(identity), "", 0, _FORGET_AFTER_MS)

    async def live(self) -> list[EdgeLease]:
        """Return the edges whose lease has not lapsed."""
        return await self._run()

    def may_judge(self) -> bool:
        """Return whether an edge that is not in `live()` has really lapsed.

        True if this process has reached the same Redis data continuously for one lease period. A gap of a
        lease period between two answers breaks it, so ask or renew at least each second.
        """
        now, lease_s = self._monotonic(), EDGE_LEASE_MS / 1000
        return now - self._reached_at < lease_s and now - self._unbroken_since >= lease_s

    async def run(
        self,
        identity: Identity,
        grpc_address: str,
        on_lapse: Callable[[EdgeLease], Awaitable[None]] | None = None,
        on_change: Callable[[list[EdgeLease]], None] | None = None,
    ) -> None:
        """Renew each second until cancelled, and report edges that were seen alive and have lapsed.

        Lapses from before our start are not reported: compare the partitions' owners with `live()` for those.
        A lapse seen while we may not judge is reported when we may.
        """
        seen: dict[Identity, EdgeLease] = {}
        while True:
            try:
                leases = await self.beat(identity, grpc_address)
            except StoreUnavailable:
                await asyncio.sleep(EDGE_BEAT_PERIOD_S / 4)
                continue
            live = {lease.identity: lease for lease in leases}
            if on_change is not None and any(lease not in seen for lease in live):
                on_change(leases)
            seen.update(live)
            if self.may_judge():
                for lapsed in [lease for known, lease in seen.items() if known not in live]:
                    del seen[lapsed.identity]
                    if on_lapse is not None:
                        await on_lapse(lapsed)
            await asyncio.sleep(EDGE_BEAT_PERIOD_S)

    async def _run(self, *beat: str | int) -> list[EdgeLease]:
        asked_at = self._monotonic()
        answer: list[Any] = await self._store.run(_BEAT_AND_READ, self._keys, [secrets.token_hex(8), *beat])
        mark, live, addresses = answer
        self._note_reached(mark, asked_at)
        return [
            EdgeLease(_read_identity(member), (address or b"").decode())
            for member, address in zip(live, addresses, strict=True)
        ]

    def _note_reached(self, mark: bytes, asked_at: float) -> None:
        """Note that Redis answered a question of `asked_at`.

        The leases are at least as old as the question, so a slow answer does not lengthen the unbroken time.
        """
        now = self._monotonic()
        if mark != self._mark or asked_at - self._reached_at >= EDGE_LEASE_MS / 1000:
            self._mark, self._unbroken_since = mark, now
        self._reached_at = asked_at


def _read_identity(member: bytes) -> Identity:
    name, _, incarnation = member.decode().rpartition("/")
    return Identity(name, incarnation)
