"""The background task of the store: it probes Redis and keeps its time, its epoch and shared secrets."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from sipgw.runtime.tasks import TaskGroupOwner
from sipgw.runtime.telemetry.logs import get_logger
from sipgw.store.errors import StoreError, StoreUnavailable
from sipgw.store.keys import EPOCH_KEY, secret_key
from sipgw.store.scripts import Script

_PROBE_PERIOD_S: Final = 0.5
_SECRETS_EVERY_PROBES: Final = 2
_SECRET_BYTES: Final = 32

# A process replaces the epoch only if it saw the value that it replaces, so that all processes agree on the
# new one.
_REPLACE_EPOCH: Final = Script(
    "replace_epoch",
    """
    local held = redis.call('GET', KEYS[1])
    if (held or '') == ARGV[1] then
      redis.call('SET', KEYS[1], ARGV[2])
      return ARGV[2]
    end
    return held
    """,
)

# The older secret wins: "<time drawn in ms, 16 hex digits><secret>". A process that starts between a data
# loss and our publishing again draws a secret of its own, which must yield. A secret just drawn (ARGV[2]
# empty) never replaces another, however close their times: its process has not used it yet.
_PUBLISH_SECRET: Final = Script(
    "publish_secret",
    """
    local held = redis.call('GET', KEYS[1])
    if not held or (ARGV[2] == 'held' and ARGV[1] < held) then
      redis.call('SET', KEYS[1], ARGV[1])
      return ARGV[1]
    end
    return held
    """,
)


class _Commands(Protocol):
    """The part of the store that the keeper uses."""

    async def command(self, *args: str | bytes | int | float) -> Any: ...

    async def run(
        self, script: Script, keys: Sequence[str], args: Sequence[str | bytes | int | float] = ()
    ) -> Any: ...


class Keeper:
    """Probes Redis twice a second and reports changes of its state."""

    def __init__(self, commands: _Commands, *, is_cluster: bool) -> None:
        self._commands = commands
        self._callbacks: list[Callable[[str], None]] = []
        self._secrets: dict[str, bytes] = {}
        self._epoch: str | None = None
        self._is_reachable = False
        self.round_trip_s = 0.0
        self._offset_ms = time.time() * 1000 - time.monotonic() * 1000
        self._has_told = False
        self._knows_runs = not is_cluster
        self._tasks = TaskGroupOwner("store")
        self._log = get_logger("sipgw.store")

    @property
    def is_reachable(self) -> bool:
        return self._is_reachable

    @property
    def epoch(self) -> str | None:
        return self._epoch

    async def start(self) -> None:
        """Probe once, then go on in the background."""
        await self._probe_and_note()
        self._tasks.spawn(self._keep(), "keeper")

    async def aclose(self) -> None:
        """Stop the background task."""
        await self._tasks.aclose()

    def subscribe(self, callback: Callable[[str], None]) -> Callable[[], None]:
        """Call `callback(epoch)` at each change; return an unsubscriber."""
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback)

    def now_ms(self) -> int:
        """Return Redis time by the last probe."""
        return int(time.monotonic() * 1000 + self._offset_ms)

    async def shared_secret(self, name: str) -> bytes:
        """Return the secret `name`, drawn once by all processes."""
        held = self._secrets.get(name)
        if held is None:
            drawn = f"{self.now_ms():016x}".encode() + secrets.token_bytes(_SECRET_BYTES)
            held = await self._publish_secret(name, drawn)
        return held[16:]

    async def _keep(self) -> None:
        probes = 0
        while True:
            await asyncio.sleep(_PROBE_PERIOD_S)
            await self._probe_and_note()
            probes += 1
            if self._is_reachable and probes % _SECRETS_EVERY_PROBES == 0:
                with contextlib.suppress(StoreError):
                    await self._publish_secrets()

    async def _probe_and_note(self) -> None:
        try:
            epoch = await self._probe()
        except StoreError as error:
            if self._is_reachable or not self._has_told:
                self._has_told = True
                self._log.warning("store_lost", error=str(error))
            self._is_reachable = False
            return
        if not self._is_reachable:
            self._log.info("store_reached", epoch=epoch)
        self._is_reachable = True
        known, self._epoch = self._epoch, epoch
        if known is not None and known != epoch:
            await self._on_data_loss(epoch)

    async def _on_data_loss(self, epoch: str) -> None:
        self._log.warning("store_epoch_changed", epoch=epoch)
        with contextlib.suppress(StoreUnavailable):
            await self._publish_secrets()
        for callback in tuple(self._callbacks):
            callback(epoch)

    async def _probe(self) -> str:
        """Read time, server run and epoch; replace an epoch that is missing or of another server run."""
        sent = time.monotonic()
        seconds, micros = await self._commands.command("TIME")
        answered = time.monotonic()
        self.round_trip_s = answered - sent
        middle = (sent + answered) / 2
        self._offset_ms = int(seconds) * 1000 + int(micros) / 1000 - middle * 1000
        run = await self._server_run()
        held: bytes | None = await self._commands.command("GET", EPOCH_KEY)
        if held is not None and (run is None or held.endswith(b":" + run)):
            return held.decode()
        fresh = secrets.token_hex(8).encode() + b":" + (run or b"")
        replaced: bytes = await self._commands.run(_REPLACE_EPOCH, [EPOCH_KEY], [held or b"", fresh])
        return replaced.decode()

    async def _server_run(self) -> bytes | None:
        """Return the server's run id.

        None where INFO is forbidden, and in a Cluster, whose shards have one each.
        """
        if not self._knows_runs:
            return None
        try:
            text: bytes = await self._commands.command("INFO", "server")
        except StoreUnavailable:
            raise
        except StoreError:
            self._knows_runs = False
            return None
        for line in text.split(b"\r\n"):
            if line.startswith(b"run_id:"):
                return line[7:]
        return None

    async def _publish_secrets(self) -> None:
        for name, held in tuple(self._secrets.items()):
            await self._publish_secret(name, held)

    async def _publish_secret(self, name: str, secret: bytes) -> bytes:
        standing = "held" if name in self._secrets else ""
        held: bytes = await self._commands.run(_PUBLISH_SECRET, [secret_key(name)], [secret, standing])
        self._secrets[name] = held
        return held
