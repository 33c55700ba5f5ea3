"""RegistryAccess: the registry's client, once there is a certificate for it."""

import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from sipgw.control import RegistryClient
from sipgw.operator.errors import KubeError
from sipgw.operator.pki.certificates import Leaf
from sipgw.operator.pki.keeper import keep_in_files
from sipgw.runtime.tls import TlsDirectory

_LOOK_AGAIN_S: Final = 30.0


class RegistryAccess:
    """`read_leaf` None: the registry uses plaintext.

    The certificate is read through the API, never from a mount: a pod that mounted it would wait for itself.
    """

    def __init__(
        self,
        target: str,
        read_leaf: Callable[[], Awaitable[Leaf | None]] | None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._target = target
        self._read_leaf = read_leaf
        self._monotonic = monotonic
        self._looked_at = float("-inf")
        self._client: RegistryClient | None = None
        self._scratch = tempfile.TemporaryDirectory(prefix="sipgw-operator-", ignore_cleanup_errors=True)

    async def client(self) -> RegistryClient | None:
        """Return the client; None as long as there is no certificate. Raises KubeError."""
        if self._read_leaf is None:
            self._client = self._client or RegistryClient(self._target)
            return self._client
        if self._client is None or self._monotonic() - self._looked_at >= _LOOK_AGAIN_S:
            directory = Path(self._scratch.name) / "tls"
            if not await self._keep(directory):
                return self._client
            self._looked_at = self._monotonic()
            self._client = self._client or RegistryClient(self._target, tls=TlsDirectory(directory))
        return self._client

    async def aclose(self) -> None:
        """Close the channel and forget the files."""
        if self._client is not None:
            await self._client.aclose()
        self._scratch.cleanup()

    async def _keep(self, directory: Path) -> bool:
        assert self._read_leaf is not None
        try:
            return await keep_in_files(self._read_leaf, directory)
        except KubeError:
            if self._client is not None:
                return False  # the present certificate serves on
            raise
