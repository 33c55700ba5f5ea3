"""Who we are to the apiserver: the pod's service account, else a kubeconfig."""

import os
from dataclasses import replace

import kopf

from sipgw.operator.kube_client import Credentials
from sipgw.runtime.errors import StartupError


def connection(settings: kopf.OperatorSettings) -> kopf.ConnectionInfo:
    """Raises StartupError when there is no cluster to be seen."""
    found = kopf.login_with_service_account(settings=settings)
    if found is None:
        found = kopf.login_with_kubeconfig(settings=settings)
    elif host := os.environ.get("KUBERNETES_SERVICE_HOST"):
        # By address: the certificates that the whole gateway waits for need no DNS.
        port = os.environ.get("KUBERNETES_SERVICE_PORT", "443")
        found = replace(found, server=f"https://{f'[{host}]' if ':' in host else host}:{port}")
    if found is None:
        raise StartupError("no cluster: neither a pod's service account nor KUBECONFIG or ~/.kube/config")
    return found


def log_in() -> Credentials:
    """The same for KubeClient."""
    info = connection(kopf.OperatorSettings())
    return Credentials(info.server, info.as_http_headers(), info.as_ssl_context())
