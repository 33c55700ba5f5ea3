"""The gateway's custom resources, as the tests apply them, and their conditions."""

from collections.abc import Mapping
from typing import Any

from clusterkit.callers import Callers, sip_id
from clusterkit.kubectl import Kubectl, eventually
from clusterkit.release import Release

KINDS = "sipgateways,siptrunks,botroutes"
Json = dict[str, Any]


def document(kind: str, name: str, spec: Mapping[str, Any]) -> Json:
    return {"apiVersion": "sipgw.io/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": dict(spec)}


def gateway(least: int = 3, most: int = 3) -> Json:
    """A SipGateway with that many relays, which scales and drains quickly to save time."""
    scaling = {"minRelays": least, "maxRelays": most, "lookaheadSeconds": 5, "scaleInAfterSeconds": 5}
    return document(
        "SipGateway", "gateway", {"autoscaling": scaling, "drain": {"deadlineSeconds": 5, "graceSeconds": 60}}
    )


def route(name: str, *bots: tuple[str, int], priority: int = 0, **match: Any) -> Json:
    """A BotRoute to bots by weight."""
    spec: Json = {"bots": [{"endpoint": endpoint, "weight": weight} for endpoint, weight in bots]}
    return document("BotRoute", name, spec | {"priority": priority, "match": match})


def condition(kubectl: Kubectl, kind: str, name: str, type_: str) -> Json:
    """Return a condition of a resource; empty when it has none."""
    status = kubectl.get(kind, name).get("status", {})
    return next((c for c in status.get("conditions", []) if c["type"] == type_), {})


def remove_all(kubectl: Kubectl) -> None:
    kubectl.run("delete", KINDS, "--all", "--timeout=30s")


def await_route(release: Release, callers: Callers, name: str) -> None:
    """Wait until calls to the route's name take that route at every edge."""

    def is_followed() -> bool:
        made = callers.dial(len(callers.edges), per_second=50, user=name)
        routes = [call.route for call in release.calls_of([sip_id(one) for one in made])]
        callers.hang_up(made)
        return routes == [name] * len(made)

    eventually(is_followed, 20, f"each edge follows route {name}")
