"""The paths of each kind at the apiserver."""

from typing import Final

GROUP: Final = "sipgw.io"
VERSION: Final = "v1alpha1"
PLURALS: Final = {"SipGateway": "sipgateways", "SipTrunk": "siptrunks", "BotRoute": "botroutes"}
NODES: Final = "/api/v1/nodes"
API_GROUP: Final = f"/apis/{GROUP}/{VERSION}"


def documents(namespace: str, kind: str, name: str = "") -> str:
    """Return the path of our custom resources."""
    return _join(f"/apis/{GROUP}/{VERSION}/namespaces/{namespace}/{PLURALS[kind]}", name)


def secrets(namespace: str, name: str = "") -> str:
    """Return the path of Secrets, or of one."""
    return _join(f"/api/v1/namespaces/{namespace}/secrets", name)


def pods(namespace: str, name: str = "") -> str:
    """Return the path of pods, or of one."""
    return _join(f"/api/v1/namespaces/{namespace}/pods", name)


def events(namespace: str, name: str = "") -> str:
    """Return the path of Events, or of one."""
    return _join(f"/api/v1/namespaces/{namespace}/events", name)


def leases(namespace: str, name: str = "") -> str:
    """Return the path of Leases, or of one."""
    return _join(f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases", name)


def edge_sets(namespace: str) -> tuple[str, str]:
    """Return the paths of edges: Deployments and DaemonSets."""
    prefix = f"/apis/apps/v1/namespaces/{namespace}"
    return f"{prefix}/deployments", f"{prefix}/daemonsets"


def stateful_sets(namespace: str, name: str = "") -> str:
    """Return the path of StatefulSets, or of one."""
    return _join(f"/apis/apps/v1/namespaces/{namespace}/statefulsets", name)


def owner(namespace: str, kind: str, name: str) -> str:
    """Return the path of the object that may own our Secrets and the Lease."""
    prefix = {"Deployment": "/apis/apps/v1", "ServiceAccount": "/api/v1"}[kind]
    plural = {"Deployment": "deployments", "ServiceAccount": "serviceaccounts"}[kind]
    return f"{prefix}/namespaces/{namespace}/{plural}/{name}"


def _join(collection: str, name: str) -> str:
    return f"{collection}/{name}" if name else collection
