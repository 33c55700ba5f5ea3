"""KeptSecrets: the part of a pass that keeps the Secrets that pods need.

They are certificates, the password of Redis, and the seal key. Changes by others are noticed each minute.
"""

import secrets
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from sipgw.config import SealKey
from sipgw.operator.errors import KubeConflict
from sipgw.operator.kube_client import KubeClient
from sipgw.operator.resources import paths
from sipgw.operator.resources.json_parts import Json
from sipgw.operator.resources.secrets import read_key, seal_manifest
from sipgw.operator.settling import Settling
from sipgw.runtime.clock import Clock
from sipgw.runtime.telemetry.logs import get_logger

_EVERY_S: Final = 60.0


class Keeper(Protocol):
    """Something that keeps certain Secrets correct."""

    async def ensure(self) -> list[str]:
        """Write the Secrets that are missing or due; return the names of new ones. Raises KubeError."""
        ...


class KeptSecrets:
    """All keepers; `keepers` run first, then the seal key."""

    def __init__(
        self,
        client: KubeClient,
        keepers: Sequence[Keeper],
        *,
        namespace: str,
        release: str,
        clock: Clock,
        owners: Callable[[], list[Json]] = list,
    ) -> None:
        self._client = client
        self._keepers = tuple(keepers)
        self._namespace = namespace
        self._release = release
        self._clock = clock
        self._owners = owners
        self._looked_at = float("-inf")
        self._seal_key: SealKey | None = None
        self._seal_text = ""
        self._settling = Settling(clock)
        self._log = get_logger("sipgw.operator.secrets")

    async def keep(self, *, at_once: bool = False) -> list[str]:
        """Check each minute; return the names of renewed Secrets. Raises KubeError."""
        now = self._clock.monotonic()
        if not at_once and now - self._looked_at < _EVERY_S:
            return []
        renewed = [name for keeper in self._keepers for name in await keeper.ensure()]
        await self._keep_seal()
        self._looked_at = now
        return renewed

    async def seal_key(self) -> SealKey:
        """Return the key for the passwords in the config; drawn once, and replaced when its Secret changes.

        Edges read its file again when a value was sealed with another key; so a new key is used only when
        they have its file. Raises KubeError.
        """
        if self._seal_key is None:
            await self._keep_seal()
        assert self._seal_key is not None
        return self._seal_key

    async def _keep_seal(self) -> None:
        name = f"{self._release}-seal"
        body = await self._client.get(paths.secrets(self._namespace, name))
        if body is None:
            text = self._seal_text or secrets.token_hex(32)
            manifest = seal_manifest(name, text, self._release, self._owners())
            body = await self._client.create(paths.secrets(self._namespace), manifest)
        text = (read_key(body, "seal.key") or "").strip()
        is_first = self._seal_key is None
        if text == self._seal_text or not (self._settling.has_settled(text) or is_first):
            return
        try:
            self._seal_key = SealKey(text.encode())
            self._seal_text = text
        except ValueError as error:
            reason = f"Secret {name}, seal.key: {error}; delete it to get a new one"
            if is_first:
                raise KubeConflict(409, reason) from error
            self._log.warning("seal_key_not_taken", reason=reason)
