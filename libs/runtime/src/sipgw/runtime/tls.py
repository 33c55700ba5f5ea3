"""mTLS between our processes: one directory holds our certificate and the authorities that we trust.

Certificates carry *roles*, not addresses: `relay.sipgw` among the alternative names makes its holder a relay,
wherever it runs. Both sides verify. The files are read again when they change; existing connections keep the
files they were made with.
"""

import ssl
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
import grpc.aio

from sipgw.runtime.errors import StartupError
from sipgw.runtime.telemetry.logs import get_logger

DOMAIN: Final = ".sipgw"
_FILES: Final = ("ca.crt", "tls.crt", "tls.key")
_LOOK_AGAIN_S: Final = 1.0
_PLAIN: Final[tuple[list[bytes], ...]] = ([], [b"insecure"])
_log = get_logger("sipgw.runtime.tls")
_Stamps = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class TlsMaterial:
    """The files' contents in PEM. `ca` may hold several certificates, all of them trusted."""

    ca: bytes
    certificate: bytes
    key: bytes

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """Return the credentials of a client."""
        return grpc.ssl_channel_credentials(self.ca, self.key, self.certificate)

    def server_configuration(self) -> Any:
        """Return the configuration of a server."""
        return grpc.ssl_server_certificate_configuration([(self.key, self.certificate)], self.ca)


class TlsDirectory:
    """ca.crt, tls.crt and tls.key of one role. Files that don't match are ignored until they do."""

    def __init__(self, path: Path) -> None:
        """Read the files. Raises StartupError, which names the file and the cure."""
        self._path = path
        self._lock = threading.Lock()  # gRPC asks from its own thread at each handshake
        self._looked_at = time.monotonic()
        self._refused: _Stamps = ()
        self._complaint = ""
        try:
            self._stamps: _Stamps = self._read_stamps()
            self._material: TlsMaterial = self._read()
        except (OSError, ssl.SSLError, ValueError) as error:
            raise StartupError(_cure(path, error)) from error

    def current(self) -> TlsMaterial:
        """Return the files' contents, at most a second old."""
        with self._lock:
            now = time.monotonic()
            if now - self._looked_at >= _LOOK_AGAIN_S:
                self._looked_at = now
                self._look_again()
            return self._material

    def server_credentials(self) -> grpc.ServerCredentials:
        """Return credentials that require a client certificate.

        Each handshake uses the present files.
        """
        given = self.current()

        def changed() -> Any:
            nonlocal given
            now = self.current()
            if now is given:
                return None
            given = now
            return now.server_configuration()

        return grpc.dynamic_ssl_server_credentials(given.server_configuration(), changed, True)  # noqa: FBT003

    def _look_again(self) -> None:
        stamps: _Stamps = ()
        try:
            stamps = self._read_stamps()
            if stamps in {self._stamps, self._refused}:
                return
            material = self._read()
            if self._read_stamps() != stamps:
                return  # half-written: the next read gets the whole
        except (OSError, ssl.SSLError, ValueError) as error:
            self._refused = stamps
            self._complain(_cure(self._path, error))
            return
        self._stamps, self._material, self._complaint = stamps, material, ""
        _log.info("certificates_taken", directory=str(self._path))

    def _complain(self, reason: str) -> None:
        if reason != self._complaint:
            self._complaint = reason
            _log.warning("certificates_refused", reason=reason)

    def _read_stamps(self) -> _Stamps:
        stats = [(self._path / name).stat() for name in _FILES]
        return tuple((stat.st_ino, stat.st_mtime_ns, stat.st_size) for stat in stats)

    def _read(self) -> TlsMaterial:
        ca, certificate, key = [(self._path / name).read_bytes() for name in _FILES]
        ssl.create_default_context(cadata=ca.decode("ascii"))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._path / "tls.crt", self._path / "tls.key")
        return TlsMaterial(ca, certificate, key)


def tls_directory(flag: str) -> TlsDirectory | None:
    """Return the directory of `--tls-dir`; None for plaintext. Raises StartupError."""
    return TlsDirectory(Path(flag)) if flag else None


def roles_of(context: "grpc.aio.ServicerContext[Any, Any]") -> frozenset[str] | None:
    """Return the roles in the peer's certificate; None on a plaintext connection."""
    peer = context.auth_context()
    if list(peer.get("transport_security_type", ())) in _PLAIN:
        return None
    names = (name.decode("ascii", "replace") for name in peer.get("x509_subject_alternative_name", ()))
    return frozenset(name.removesuffix(DOMAIN) for name in names if name.endswith(DOMAIN))


async def require_role(context: "grpc.aio.ServicerContext[Any, Any]", *allowed: str) -> None:
    """End the RPC with PERMISSION_DENIED unless the peer has one of the roles; plaintext has no check."""
    roles = roles_of(context)
    if roles is None or roles.intersection(allowed):
        return
    await context.abort(
        grpc.StatusCode.PERMISSION_DENIED,
        f"this is for {' or '.join(allowed)}; the certificate shows {', '.join(sorted(roles)) or 'no role'}",
    )


def _cure(path: Path, error: Exception) -> str:
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError):
        name = Path(error.filename).name if error.filename else "?"
        why = f"{name}: {error.strerror or error}"
    elif isinstance(error, ssl.SSLError) and "KEY_VALUES_MISMATCH" in str(error):
        why = "tls.key is not the key of tls.crt"
    else:
        why = f"not certificates and key in PEM: {error}"
    return f"--tls-dir {path}: {why}; the directory needs ca.crt, tls.crt and tls.key"
