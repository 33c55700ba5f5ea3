"""ConfigStore: the gateway config in Redis, ordered by (epoch, version), with a copy that survives data loss.

An epoch is drawn when a config is put where there is none, and begins with the time: an epoch drawn after a
loss is newer than the lost one. A registry that holds a newer config than Redis puts it back.
"""

import asyncio
import contextlib
import secrets
from typing import Final

from sipgw.api.config.v1.config_pb2 import GatewayConfig
from sipgw.registry import metrics
from sipgw.registry.errors import ConfigVersionConflict
from sipgw.runtime.telemetry.logs import get_logger
from sipgw.store import CONFIG_KEY, Script, Store, StoreUnavailable

_POLL_PERIOD_S: Final = 0.25
_EPOCH_LENGTH: Final = 16
_HEAD_LENGTH: Final = _EPOCH_LENGTH + 16
"""The prefix of the stored value: epoch, then version as 16 hex digits; as text it orders by both."""

_PUT: Final = Script(
    "put_config",
    f"""
if redis.call('GETRANGE', KEYS[1], 0, {_HEAD_LENGTH - 1}) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1
""",
)

_PUT_BACK: Final = Script(
    "put_config_back",
    f"""
local head = redis.call('GETRANGE', KEYS[1], 0, {_HEAD_LENGTH - 1})
if head >= string.sub(ARGV[1], 1, {_HEAD_LENGTH}) then return 0 end
redis.call('SET', KEYS[1], ARGV[1])
return 1
""",
    is_repeatable=True,
)


class ConfigStore:
    """The newest config seen; `run` it as a task."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._held: GatewayConfig | None = None
        self._changed = asyncio.Event()
        self._log = get_logger("sipgw.registry.config")

    @property
    def config(self) -> GatewayConfig | None:
        """The config in force; known also while Redis is away."""
        return self._held

    async def newer_than(self, seen: GatewayConfig | None) -> GatewayConfig:
        """Wait for a config other than `seen` to come into force."""
        while self._held is None or self._held is seen:
            await self._changed.wait()
        return self._held

    async def put(self, config: GatewayConfig, expected_version: int) -> GatewayConfig:
        """Put `config` in force as the version after `expected_version`; 0 when none is expected.

        Raises ConfigVersionConflict, StoreUnavailable.
        """
        await self.refresh()
        present = self._held
        present_version = present.version if present is not None else 0
        if present_version != expected_version:
            raise ConfigVersionConflict(expected_version, present_version)
        wanted = GatewayConfig()
        wanted.CopyFrom(config)
        wanted.epoch = present.epoch if present is not None else self._fresh_epoch()
        wanted.version = expected_version + 1
        expected_head = _head(present) if present is not None else ""
        if await self._store.run(_PUT, [CONFIG_KEY], [expected_head, _encode(wanted)]) != 1:
            await self.refresh()
            raise ConfigVersionConflict(expected_version, self._held.version if self._held is not None else 0)
        self._take(wanted)
        return wanted

    async def refresh(self) -> None:
        """Take Redis' config if it is newer; put ours back if that is newer. Raises StoreUnavailable."""
        stored = await self._store.command("GETRANGE", CONFIG_KEY, 0, _HEAD_LENGTH - 1)
        held = _head(self._held).encode() if self._held is not None else b""
        if stored > held:
            whole: bytes | None = await self._store.command("GET", CONFIG_KEY)
            if whole is not None:
                self._take(GatewayConfig.FromString(whole[_HEAD_LENGTH:]))
        elif stored < held and self._held is not None:
            put_back = await self._store.run(_PUT_BACK, [CONFIG_KEY], [_encode(self._held)])
            self._log.warning("config_put_back", version=self._held.version, was_missing=put_back == 1)

    async def run(self) -> None:
        """Refresh four times a second, for ever."""
        while True:
            with contextlib.suppress(StoreUnavailable):
                await self.refresh()
            await asyncio.sleep(_POLL_PERIOD_S)

    def _take(self, config: GatewayConfig) -> None:
        """Replace our config by a newer one; nothing else changes it."""
        if self._held is not None and _head(config) <= _head(self._held):
            return
        self._held = config
        metrics.CONFIG_VERSION.set(config.version)
        self._log.info("config_changed", epoch=config.epoch, version=config.version)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _fresh_epoch(self) -> str:
        return f"{self._store.now_ms():012x}{secrets.token_hex(2)}"


def _head(config: GatewayConfig) -> str:
    return f"{config.epoch:0>{_EPOCH_LENGTH}}{config.version:016x}"


def _encode(config: GatewayConfig) -> bytes:
    return _head(config).encode() + config.SerializeToString()
