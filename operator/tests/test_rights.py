"""The chart's Role has the rights that the operator's requests and kopf's watches need, and no other."""

import asyncio
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from sipgw.operator import app
from sipgw.operator.handlers.watching import Watching
from sipgw.operator.kept_secrets import KeptSecrets
from sipgw.operator.leadership import Leadership
from sipgw.operator.pki.keeper import CertificateKeeper
from sipgw.operator.redis_password import RedisPasswordKeeper
from sipgw.operator.resources import paths
from sipgw.operator.settings import OperatorSettings
from sipgw.runtime.settings import HostPort

from .conftest import FakeKube, FakeRegistry, ManualClock
from .test_reconcile import Bench

GOLDEN = Path(__file__).parents[2] / "charts" / "sipgw" / "ci" / "golden" / "default.yaml"
VERBS = {"GET": "get", "LIST": "list", "POST": "create", "PUT": "update", "PATCH": "patch"}
Rights = dict[str, set[str]]


def granted() -> Rights:
    found: Rights = defaultdict(set)
    for manifest in yaml.safe_load_all(GOLDEN.read_text()):
        for rule in manifest["rules"] if manifest and manifest["kind"] in {"Role", "ClusterRole"} else ():
            for resource in rule["resources"]:
                found[f"{rule['apiGroups'][0]}/{resource}"] |= set(rule["verbs"])
    return found


def right(method: str, path: str) -> tuple[str, str]:
    """Return the right that RBAC asks for a request: group/resource[/subresource], and the verb."""
    parts = path.strip("/").split("/")
    group, rest = ("", parts[2:]) if parts[0] == "api" else (parts[1], parts[3:])
    kind, *name = rest[2:] if rest[0] == "namespaces" else rest
    return "/".join([group, kind, *name[1:]]), VERBS[method]


async def requests_of_a_life(kube: FakeKube, registry: FakeRegistry, clock: ManualClock) -> Rights:
    """Start, lead, certify, serve documents, size, roll and renew."""
    common: dict[str, Any] = {"namespace": "ns", "clock": clock}
    leadership = Leadership(kube, name="gw-operator", identity="op", **common)  # type: ignore[arg-type]
    keeper = CertificateKeeper(kube, release="gw", **common)  # type: ignore[arg-type]
    redis = RedisPasswordKeeper(kube, "gw-redis", release="gw", **common)  # type: ignore[arg-type]
    kube.objects[paths.stateful_sets("ns", "gw-redis")] = {"metadata": {"name": "gw-redis", "generation": 1}}
    kept = KeptSecrets(kube, [keeper, redis], release="gw", **common)  # type: ignore[arg-type]
    bench = Bench(kube, registry, clock)
    for lane in range(2):
        bench.lane(lane, updated=0)
        bench.relay(lane)
        metadata = {"name": f"gw-relay-{lane}-0", "labels": {"controller-revision-hash": "before"}}
        kube.objects[paths.pods("ns", metadata["name"])] = {"metadata": metadata}
    digest = {"username": "u", "secretRef": {"name": "passwords", "key": "u"}}
    await bench.apply("SipGateway", "main", autoscaling={"minRelays": 2})
    await bench.apply("SipTrunk", "carrier", auth={"digest": digest})
    await bench.apply("BotRoute", "sales", bots=[{"endpoint": "sales:1"}])
    kube.requests.clear()  # those were a user's requests
    owner = ("ServiceAccount", "gw-operator")
    kube.objects[paths.owner("ns", *owner)] = {"metadata": {"uid": "u"}}
    operator = app.OperatorApp(OperatorSettings("ns", "gw", HostPort("r", 1), "op", owner=owner))
    await operator._find_owner()
    await operator.stop()
    for _ in range(2):
        await leadership.beat()
    await kept.keep()
    await kept.seal_key()
    clock.move(21 * 86_400.0)
    assert await kept.keep()
    await bench.passes()
    bench.lane(0, replicas=2, updated=1)
    bench.relay(2)
    await bench.passes(2)
    assert "RelayRestarted" in kube.told()
    registry.relays[0].registration.node = registry.relays[1].registration.node = "a"
    del registry.relays[2:]
    await bench.passes(60)
    assert "RelaysTogether" in kube.told()  # reported again, and counted up
    found: Rights = defaultdict(set)
    for method, path in kube.requests:
        resource, verb = right(method, path)
        found[resource].add(verb)
    return found


def watched() -> Rights:
    loop = asyncio.get_running_loop()
    watching = Watching("ns", lambda: None, lambda: None, with_nodes=True)
    selectors = watching._registry(loop)._watching.get_all_selectors()
    return {f"{one.group}/{one.plural or one.any_name}": {"list", "watch"} for one in selectors}


async def test_the_role_has_what_is_asked_for_and_nothing_else(
    kube: FakeKube, registry: FakeRegistry, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "KubeClient", lambda _: kube)
    needed = await requests_of_a_life(kube, registry, clock)
    for resource, verbs in watched().items():
        needed[resource] |= verbs
    assert needed == granted()
