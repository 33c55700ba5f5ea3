"""Probes: the gRPC health port as a kubelet asks it."""

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import CollectorRegistry

from sipgw.runtime.errors import StartupError
from sipgw.runtime.health import Probes
from sipgw.runtime.settings import HostPort
from sipgw.runtime.vitals import Vitals

ANY = HostPort("127.0.0.1", 0)
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def test_each_service_name_asks_its_own_question() -> None:
    state = {"ready": False, "live": True}
    probes = Probes(Vitals(is_ready=lambda: state["ready"], is_live=lambda: state["live"]), health=ANY)
    bound = await probes.start()
    async with grpc.aio.insecure_channel(bound["health"]) as channel:
        stub = health_pb2_grpc.HealthStub(channel)

        async def ask(service: str) -> int:
            return (await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=5)).status

        assert [await ask(name) for name in ("liveness", "readiness", "")] == [
            SERVING,
            NOT_SERVING,
            NOT_SERVING,
        ]
        state.update(ready=True, live=False)
        assert [await ask(name) for name in ("liveness", "readiness", "")] == [NOT_SERVING, SERVING, SERVING]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ask("livenes")
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    await probes.aclose()


async def test_only_the_ports_asked_for_are_opened() -> None:
    probes = Probes(Vitals(is_ready=bool), admin=ANY, registry=CollectorRegistry())
    assert set(await probes.start()) == {"admin"}
    await probes.aclose()
    assert await Probes(Vitals(is_ready=bool)).start() == {}


async def test_a_taken_port_is_a_startup_error() -> None:
    probes = Probes(Vitals(is_ready=bool), health=ANY)
    taken = HostPort.parse((await probes.start())["health"])
    with pytest.raises(StartupError, match=str(taken)):
        await Probes(Vitals(is_ready=bool), health=taken).start()
    await probes.aclose()
