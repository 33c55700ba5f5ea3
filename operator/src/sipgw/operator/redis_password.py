"""RedisPasswordKeeper: the password of the release's own Redis.

The chart renders its Secret empty, so that every rendering is the same; the password is drawn here, once.
Registries and edges read the file of a changed password at their next connection. Redis itself must be
restarted for it, which happens once kubelets have had the time to bring the file to all of them.
"""

import base64
import hashlib
import secrets
from collections.abc import Callable
from typing import Final

from sipgw.operator.errors import KubeError
from sipgw.operator.kube_client import KubeClient
from sipgw.operator.resources import paths
from sipgw.operator.resources.json_parts import Json, part
from sipgw.operator.resources.secrets import confs_of, password_manifest, read_value
from sipgw.operator.settling import Settling
from sipgw.runtime.clock import Clock
from sipgw.runtime.telemetry.logs import get_logger

ANNOTATION: Final = "sipgw.io/redis-password"
_WORK: Final = 2**14  # each guess at the password costs a reader of the annotation this much too


class RedisPasswordKeeper:
    """`secret` is the one that Redis starts with; only the chart's, `RELEASE-redis`, is filled."""

    def __init__(
        self,
        client: KubeClient,
        secret: str,
        *,
        namespace: str,
        release: str,
        clock: Clock,
        owners: Callable[[], list[Json]] = list,
    ) -> None:
        self._client = client
        self._secret = secret
        self._namespace = namespace
        self._release = release
        self._owners = owners
        self._digest: tuple[bytes, str] = (b"", "")
        self._settling = Settling(clock)
        self._log = get_logger("sipgw.operator.redis")

    async def ensure(self) -> list[str]:
        """Draw the password if there is none; restart Redis when it has another. Raises KubeError."""
        path = paths.secrets(self._namespace, self._secret)
        body = await self._client.get(path)
        password = read_value(body, "password")
        if self._secret == f"{self._release}-redis":
            is_complete = password and read_value(body, "password.conf") in confs_of(password)
            password = password or secrets.token_hex(32).encode()
            if not is_complete:
                await self._write(path, password, body)
        if password:
            try:
                await self._restart_for(self._digest_of(password))
            except KubeError as error:
                self._log.warning("redis_not_restarted", reason=str(error))
        return []

    async def _write(self, path: str, password: bytes, before: Json | None) -> None:
        manifest = password_manifest(self._secret, password, self._release, self._owners())
        if before is None:
            await self._client.create(paths.secrets(self._namespace), manifest)
        else:
            # The version goes along: of two replicas that both think they lead, only one can write.
            version = {"resourceVersion": before["metadata"]["resourceVersion"]}
            await self._client.merge(path, {"metadata": version, "data": manifest["data"]})
        self._log.info("redis_password_written", secret=self._secret)

    async def _restart_for(self, digest: str) -> None:
        """Restart Redis through a digest in its template.

        A digest beside the template tells which password Redis started with.
        """
        path = paths.stateful_sets(self._namespace, f"{self._release}-redis")
        body = await self._client.get(path)
        if body is None:
            return
        started_with = part(part(body, "metadata"), "annotations").get(ANNOTATION)
        note: Json = {"annotations": {ANNOTATION: digest}}
        if started_with is None:
            await self._client.merge(path, {"metadata": note})
        elif started_with != digest and self._settling.has_settled(digest):
            await self._client.merge(path, {"metadata": note, "spec": {"template": {"metadata": note}}})
            self._log.info("redis_restarted", reason="the password in its Secret has changed")

    def _digest_of(self, password: bytes) -> str:
        if self._digest[0] != password:
            salt = f"{self._namespace}/{self._release}".encode()
            made = hashlib.scrypt(password, salt=salt, n=_WORK, r=8, p=1, dklen=16)
            self._digest = (password, base64.b16encode(made).decode().lower())
        return self._digest[1]
