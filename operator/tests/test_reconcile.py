"""Whole passes, against an apiserver and a registry in memory."""

from typing import Any

import pytest
from prometheus_client import REGISTRY

from sipgw.api.registry.v1 import registry_pb2 as pb
from sipgw.operator.kept_secrets import KeptSecrets
from sipgw.operator.reconcile import Reconciler
from sipgw.operator.settings import OperatorSettings, Pki
from sipgw.runtime.settings import HostPort

from .conftest import FakeKube, FakeRegistry, ManualClock

Json = dict[str, Any]
NS = "/apis/sipgw.io/v1alpha1/namespaces/ns"
SETS = "/apis/apps/v1/namespaces/ns/statefulsets"


class Bench:
    """A reconciler with its apiserver, registry and clock. A test may clear `is_leading`."""

    def __init__(self, kube: FakeKube, registry: FakeRegistry, clock: ManualClock) -> None:
        self.kube, self.registry, self.clock = kube, registry, clock
        self.is_leading = True
        settings = OperatorSettings("ns", "gw", HostPort("r", 1), "op", pki=Pki.OFF, lanes=2)
        kept = KeptSecrets(kube, [], namespace="ns", release="gw", clock=clock)  # type: ignore[arg-type]
        self.reconciler = Reconciler(
            settings,
            kube,
            self,
            kept,
            clock=clock,
            may_act=lambda: self.is_leading,  # type: ignore[arg-type]
        )

    async def client(self) -> FakeRegistry:
        return self.registry

    async def passes(self, count: int = 1, seconds: float = 2.0) -> None:
        for _ in range(count):
            await self.reconciler.once()
            self.clock.move(seconds)

    async def apply(self, kind: str, name: str, **spec: Any) -> None:
        plural = {"BotRoute": "botroutes", "SipTrunk": "siptrunks", "SipGateway": "sipgateways"}[kind]
        await self.kube.create(f"{NS}/{plural}", {"kind": kind, "metadata": {"name": name}, "spec": spec})
        self.reconciler.notice()

    def lane(self, lane: int, replicas: int = 1, updated: int | None = None) -> None:
        self.kube.objects[f"{SETS}/gw-relay-{lane}"] = {
            "metadata": {"name": f"gw-relay-{lane}", "generation": 1, "resourceVersion": "1"},
            "spec": {"replicas": replicas},
            "status": {
                "replicas": replicas,
                "updatedReplicas": replicas if updated is None else updated,
                "updateRevision": f"rev-{lane}",
            },
        }

    def relay(self, number: int, used: int = 0, capacity: int = 100) -> None:
        made = pb.Relay(healthy=True, used_units=used, calls=used, ports_free=1000)
        made.registration.relay.name = f"gw-relay-{number % 2}-{number // 2}"
        made.registration.lane, made.registration.ordinal = number % 2, number // 2
        made.registration.capacity_units = capacity
        self.registry.relays.append(made)

    def node(self, name: str, *, cordoned: bool = False) -> None:
        self.kube.objects[f"/api/v1/nodes/{name}"] = {
            "metadata": {"name": name},
            "spec": {"unschedulable": cordoned},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        }

    def replicas(self) -> list[int]:
        return [self.kube.objects[f"{SETS}/gw-relay-{lane}"]["spec"]["replicas"] for lane in range(2)]

    def status(self, plural: str, name: str) -> Json:
        return self.kube.objects[f"{NS}/{plural}/{name}"].get("status", {})

    def condition(self, plural: str, name: str, type_: str) -> tuple[str, str]:
        conditions = self.status(plural, name)["conditions"]
        found = next(one for one in conditions if one["type"] == type_)
        return found["status"], found["reason"]


@pytest.fixture
def bench(kube: FakeKube, registry: FakeRegistry, clock: ManualClock) -> Bench:
    made = Bench(kube, registry, clock)
    for lane in range(2):
        made.lane(lane)
        made.relay(lane)
    return made


def bots(registry: FakeRegistry) -> dict[str, str]:
    assert registry.config is not None
    return {one.name: one.bots[0].endpoint for one in registry.config.routes}


async def test_a_pass_that_finds_nothing_to_do_does_nothing(bench: Bench) -> None:
    await bench.apply("BotRoute", "sales", bots=[{"endpoint": "sales:1"}])
    await bench.passes(2)
    bench.kube.written()
    await bench.passes(20)
    assert bench.kube.written() == []
    assert bench.registry.puts == 1


async def test_a_change_is_put_and_shown(bench: Bench) -> None:
    await bench.passes()
    assert bots(bench.registry) == {"default": "builtin:echo"}
    await bench.apply("BotRoute", "sales", bots=[{"endpoint": "sales:1"}])
    await bench.passes()
    assert bots(bench.registry) == {"sales": "sales:1"}
    assert bench.condition("botroutes", "sales", "Ready") == ("True", "Ready")


async def test_what_a_watch_missed_is_found_within_half_a_minute(bench: Bench) -> None:
    await bench.apply("BotRoute", "sales", bots=[{"endpoint": "sales:1"}])
    await bench.passes()
    del bench.kube.objects[f"{NS}/botroutes/sales"]  # the watch misses it
    await bench.passes(16)
    assert bots(bench.registry) == {"default": "builtin:echo"}


async def test_another_config_that_somebody_put_is_replaced(bench: Bench) -> None:
    await bench.passes()
    assert bench.registry.config is not None
    bench.registry.config.routes[0].bots[0].endpoint = "stranger:1"
    bench.registry.config.version += 5
    await bench.passes()
    assert bots(bench.registry) == {"default": "builtin:echo"}


async def test_a_registry_that_is_away_is_told_and_nothing_is_sized(bench: Bench) -> None:
    await bench.apply("BotRoute", "sales", bots=[{"endpoint": "sales:1"}])
    bench.registry.away = True
    await bench.passes(100)
    assert bench.condition("botroutes", "sales", "Programmed") == ("False", "RegistryUnreachable")
    assert bench.replicas() == [1, 1]
    bench.registry.away = False
    await bench.passes(2)
    assert bench.condition("botroutes", "sales", "Programmed") == ("True", "Programmed")


async def test_who_leads_no_more_writes_nothing(bench: Bench) -> None:
    await bench.apply("BotRoute", "sales", bots=[{"endpoint": "sales:1"}])
    await bench.passes()
    bench.kube.written()
    bench.is_leading = False
    bench.registry.relays[0].used_units = 100
    await bench.apply("BotRoute", "help", bots=[{"endpoint": "help:1"}])
    bench.kube.written()
    await bench.passes(3)
    assert (bench.kube.written(), bench.registry.puts) == ([], 1)


async def test_counts_alone_are_written_each_ten_seconds_at_most(bench: Bench) -> None:
    await bench.apply("BotRoute", "sales", bots=[{"endpoint": "sales:1"}])
    await bench.passes()
    bench.kube.written()
    for calls in range(1, 21):
        bench.registry.counts.by_route["sales"] = calls
        await bench.passes()
    assert len(bench.kube.written("/status")) == 4
    assert bench.status("botroutes", "sales")["callsNow"] >= 16


async def test_load_scales_out_and_quiet_drains_the_highest_before_it_goes(bench: Bench) -> None:
    scaling = {"minRelays": 2, "maxRelays": 6, "scaleInAfterSeconds": 10, "lookaheadSeconds": 0}
    await bench.apply("SipGateway", "main", autoscaling=scaling)
    bench.registry.relays[0].used_units = bench.registry.relays[0].calls = 100
    bench.registry.relays[1].used_units = bench.registry.relays[1].calls = 60
    await bench.passes()
    assert bench.replicas() == [2, 2]  # 160 at 70 % of 100 each, and one warm
    for number in (2, 3):
        bench.relay(number)
    await bench.passes()
    assert bench.status("sipgateways", "main")["relays"] == {
        "wanted": 4,
        "ready": 4,
        "full": 0,
        "late": 0,
        "draining": 0,
    }
    for relay in bench.registry.relays:
        relay.used_units = relay.calls = 0
    bench.registry.relays[3].used_units = bench.registry.relays[3].calls = 1
    await bench.passes(20)
    assert bench.registry.drains == [("gw-relay-1-1", True)]
    assert bench.replicas() == [2, 2]
    bench.registry.relays[3].used_units = bench.registry.relays[3].calls = 0
    await bench.passes()
    assert bench.replicas() == [2, 1]
    assert {"ScaledOut", "ScaledIn", "RelayDraining"} <= bench.kube.told()


async def test_before_all_lanes_are_there_nothing_is_sized(bench: Bench) -> None:
    del bench.kube.objects[f"{SETS}/gw-relay-1"]
    bench.registry.relays[0].used_units = 100
    await bench.passes(3)
    assert bench.kube.objects[f"{SETS}/gw-relay-0"]["spec"]["replicas"] == 1


async def test_an_old_template_is_rolled_with_one_more_first(bench: Bench) -> None:
    pods = "/api/v1/namespaces/ns/pods"
    for lane in range(2):
        bench.lane(lane, updated=0)
        name = f"gw-relay-{lane}-0"
        labels = {"controller-revision-hash": "before"}
        bench.kube.objects[f"{pods}/{name}"] = {"metadata": {"name": name, "labels": labels}}
    await bench.passes()
    assert bench.replicas() == [2, 1]
    bench.lane(0, replicas=2, updated=1)
    bench.relay(2)
    await bench.passes()
    assert bench.registry.drains == [("gw-relay-1-0", True)]
    await bench.passes()
    assert f"{pods}/gw-relay-1-0" not in bench.kube.objects
    assert f"{pods}/gw-relay-0-0" in bench.kube.objects


async def test_a_restart_that_a_disruption_budget_refuses_is_told_when_it_was_done(bench: Bench) -> None:
    pod = "/api/v1/namespaces/ns/pods/gw-relay-0-0"
    bench.lane(0, updated=0)
    labels = {"controller-revision-hash": "before"}
    bench.kube.objects[pod] = {"metadata": {"name": "gw-relay-0-0", "labels": labels}}
    bench.relay(2)  # the extra relay that a roll starts first
    bench.kube.budget_is_spent = True
    await bench.passes(3)
    assert f"{pod}/eviction" in bench.kube.written("/eviction")
    assert "RelayRestarted" not in bench.kube.told()
    bench.kube.budget_is_spent = False
    await bench.passes(20)
    assert pod not in bench.kube.objects
    assert "RelayRestarted" in bench.kube.told()


async def test_a_deleted_gateway_document_gives_way_to_the_defaults(bench: Bench) -> None:
    await bench.apply("SipGateway", "main", autoscaling={"minRelays": 5, "scaleInAfterSeconds": 0})
    await bench.passes()
    assert bench.replicas() == [3, 2]
    await bench.kube.delete(f"{NS}/sipgateways/main")
    bench.reconciler.notice()
    await bench.passes()
    await bench.passes(160)
    assert bench.replicas() == [1, 1]


async def test_a_wrong_gateway_document_keeps_its_last_good_sizing(bench: Bench) -> None:
    await bench.apply("SipGateway", "main", autoscaling={"minRelays": 5})
    await bench.passes()
    path = f"{NS}/sipgateways/main"
    for number in range(2, 5):
        bench.relay(number)
    await bench.kube.merge(path, {"spec": {"autoscaling": {"minRelays": -1}}})
    bench.reconciler.notice()
    await bench.passes(200)
    assert bench.condition("sipgateways", "main", "Accepted") == ("False", "Invalid")
    assert bench.replicas() == [3, 2]


async def test_what_relays_complain_of_is_shown(bench: Bench) -> None:
    await bench.apply("SipGateway", "main")
    bench.registry.relays[1].registration.warnings.append("port 20000 is taken")
    await bench.passes()
    assert bench.condition("sipgateways", "main", "RelayWarnings") == ("True", "ToldByRelays")
    bench.registry.away = True
    await bench.passes()
    assert bench.condition("sipgateways", "main", "RelayWarnings") == ("True", "RegistryUnreachable")


async def test_without_a_gateway_document_what_relays_complain_of_is_told_once_of_their_lane(
    bench: Bench,
) -> None:
    def told() -> list[tuple[str, str, int]]:
        warnings = [one for one in bench.kube.events("RelayWarning") if one["type"] == "Warning"]
        return [(one["involvedObject"]["name"], one["message"], one["count"]) for one in warnings]

    complaints = bench.registry.relays[1].registration.warnings
    complaints.append("port 20000 is taken")
    bench.kube.refuses_events = True
    await bench.passes()
    assert told() == []
    bench.kube.refuses_events = False
    await bench.passes(6)
    assert told() == [("gw-relay-1", "relay gw-relay-1-0: port 20000 is taken", 1)]
    complaints.clear()
    await bench.passes(20)
    complaints.append("port 20000 is taken")
    await bench.passes()
    assert told() == [("gw-relay-1", "relay gw-relay-1-0: port 20000 is taken", 2)]


async def test_a_status_that_is_refused_is_tried_ever_more_seldom_and_told_as_one_event(bench: Bench) -> None:
    await bench.apply("BotRoute", "sales", bots=[{"endpoint": "nowhere"}])
    bench.kube.refuses_statuses = True
    bench.kube.written()
    await bench.passes(150)  # five minutes
    assert len(bench.kube.written("/status")) <= 8
    (event,) = bench.kube.events("Refused")
    assert bench.kube.requests_for("/events") <= 8
    assert event["count"] > 1
    bench.kube.refuses_statuses = False
    await bench.passes(60)
    assert bench.condition("botroutes", "sales", "Accepted") == ("False", "Invalid")


async def test_without_a_gateway_document_an_act_is_told_of_its_own_lane(bench: Bench) -> None:
    for relay in bench.registry.relays:
        relay.used_units = relay.calls = 65
    await bench.passes()
    assert bench.replicas() == [2, 1]
    bench.relay(2, used=20)
    await bench.passes()
    for relay in bench.registry.relays:
        relay.used_units = relay.calls = 70
    await bench.passes()
    assert bench.replicas() == [2, 2]
    told = {(one["involvedObject"]["name"], one["message"]) for one in bench.kube.events("ScaledOut")}
    assert told == {
        ("gw-relay-0", "gw-relay-0: 1 -> 2 relays (3 wanted in all)"),
        ("gw-relay-1", "gw-relay-1: 1 -> 2 relays (4 wanted in all)"),
    }


async def test_of_two_equal_routes_the_second_is_not_ready(bench: Bench) -> None:
    for name in ("first", "second"):
        await bench.apply("BotRoute", name, bots=[{"endpoint": "bot:1"}], match={"to": {"exact": "100"}})
    await bench.passes()
    assert bench.condition("botroutes", "first", "Ready") == ("True", "Ready")
    assert bench.condition("botroutes", "second", "Ready") == ("False", "Shadowed")


@pytest.mark.parametrize("kind", ["deployments", "daemonsets"])
async def test_fewer_edges_than_asked_for_is_a_condition(bench: Bench, kind: str) -> None:
    await bench.apply("SipGateway", "main")
    await bench.passes()
    assert bench.condition("sipgateways", "main", "EdgesMissing") == ("False", "AllThere")
    asked = (
        {"spec": {"replicas": 2}}
        if kind == "deployments"
        else {"spec": {}, "status": {"desiredNumberScheduled": 2}}
    )
    bench.kube.objects[f"/apis/apps/v1/namespaces/ns/{kind}/gw-edge"] = {
        "metadata": {"name": "gw-edge"},
        **asked,
    }
    await bench.passes(6)
    assert bench.condition("sipgateways", "main", "EdgesMissing") == ("True", "FewerThanAsked")
    bench.registry.edges = 2
    await bench.passes()
    assert bench.condition("sipgateways", "main", "EdgesMissing") == ("False", "AllThere")


async def test_all_relays_on_one_node_is_a_condition_an_event_and_a_metric(bench: Bench) -> None:
    await bench.apply("SipGateway", "main")
    for relay in bench.registry.relays:
        relay.registration.node = "a"
    bench.node("a")
    await bench.passes(17)
    assert bench.condition("sipgateways", "main", "RelaysTogether") == ("True", "OnOneNode")
    (event,) = bench.kube.events("RelaysTogether")
    assert event["type"] == "Warning"
    assert "node a" in event["message"]
    assert _gauge("node") == 1
    bench.registry.relays[1].registration.node = "b"
    await bench.passes()
    assert bench.condition("sipgateways", "main", "RelaysTogether") == ("False", "Spread")
    assert _gauge("node") == 0


async def test_a_node_that_comes_back_gets_one_of_the_relays_that_are_all_on_another(bench: Bench) -> None:
    for relay in bench.registry.relays:
        relay.registration.node = "a"
    bench.node("a")
    bench.node("b", cordoned=True)
    await bench.passes(60)
    assert bench.replicas() == [1, 1]
    bench.node("b")
    bench.reconciler.notice_nodes()
    await bench.passes(2)
    assert bench.replicas() == [2, 1], "lane 0 can't have another on node a"


async def test_a_relay_that_the_registry_calls_gone_is_replaced_in_seconds_by_a_leader_that_never_heard_it(
    bench: Bench,
) -> None:
    for relay, node in zip(bench.registry.relays, "ab", strict=True):
        relay.registration.node = node
    bench.registry.relays[0].healthy = False
    for name in "abc":
        bench.node(name)
    await bench.passes(7)
    assert bench.replicas() == [1, 1]
    await bench.passes(2)  # 16 s
    assert bench.replicas() == [2, 1], "lane 0 can't have another on node a"


async def test_nodes_are_listed_when_one_changed_and_seldom_otherwise(bench: Bench) -> None:
    await bench.passes(100)
    assert bench.kube.requests_for("/api/v1/nodes") == 1
    bench.reconciler.notice_nodes()
    bench.reconciler.notice()
    await bench.passes(2)
    assert bench.kube.requests_for("/api/v1/nodes") == 2


def _gauge(kind: str) -> float | None:
    return REGISTRY.get_sample_value("sipgw_operator_relays_together", {"in": kind})


async def test_ports_that_the_chart_has_otherwise_are_shown(bench: Bench) -> None:
    await bench.apply("SipGateway", "main", sip={"port": 5070})
    await bench.passes()
    assert bench.condition("sipgateways", "main", "PortsIgnored") == ("True", "SetByTheChart")
    await bench.kube.merge(f"{NS}/sipgateways/main", {"spec": {"sip": {"port": 5060}}})
    bench.reconciler.notice()
    await bench.passes()
    assert bench.condition("sipgateways", "main", "PortsIgnored") == ("False", "NoneSet")


async def test_an_apiserver_that_is_away_ends_the_pass_and_the_next_goes_on(bench: Bench) -> None:
    bench.kube.away = True
    await bench.passes(3)
    bench.kube.away = False
    await bench.passes()
    assert bots(bench.registry) == {"default": "builtin:echo"}


async def test_addresses_follow_the_policy_and_the_map_goes_before(bench: Bench) -> None:
    for number in range(2):
        addresses = [
            {"type": "InternalIP", "address": f"10.0.0.{number}"},
            {"type": "ExternalIP", "address": f"192.0.2.{number}"},
        ]
        bench.kube.objects[f"/api/v1/nodes/n{number}"] = {
            "metadata": {"name": f"n{number}"},
            "status": {"addresses": addresses},
        }
    await bench.passes()
    assert bench.registry.config is not None
    assert dict(bench.registry.config.gateway.advertised_addresses) == {"n0": "10.0.0.0", "n1": "10.0.0.1"}
    advertise = {"policy": "ExternalIP", "nodes": {"n1": "198.51.100.1"}}
    await bench.apply("SipGateway", "main", advertise=advertise)
    await bench.passes()
    assert dict(bench.registry.config.gateway.advertised_addresses) == {
        "n0": "192.0.2.0",
        "n1": "198.51.100.1",
    }
