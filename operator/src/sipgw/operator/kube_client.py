"""KubeClient: the few requests the operator makes, as JSON over the aiohttp that kopf brings.

No client library: a second HTTP stack and generated models would serve eight kinds of request. Credentials
come from kopf's public login functions, so both see the same cluster.
"""

import json
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import aiohttp

from sipgw.operator.errors import KubeAway, KubeConflict, KubeError, KubeForbidden
from sipgw.operator.resources.json_parts import Json

MERGE: Final = "application/merge-patch+json"
_TIMEOUT_S: Final = 10.0
_TOKEN_AGE_S: Final = 60.0
"""A service account's token is a file that the kubelet renews; it is read anew so often."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Where the apiserver is, and how we show who we are."""

    server: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    tls: ssl.SSLContext | None = None


class KubeClient:
    """Methods raise KubeError and its kinds."""

    def __init__(
        self, log_in: Callable[[], Credentials], *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._log_in = log_in
        self._monotonic = monotonic
        self._credentials = log_in()
        self._logged_in_at = monotonic()
        self._session: aiohttp.ClientSession | None = None

    async def aclose(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def get(self, path: str) -> Json | None:
        """The object; None when there is none."""
        try:
            return await self._request("GET", path)
        except KubeError as error:
            if error.status == 404:
                return None
            raise

    async def list(self, path: str, *, labels: str = "") -> list[Json]:
        """All objects of a collection; none where the kind itself is unknown."""
        found = await self.get(f"{path}?labelSelector={labels}" if labels else path)
        return list(found["items"]) if found is not None else []

    async def create(self, path: str, body: Json) -> Json:
        """POST. Raises KubeConflict when it exists."""
        return await self._request("POST", path, body)

    async def replace(self, path: str, body: Json) -> Json:
        """PUT; with a resourceVersion in the body KubeConflict says that another came between."""
        return await self._request("PUT", path, body)

    async def merge(self, path: str, body: Json) -> Json:
        """PATCH by JSON merge."""
        return await self._request("PATCH", path, body, MERGE)

    async def delete(self, path: str) -> None:
        """DELETE; what is not there needs none."""
        try:
            await self._request("DELETE", path)
        except KubeError as error:
            if error.status != 404:
                raise

    async def _request(
        self, method: str, path: str, body: Json | None = None, content_type: str = "application/json"
    ) -> Json:
        headers = {"Content-Type": content_type, "Accept": "application/json"}
        data = json.dumps(body).encode() if body is not None else None
        try:
            session = self._fresh_session()
            headers |= self._credentials.headers
            url = f"{self._credentials.server}{path}"
            async with session.request(method, url, data=data, headers=headers) as response:
                text = await response.text()
                if response.status >= 400:
                    self._logged_in_at = float("-inf") if response.status == 401 else self._logged_in_at
                    raise _error(response.status, text)
                return json.loads(text)
        except (aiohttp.ClientError, TimeoutError, OSError, json.JSONDecodeError) as error:
            raise KubeAway(f"{type(error).__name__}: {error}") from error

    def _fresh_session(self) -> aiohttp.ClientSession:
        if self._monotonic() - self._logged_in_at >= _TOKEN_AGE_S:
            self._credentials = self._log_in()
            self._logged_in_at = self._monotonic()
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=self._credentials.tls or True, limit=8),
                timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S),
            )
        return self._session


def _error(status: int, text: str) -> KubeError:
    try:
        message = str(json.loads(text).get("message") or text)
    except (json.JSONDecodeError, AttributeError):
        message = text[:200]
    match status:
        case 409:
            return KubeConflict(status, message)
        case 401 | 403:
            return KubeForbidden(status, message)
        case _:
            return KubeError(status, message)
