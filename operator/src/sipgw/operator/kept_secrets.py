"""KeptSecrets: the part of a pass that keeps the Secrets pods wait for: certificates, the seal key."""

import secrets
from collections.abc import Callable
from typing import Final

from sipgw.config import SealKey
from sipgw.operator.errors import KubeConflict
from sipgw.operator.kube_client import KubeClient
from sipgw.operator.pki.keeper import CertificateKeeper
from sipgw.operator.resources import paths
from sipgw.operator.resources.json_parts import Json
from sipgw.operator.resources.secrets import read_key, seal_manifest
from sipgw.runtime.clock import Clock

_EVERY_S: Final = 60.0


class KeptSecrets:
    """`keeper` None: somebody else makes the certificates."""

    def __init__(
        self,
        client: KubeClient,
        keeper: CertificateKeeper | None,
        *,
        namespace: str,
        release: str,
        clock: Clock,
        owners: Callable[[], list[Json]] = list,
    ) -> None:
        self._client = client
        self._keeper = keeper
        self._namespace = namespace
        self._release = release
        self._clock = clock
        self._owners = owners
        self._looked_at = float("-inf")
        self._seal_key: SealKey | None = None

    async def keep(self, *, at_once: bool = False) -> list[str]:
        """Look each minute; gives the names of what was renewed. Raises KubeError."""
        if self._keeper is None:
            return []
        now = self._clock.monotonic()
        if not at_once and now - self._looked_at < _EVERY_S:
            return []
        renewed = await self._keeper.ensure()
        self._looked_at = now
        return renewed

    async def seal_key(self) -> SealKey:
        """The key of the passwords in the config; made once. Raises KubeError."""
        if self._seal_key is None:
            self._seal_key = SealKey((await self._read_seal()).encode())
        return self._seal_key

    async def _read_seal(self) -> str:
        name = f"{self._release}-seal"
        body = await self._client.get(paths.secrets(self._namespace, name))
        if body is None:
            manifest = seal_manifest(name, secrets.token_hex(32), self._release, self._owners())
            body = await self._client.create(paths.secrets(self._namespace), manifest)
        text = (read_key(body, "seal.key") or "").strip()
        if not text:
            raise KubeConflict(409, f"Secret {name} has no seal.key: delete it")
        return text
