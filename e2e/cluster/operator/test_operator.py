"""The operator as a process against a real apiserver, with a real registry and Redis."""

import asyncio
import base64
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from cryptography import x509
from gatewaykit.howto import HowTo, Step

from sipgw.api.registry.v1 import registry_pb2 as pb
from sipgw.api.registry.v1.registry_pb2_grpc import RelayRegistrationServiceStub
from sipgw.calls import EdgeLeases
from sipgw.control import RegistryClient
from sipgw.operator.kube_client import KubeClient
from sipgw.operator.resources import paths
from sipgw.runtime.settings import Identity
from sipgw.store import Store
from sipgw.store.testing import RedisServer

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180, func_only=True)]

RELEASE = "gw"
LANES = 2
Json = dict[str, Any]


def route(name: str, bot: str = "bot:9090", **spec: Any) -> Json:
    return {
        "apiVersion": "sipgw.io/v1alpha1",
        "kind": "BotRoute",
        "metadata": {"name": name},
        "spec": {"bots": [{"endpoint": bot}], **spec},
    }


def trunk(name: str, **spec: Any) -> Json:
    return {
        "apiVersion": "sipgw.io/v1alpha1",
        "kind": "SipTrunk",
        "metadata": {"name": name},
        "spec": spec,
    }


def gateway(**spec: Any) -> Json:
    return {
        "apiVersion": "sipgw.io/v1alpha1",
        "kind": "SipGateway",
        "metadata": {"name": "main"},
        "spec": spec,
    }


@dataclass
class Namespace:
    """Do what `kubectl` would do in this test's namespace."""

    kube: KubeClient
    name: str

    async def apply(self, body: Json) -> None:
        await self.kube.create(paths.documents(self.name, body["kind"]), body)

    async def change(self, body: Json) -> None:
        path = paths.documents(self.name, body["kind"], body["metadata"]["name"])
        await self.kube.merge(path, {"spec": body["spec"]})

    async def delete(self, body: Json) -> None:
        await self.kube.delete(paths.documents(self.name, body["kind"], body["metadata"]["name"]))

    async def status(self, body: Json) -> Json:
        path = paths.documents(self.name, body["kind"], body["metadata"]["name"])
        found = await self.kube.get(path)
        return (found or {}).get("status") or {}

    async def condition(self, body: Json, type_: str) -> Json:
        status = await self.status(body)
        return next((one for one in status.get("conditions", []) if one["type"] == type_), {})

    async def replicas(self) -> list[int]:
        found = await self.kube.list(paths.stateful_sets(self.name))
        return [one["spec"]["replicas"] for one in sorted(found, key=lambda one: one["metadata"]["name"])]

    async def events(self) -> set[str]:
        return {one["reason"] for one in await self.kube.list(paths.events(self.name))}


@pytest.fixture
def ns(kube: KubeClient, namespace: str) -> Namespace:
    return Namespace(kube, namespace)


async def routes_of(registry: RegistryClient) -> list[str]:
    config = await registry.get_config()
    return [one.name for one in config.routes] if config is not None else []


async def bots_of(registry: RegistryClient) -> dict[str, str]:
    config = await registry.get_config()
    return {one.name: one.bots[0].endpoint for one in config.routes} if config is not None else {}


@asynccontextmanager
async def fake_relay(address: str, number: int, *, used: int = 0, capacity: int = 10) -> AsyncIterator[None]:
    """Register as a relay, and send a heartbeat each half second."""
    name = f"{RELEASE}-relay-{number % LANES}-{number // LANES}"
    registration = pb.RelayRegistration(
        control_address="127.0.0.1:1",
        advertised_address="127.0.0.1",
        lane=number % LANES,
        ordinal=number // LANES,
        capacity_units=capacity,
    )
    registration.relay.name, registration.relay.incarnation = name, f"{name}-i"
    request = pb.HeartbeatRequest(
        registration=registration,
        used_units=used,
        ports_free=100,
        call_ids=[f"{number:02x}{call:030x}" for call in range(used)],
    )

    async def beat() -> None:
        async with grpc.aio.insecure_channel(address) as channel:
            stream = RelayRegistrationServiceStub(channel).Heartbeat()
            while True:
                await stream.write(request)
                await stream.read()
                await asyncio.sleep(0.5)

    task = asyncio.create_task(beat())
    try:
        yield
    finally:
        task.cancel()


async def test_without_any_resource_the_built_in_echo_route_is_in_force(
    start_operator: Any, registry_address: str, registry: RegistryClient, eventually: Any
) -> None:
    start_operator(registry_address)

    async def is_echo() -> bool:
        return await bots_of(registry) == {"default": "builtin:echo"}

    await eventually(is_echo)


async def test_a_route_is_followed_within_two_seconds_and_its_status_says_so(
    start_operator: Any, registry_address: str, registry: RegistryClient, ns: Namespace, eventually: Any
) -> None:
    start_operator(registry_address)

    async def has_started() -> bool:
        return await routes_of(registry) == ["default"]

    await eventually(has_started)
    first = route("warm-up")
    await ns.apply(first)
    await eventually(lambda: is_true(ns, first, "Programmed"))
    sales = route("sales", "sales:9090", match={"to": {"prefix": "+49"}}, priority=5)
    await ns.apply(sales)
    took = await eventually(lambda: contains(registry, ["sales", "warm-up"]))
    assert took < 2.0

    async def is_told() -> bool:
        status = await ns.status(sales)
        programmed = await ns.condition(sales, "Programmed")
        accepted = await ns.condition(sales, "Accepted")
        return (
            status.get("match") == "to +49*"
            and status.get("bot") == "sales:9090"
            and status.get("callsNow") == 0
            and programmed.get("status") == accepted.get("status") == "True"
            and accepted.get("observedGeneration") == 1
        )

    await eventually(is_told)
    assert (await ns.condition(sales, "Ready"))["reason"] == "NoRelay"
    await ns.delete(sales)
    assert await eventually(lambda: contains(registry, ["warm-up"])) < 2.0


async def contains(registry: RegistryClient, names: list[str]) -> bool:
    return await routes_of(registry) == names


async def test_a_wrong_document_names_the_field_and_its_last_good_version_serves_on(
    start_operator: Any, registry_address: str, registry: RegistryClient, ns: Namespace, eventually: Any
) -> None:
    start_operator(registry_address)
    sales = route("sales", "sales:9090", match={"to": {"regex": "49.*"}})
    await ns.apply(sales)
    await eventually(lambda: contains(registry, ["sales"]))
    await ns.change(route("sales", "other:9090", match={"to": {"regex": "(a*)*b"}}))

    async def is_refused() -> bool:
        accepted = await ns.condition(sales, "Accepted")
        return accepted.get("status") == "False" and "spec.match.to.regex" in accepted["message"]

    await eventually(is_refused)
    assert (await ns.condition(sales, "Programmed"))["reason"] == "LastGood"
    help_ = route("help", "help:9090")
    await ns.apply(help_)
    await eventually(lambda: contains(registry, ["help", "sales"]))
    assert (await bots_of(registry))["sales"] == "sales:9090"
    await ns.change(route("sales", "other:9090", match={"to": {"regex": "50.*"}}))

    async def is_corrected() -> bool:
        return (await bots_of(registry)).get("sales") == "other:9090"

    await eventually(is_corrected)
    await eventually(lambda: is_true(ns, sales, "Accepted"))
    assert "Refused" in await ns.events()


async def is_true(ns: Namespace, body: Json, type_: str) -> bool:
    return (await ns.condition(body, type_)).get("status") == "True"


async def test_a_password_is_followed_when_its_secret_changes(
    start_operator: Any, registry_address: str, registry: RegistryClient, ns: Namespace, eventually: Any
) -> None:
    start_operator(registry_address)
    office = trunk("office", auth={"digest": {"username": "pbx", "secretRef": {"name": "pbx"}}})
    await ns.apply(office)

    async def is_missed() -> bool:
        return (await ns.condition(office, "Accepted")).get("reason") == "SecretMissing"

    await eventually(is_missed)
    secret = {"metadata": {"name": "pbx"}, "data": {"password": base64.b64encode(b"one").decode()}}
    await ns.kube.create(paths.secrets(ns.name), secret)

    async def sealed() -> bytes:
        config = await registry.get_config()
        trunks = list(config.trunks) if config is not None else []
        return trunks[0].digest.sealed_password if [one.name for one in trunks] == ["office"] else b""

    async def is_sealed() -> bool:
        return bool(await sealed())

    await eventually(is_sealed)
    await eventually(lambda: is_true(ns, office, "Programmed"))
    before = await sealed()
    assert b"one" not in before
    await ns.kube.merge(
        paths.secrets(ns.name, "pbx"), {"data": {"password": base64.b64encode(b"two").decode()}}
    )

    async def is_followed() -> bool:
        return await sealed() not in {b"", before}

    assert await eventually(is_followed) < 2.0


async def test_of_two_operators_one_acts_and_the_other_takes_over_from_a_dead_one(
    start_operator: Any, registry_address: str, registry: RegistryClient, ns: Namespace, eventually: Any
) -> None:
    operators = [start_operator(registry_address, identity=f"operator-{n}") for n in range(2)]
    await ns.apply(route("first"))
    await eventually(lambda: contains(registry, ["first"]))
    (leader,) = [one for one in operators if one.said("leading")]
    leader.end(signal.SIGKILL)
    await ns.apply(route("second"))
    took = await eventually(lambda: contains(registry, ["first", "second"]))
    assert took < 20
    (other,) = [one for one in operators if one is not leader]
    assert other.said("leading")


async def test_a_leader_that_ends_hands_over_at_once_and_an_absent_one_leaves_all_as_it_is(
    start_operator: Any, registry_address: str, registry: RegistryClient, ns: Namespace, eventually: Any
) -> None:
    first = start_operator(registry_address, identity="operator-0")
    await ns.apply(route("first"))
    await eventually(lambda: contains(registry, ["first"]))
    second = start_operator(registry_address, identity="operator-1")
    assert first.end() == 0
    await ns.apply(route("second"))
    assert await eventually(lambda: contains(registry, ["first", "second"])) < 6
    assert second.end() == 0
    assert await routes_of(registry) == ["first", "second"]
    await ns.delete(route("first"))
    found = await ns.kube.list(paths.documents(ns.name, "BotRoute"))
    assert [one["metadata"]["name"] for one in found] == ["second"]  # no finalizer kept the other
    assert not found[0]["metadata"].get("finalizers")
    assert not found[0]["metadata"].get("annotations")


async def test_an_unreachable_registry_is_told_and_tried_again(
    start_operator: Any, start_registry: Any, ns: Namespace, eventually: Any, free_port: int
) -> None:
    address = f"127.0.0.1:{free_port}"
    start_operator(address)
    sales = route("sales")
    await ns.apply(sales)

    async def is_told() -> bool:
        return (await ns.condition(sales, "Programmed")).get("reason") == "RegistryUnreachable"

    await eventually(is_told)
    start_registry(listen=address)
    await eventually(lambda: is_true(ns, sales, "Programmed"))


async def test_relays_are_added_for_calls_drained_when_idle_and_taken_away_when_empty(
    start_operator: Any, registry_address: str, registry: RegistryClient, ns: Namespace, eventually: Any
) -> None:
    main = gateway(
        autoscaling={
            "minRelays": 2,
            "maxRelays": 5,
            "warmRelays": 1,
            "lookaheadSeconds": 0,
            "scaleInAfterSeconds": 3,
        }
    )
    await ns.apply(main)
    async with fake_relay(registry_address, 0, used=9), fake_relay(registry_address, 1, used=9):
        start_operator(registry_address)

        async def is_scaled_out() -> bool:
            return await ns.replicas() == [2, 2]  # 18 units at 70 % of 10 each need 3, plus a warm one

        await eventually(is_scaled_out)
        async with fake_relay(registry_address, 2), fake_relay(registry_address, 3):

            async def is_told() -> bool:
                return (await ns.status(main)).get("relays") == {
                    "wanted": 4,
                    "ready": 4,
                    "full": 0,
                    "late": 0,
                    "draining": 0,
                }

            await eventually(is_told)
    async with (
        fake_relay(registry_address, 0, used=1),
        fake_relay(registry_address, 1),
        fake_relay(registry_address, 2),
        fake_relay(registry_address, 3),
    ):

        async def is_scaled_in() -> bool:
            return await ns.replicas() == [1, 1]

        await eventually(is_scaled_in)
        draining = {
            one.registration.relay.name for one in await registry.list_relays() if one.drain_requested
        }
        assert draining == {"gw-relay-0-1", "gw-relay-1-1"}
    assert {"ScaledOut", "ScaledIn", "RelayDraining"} <= await ns.events()


async def test_the_how_to_on_scaling_works_as_written(
    start_operator: Any,
    registry_address: str,
    redis: RedisServer,
    ns: Namespace,
    eventually: Any,
    tmp_path: Path,
    kubectl: Any,
    kubeconfig: str,
) -> None:
    how_to = HowTo.read("scale")
    how_to.write(tmp_path)
    store = await Store.connect(redis.url)
    edge = asyncio.create_task(EdgeLeases(store).run(Identity("edge-0", "i"), "127.0.0.1:1"))
    start_operator(registry_address)
    first, second, *later = (step for step in how_to.steps if "kubectl" in step.command)

    async def run(step: Step) -> str:
        command = step.command.replace("kubectl ", f"{kubectl.program} --namespace {ns.name} ")
        process = await asyncio.create_subprocess_shell(
            command, cwd=tmp_path, stdout=asyncio.subprocess.PIPE, env={"KUBECONFIG": kubeconfig}
        )
        output, _ = await process.communicate()
        assert process.returncode == 0
        return output.decode()

    async with fake_relay(registry_address, 0), fake_relay(registry_address, 1):
        await run(first)

        async def is_shown() -> bool:
            try:
                first.check(await run(first))
            except AssertionError:
                return False
            return True

        await eventually(is_shown)
        assert "gw-relay-1" in await run(second)
        assert not later
    edge.cancel()
    await store.aclose()


async def test_certificates_come_first_belong_to_the_release_and_open_the_registry(
    start_operator: Any,
    start_registry: Any,
    ns: Namespace,
    eventually: Any,
    free_port: int,
    tmp_path: Path,
) -> None:
    address = f"127.0.0.1:{free_port}"
    start_operator(address, pki="operator")
    roles = ("edge", "relay", "registry", "operator")

    async def are_there() -> bool:
        found = {one["metadata"]["name"] for one in await ns.kube.list(paths.secrets(ns.name))}
        return {f"gw-tls-{role}" for role in roles} | {"gw-ca", "gw-seal"} <= found

    assert await eventually(are_there) < 10
    secret = await ns.kube.get(paths.secrets(ns.name, "gw-tls-registry"))
    assert secret is not None
    (owner,) = secret["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"]) == ("ServiceAccount", "gw-operator")
    directory = tmp_path / "tls"
    directory.mkdir()
    for name, value in secret["data"].items():
        (directory / name).write_bytes(base64.b64decode(value))
    leaf = x509.load_pem_x509_certificate((directory / "tls.crt").read_bytes())
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["registry.sipgw"]
    start_registry("--tls-dir", str(directory), listen=address)
    sales = route("sales")
    await ns.apply(sales)
    await eventually(lambda: is_true(ns, sales, "Programmed"))
