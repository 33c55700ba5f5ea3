"""The admin port of a process: /metrics, /healthz, /readyz over plain HTTP/1.1, one request per connection.

It is small on purpose: GET only, no keep-alive, no TLS. Probes and scrapers need no more.
"""

import asyncio
import contextlib
from http import HTTPStatus

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.exposition import choose_encoder

from sipgw.runtime.errors import StartupError
from sipgw.runtime.vitals import Vitals

_MAX_REQUEST_BYTES = 8192
_READ_TIMEOUT_S = 5.0
_TEXT = "text/plain; charset=utf-8"


class AdminServer:
    """Healthy as long as the loop answers and `vitals` agree; ready when they say so."""

    def __init__(
        self, host: str, port: int, vitals: Vitals, *, registry: CollectorRegistry = REGISTRY
    ) -> None:
        self._host = host
        self._port = port
        self._vitals = vitals
        self._registry = registry
        self._server: asyncio.Server | None = None

    async def start(self) -> int:
        """Bind and serve; return the port really bound.

        Raises StartupError when the address is not available.
        """
        try:
            self._server = await asyncio.start_server(
                self._serve, self._host, self._port, limit=_MAX_REQUEST_BYTES
            )
        except OSError as error:
            raise StartupError(
                f"can't listen for admin HTTP on {self._host}:{self._port}: {error.strerror or error}"
            ) from error
        return int(self._server.sockets[0].getsockname()[1])

    async def aclose(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(
                TimeoutError, ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError
            ):
                async with asyncio.timeout(_READ_TIMEOUT_S):
                    head = await reader.readuntil(b"\r\n\r\n")
                    writer.write(self._answer(head.decode("latin-1")))
                    await writer.drain()
        finally:
            writer.close()

    def _answer(self, head: str) -> bytes:
        request_line, _, fields = head.partition("\r\n")
        method, _, rest = request_line.partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        if method != "GET":
            return _response(HTTPStatus.METHOD_NOT_ALLOWED, b"GET only\n")
        match path:
            case "/healthz" if self._vitals.is_live():
                return _response(HTTPStatus.OK, b"ok\n")
            case "/healthz":
                return _response(HTTPStatus.SERVICE_UNAVAILABLE, b"not live\n")
            case "/readyz" if self._vitals.is_ready():
                return _response(HTTPStatus.OK, b"ready\n")
            case "/readyz":
                return _response(HTTPStatus.SERVICE_UNAVAILABLE, b"not ready\n")
            case "/metrics":
                encode, content_type = choose_encoder(_field(fields, "accept"))
                return _response(HTTPStatus.OK, encode(self._registry), content_type)
            case _:
                return _response(HTTPStatus.NOT_FOUND, b"/metrics, /healthz or /readyz\n")


def _field(fields: str, name: str) -> str:
    for line in fields.split("\r\n"):
        key, _, value = line.partition(":")
        if key.strip().lower() == name:
            return value.strip()
    return ""


def _response(status: HTTPStatus, body: bytes, content_type: str = _TEXT) -> bytes:
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode("latin-1") + body
