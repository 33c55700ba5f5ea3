"""Credentials for the apiserver: the pod's service account, else a kubeconfig."""

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import kopf

from sipgw.operator.kube_client import Credentials
from sipgw.runtime.errors import StartupError

if TYPE_CHECKING:
    import ssl

WATCH_LOGIN_S: Final = 600.0
"""How often kopf logs in anew; else it would keep an authority that the cluster has replaced."""


def connection(settings: kopf.OperatorSettings) -> kopf.ConnectionInfo:
    """Return how to reach the apiserver. Raises StartupError without a cluster."""
    found = kopf.login_with_service_account(settings=settings)
    if found is None:
        found = kopf.login_with_kubeconfig(settings=settings)
    elif host := os.environ.get("KUBERNETES_SERVICE_HOST"):
        # By address: the whole gateway waits for its certificates, so they must not depend on DNS.
        port = os.environ.get("KUBERNETES_SERVICE_PORT", "443")
        found = replace(found, server=f"https://{f'[{host}]' if ':' in host else host}:{port}")
    if found is None:
        raise StartupError("no cluster: neither a pod's service account nor KUBECONFIG or ~/.kube/config")
    return found


def connection_for_a_while(settings: kopf.OperatorSettings) -> kopf.ConnectionInfo:
    """Return the same for kopf's watches, which ask again when it has expired."""
    expiration = datetime.now(UTC) + timedelta(seconds=WATCH_LOGIN_S)
    return replace(connection(settings), expiration=expiration)


class LogIn:
    """The login for KubeClient. Files are read at each call; the TLS context changes with their contents."""

    def __init__(self) -> None:
        self._read: tuple[object, ...] = ()
        self._tls: ssl.SSLContext | None = None

    def __call__(self) -> Credentials:
        """Return the credentials. Raises StartupError without a cluster."""
        info = connection(kopf.OperatorSettings())
        read = tls_material(info)
        if self._tls is None or read != self._read:
            self._read, self._tls = read, info.as_ssl_context()
        return Credentials(info.server, info.as_http_headers(), self._tls)


def tls_material(info: kopf.ConnectionInfo) -> tuple[object, ...]:
    """Return all that a TLS context depends on: the files' contents, not their paths."""
    paths = (info.ca_path, info.certificate_path, info.private_key_path)
    files = [Path(os.fsdecode(path)).read_bytes() if path else None for path in paths]
    return (*files, info.ca_data, info.certificate_data, info.private_key_data, info.insecure)
