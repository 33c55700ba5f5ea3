"""CertificateKeeper: keep the CA and the leaves in their Secrets, as certificates.py wants them.

This is the operator's first task, since every other pod waits for its Secret.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

from sipgw.operator import metrics
from sipgw.operator.errors import KubeConflict
from sipgw.operator.kube_client import KubeClient
from sipgw.operator.pki import certificates as pki
from sipgw.operator.resources import paths
from sipgw.operator.resources import secrets as manifests
from sipgw.operator.resources.json_parts import Json
from sipgw.runtime.clock import Clock
from sipgw.runtime.telemetry.logs import get_logger


class CertificateKeeper:
    """Call `ensure` now and then. Methods raise KubeError."""

    def __init__(
        self,
        client: KubeClient,
        *,
        namespace: str,
        release: str,
        clock: Clock,
        owners: Callable[[], list[Json]] = list,
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._release = release
        self._clock = clock
        self._owners = owners
        self._log = get_logger("sipgw.operator.pki")

    def secret_name(self, role: str) -> str:
        """Return the name of a role's Secret."""
        return f"{self._release}-tls-{role}"

    async def ensure(self) -> list[str]:
        """Make and renew the Secrets that are due; return the names of renewed Secrets, without new ones."""
        now = datetime.fromtimestamp(self._clock.unix_ms() / 1000, UTC)
        name = f"{self._release}-ca"
        body = await self._client.get(paths.secrets(self._namespace, name))
        held = manifests.read_authority(body)
        authority = pki.renew_authority(held, now, f"{self._release} CA")
        renewed: list[str] = []
        if authority is not held:
            manifest = manifests.authority_manifest(name, authority, self._release, self._owners())
            await self._write(name, manifest, body)
            renewed += [name] if body is not None else []
        metrics.CERTIFICATE_EXPIRY.labels("ca").set(pki.expires_at(authority.current.certificate).timestamp())
        done = await asyncio.gather(*(self._ensure_leaf(role, authority, now) for role in pki.ROLES))
        return renewed + [one for one in done if one]

    async def read_leaf(self, role: str) -> pki.Leaf | None:
        """Return a role's leaf, from any issuer."""
        body = await self._client.get(paths.secrets(self._namespace, self.secret_name(role)))
        return manifests.read_leaf(body)

    async def _ensure_leaf(self, role: str, authority: pki.Authority, now: datetime) -> str:
        name = self.secret_name(role)
        body = await self._client.get(paths.secrets(self._namespace, name))
        held = manifests.read_leaf(body)
        leaf = pki.renew_leaf(held, role, authority, now)
        metrics.CERTIFICATE_EXPIRY.labels(role).set(pki.expires_at(leaf.pair.certificate).timestamp())
        if leaf is held:
            return ""
        await self._write(name, manifests.leaf_manifest(name, leaf, self._release, self._owners()), body)
        return name if body is not None else ""

    async def _write(self, name: str, manifest: Json, before: Json | None) -> None:
        if before is None:
            await self._client.create(paths.secrets(self._namespace), manifest)
        else:
            # The version goes along: of two replicas that both think they lead, only one can write.
            manifest["metadata"]["resourceVersion"] = before["metadata"]["resourceVersion"]
            if before.get("type") != manifest["type"]:
                raise KubeConflict(409, f"Secret {name} has type {before.get('type')}: delete it")
            await self._client.merge(paths.secrets(self._namespace, name), manifest)
        self._log.info("certificate_written", secret=name, is_new=before is None)


async def keep_in_files(read: Callable[[], Awaitable[pki.Leaf | None]], directory: Path) -> bool:
    """Write a leaf where TlsDirectory reads it; return False when there is none yet."""
    leaf = await read()
    if leaf is not None:
        _write_files(leaf, directory)
    return leaf is not None


def _write_files(leaf: pki.Leaf, directory: Path) -> None:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    files = {"ca.crt": leaf.bundle, "tls.crt": leaf.pair.certificate, "tls.key": leaf.pair.key}
    for name, content in files.items():
        path = directory / name
        if not path.exists() or path.read_bytes() != content:
            path.touch(mode=0o600)
            path.write_bytes(content)
