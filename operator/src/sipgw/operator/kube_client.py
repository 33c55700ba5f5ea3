"""KubeClient: the few requests of the operator, as JSON over the aiohttp that kopf brings.

There is no client library: it would add a second HTTP stack and generated models for eight kinds of request.
Credentials come from kopf's public login functions, so both use the same cluster.
"""

import json
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlencode

import aiohttp

from sipgw.operator.errors import KubeAway, KubeConflict, KubeError, KubeForbidden
from sipgw.operator.resources.json_parts import Json, part, parts

if TYPE_CHECKING:
    import builtins

MERGE: Final = "application/merge-patch+json"
_TIMEOUT_S: Final = 10.0
_PAGE: Final = 100
_LISTINGS: Final = 3
T = TypeVar("T")
_TOKEN_AGE_S: Final = 60.0
"""How often token and authority of a service account are read again; the kubelet renews the files."""


def _as_it_is(body: Json) -> Any:
    return body


@dataclass(frozen=True, slots=True)
class Credentials:
    """The address of the apiserver, and our credentials.

    `tls`: the same context as long as its certificates are the same, since connections are kept by context.
    """

    server: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    tls: ssl.SSLContext | None = None


class KubeClient:
    """A client. Methods raise KubeError and its kinds."""

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
        """Return the object; None when there is none."""
        try:
            return await self._request("GET", path)
        except KubeError as error:
            if error.status == 404:
                return None
            raise

    async def list(
        self, path: str, *, labels: str = "", read: Callable[[Json], T] = _as_it_is
    ) -> "builtins.list[T]":
        """Return all objects of a collection, each converted by `read`; none for an unknown kind.

        One page at a time, so that of large objects only the result of `read` is kept.
        """
        for _ in range(_LISTINGS):
            try:
                return await self._list(path, labels, read)
            except KubeError as error:
                if error.status != 410:  # the list expired between two of its pages
                    raise
        raise KubeError(410, f"{path}: the list expires before its last page")

    async def _list(self, path: str, labels: str, read: Callable[[Json], T]) -> "builtins.list[T]":
        found: builtins.list[T] = []
        query = {"limit": str(_PAGE)} | ({"labelSelector": labels} if labels else {})
        while True:
            page = await self.get(f"{path}?{urlencode(query, safe='=,')}")
            if page is None:
                return found
            found += map(read, parts(page, "items"))
            if not (token := part(page, "metadata").get("continue")):
                return found
            query["continue"] = str(token)

    async def create(self, path: str, body: Json) -> Json:
        """Send a POST. Raises KubeConflict when the object exists."""
        return await self._request("POST", path, body)

    async def replace(self, path: str, body: Json) -> Json:
        """Send a PUT. Raises KubeConflict if the resourceVersion in the body is outdated."""
        return await self._request("PUT", path, body)

    async def merge(self, path: str, body: Json) -> Json:
        """Send a PATCH with a JSON merge."""
        return await self._request("PATCH", path, body, MERGE)

    async def delete(self, path: str) -> None:
        """Send a DELETE; a missing object is no error."""
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
            tls = self._credentials.tls or True
            async with session.request(method, url, data=data, headers=headers, ssl=tls) as response:
                text = await response.text()
                if response.status >= 400:
                    self._logged_in_at = float("-inf") if response.status == 401 else self._logged_in_at
                    raise _error(response.status, text)
                return json.loads(text)
        except aiohttp.ClientSSLError as error:
            self._logged_in_at = float("-inf")  # the cluster's authority may have changed
            raise KubeAway(f"{type(error).__name__}: {error}") from error
        except (aiohttp.ClientError, TimeoutError, OSError, json.JSONDecodeError) as error:
            raise KubeAway(f"{type(error).__name__}: {error}") from error

    def _fresh_session(self) -> aiohttp.ClientSession:
        if self._monotonic() - self._logged_in_at >= _TOKEN_AGE_S:
            self._credentials = self._log_in()
            self._logged_in_at = self._monotonic()
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=8),
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
