"""The registry on a Redis Cluster: the same calls, placement and config, each under its hash tag."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from sipgw.api.calls.v1.session_pb2 import CALL_STATE_INVITED, CallSession
from sipgw.api.config.v1.config_pb2 import GatewayConfig
from sipgw.api.registry.v1.registry_pb2 import RelayRegistration
from sipgw.calls import CallStore, Created, EdgeLease, EdgeLeases, random_call_id, to_record
from sipgw.registry.app import RegistryApp, RegistrySettings
from sipgw.registry.config_store import ConfigStore
from sipgw.registry.placement import Beat, Placed, Placements
from sipgw.runtime.patience import patient
from sipgw.runtime.settings import HostPort, Identity
from sipgw.store import Store, partition_of
from sipgw.store.testing import redis_cluster

EDGE = Identity("edge-0", "aaaa")


async def test_calls_leases_placement_and_config_work_on_a_cluster(
    tmp_path: Path, eventually: Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]
) -> None:
    with redis_cluster(tmp_path) as url:
        store = await Store.connect(url)
        registry = RegistryApp(RegistrySettings(HostPort("127.0.0.1", 0)), await Store.connect(url))
        await registry.start()
        assert await registry.materialised(patient(20))

        async def live(count: int) -> bool:
            return registry.calls.count().live == count

        calls = CallStore(store)
        sessions: list[CallSession] = []
        for _ in range(5):
            made = CallSession(call_id=random_call_id(), state=CALL_STATE_INVITED, owner=to_record(EDGE))
            answer = await calls.create(made)
            assert isinstance(answer, Created)
            sessions.append(await calls.save(answer.session))
        await eventually(lambda: live(5))
        assert sessions[0] in await calls.owned_by(EDGE, partition_of(sessions[0].call_id))
        await calls.end(sessions[0])
        await eventually(lambda: live(4))

        assert await EdgeLeases(store).beat(EDGE, "h:1") == [EdgeLease(EDGE, "h:1")]
        relay = RelayRegistration(capacity_units=5)
        relay.relay.name, relay.relay.incarnation = "relay-0", "i"
        placements = Placements(store)
        await placements.register(relay)
        await placements.beat(relay, Beat([], 0, is_draining=False, ports_free=5))
        assert await placements.reserve(random_call_id(), 1) == Placed(relay)
        assert (await ConfigStore(store).put(GatewayConfig(), 0)).version == 1
        await registry.stop()
        await store.aclose()
