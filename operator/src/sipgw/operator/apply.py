"""Carry out the plan: config, replicas, drains, restarts, status, events.

Each act is independent: a failed one is logged and repeated by the next pass, which starts from the state
then.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from sipgw.api.config.v1.config_pb2 import GatewayConfig
from sipgw.control import ConfigConflict, ControlError, RegistryClient
from sipgw.operator import metrics
from sipgw.operator.errors import KubeError
from sipgw.operator.event_log import EventLog
from sipgw.operator.fleet import Plan
from sipgw.operator.gather import Lanes
from sipgw.operator.kube_client import KubeClient
from sipgw.operator.resources import paths
from sipgw.operator.resources.documents import key_of
from sipgw.operator.resources.events import Subject, subject_of_lane, subject_of_relay
from sipgw.operator.resources.json_parts import Json, part
from sipgw.operator.resources.stateful_sets import eviction_manifest, scale_manifest
from sipgw.runtime.clock import Clock
from sipgw.runtime.telemetry.logs import get_logger


class Applier:
    """`may_act` is asked before each act, so that a replica that lost the lead stops at once."""

    def __init__(
        self,
        client: KubeClient,
        registry: RegistryClient,
        *,
        events: EventLog,
        namespace: str,
        clock: Clock,
        may_act: Callable[[], bool],
    ) -> None:
        self._client = client
        self._registry = registry
        self._events = events
        self._namespace = namespace
        self._clock = clock
        self._may_act = may_act
        self._log = get_logger("sipgw.operator.apply")

    def now(self) -> str:
        """Return the present time as Kubernetes writes it."""
        return datetime.fromtimestamp(self._clock.unix_ms() / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    async def put_config(self, config: GatewayConfig, expected_version: int) -> bool:
        """Put the config; return whether it is in force now."""

        async def put() -> None:
            epoch, version = await self._registry.put_config(config, expected_version)
            self._log.info("config_put", epoch=epoch, version=version)

        try:
            is_done = await self._act("config", put)
        except ConfigConflict:
            is_done = False  # another config came first: the next pass starts from that one
        metrics.CONFIG_PUTS.labels("done" if is_done else "failed").inc()
        return is_done

    async def apply_plan(self, plan: Plan, lanes: Lanes, gateway: Subject | None) -> None:
        """Take back drained relays, add, drain, then remove: capacity comes before it goes.

        Events are on the `gateway`, or without one on the lane concerned.
        """

        def subject(relay: str) -> Subject | None:
            return gateway or subject_of_relay(relay, lanes.lanes)

        for name in plan.undrain:
            if await self._drain(name, is_draining=False):
                await self.tell(subject(name), "RelayTakenBack", f"relay {name} takes calls again")
        await self._scale(plan, lanes, gateway)
        for name in plan.drain:
            if await self._drain(name, is_draining=True):
                await self.tell(
                    subject(name),
                    "RelayDraining",
                    f"relay {name} is draining: its calls move to other relays",
                )
        for name in plan.restart:
            if await self._act("restart", lambda name=name: self._evict(name)):
                await self.tell(
                    subject(name), "RelayRestarted", f"relay {name} restarts with the new template"
                )

    async def write_status(self, body: Json, status: Json) -> bool:
        """Write through the status subresource, so that no generation changes."""
        kind, name = key_of(body)
        path = f"{paths.documents(self._namespace, kind, name)}/status"
        before: Json = part(body, "status")
        gone = {key: None for key in before if key not in status}
        return await self._act("status", lambda: self._client.merge(path, {"status": {**gone, **status}}))

    async def tell(
        self, subject: Subject | None, reason: str, message: str, *, is_warning: bool = False
    ) -> bool:
        """Create an Event if there is an object for it; return whether it was created."""
        if subject is None:
            self._log.info("told", reason=reason, message=message)
            return False
        is_told = False

        async def tell() -> None:
            nonlocal is_told
            is_told = await self._events.tell(
                subject, reason, message, is_warning=is_warning, now=self._clock.monotonic(), stamp=self.now()
            )

        return await self._act("event", tell) and is_told

    async def _scale(self, plan: Plan, lanes: Lanes, gateway: Subject | None) -> None:
        for lane, wanted in zip(lanes.lanes, plan.replicas, strict=True):
            if lane.replicas == wanted:
                continue
            path = f"{paths.stateful_sets(self._namespace, lane.name)}/scale"
            manifest = scale_manifest(lane.name, self._namespace, wanted)
            if await self._act("scale", lambda p=path, m=manifest: self._client.merge(p, m)):
                message = f"{lane.name}: {lane.replicas} -> {wanted} relays ({plan.wanted} wanted in all)"
                reason = "ScaledOut" if wanted > lane.replicas else "ScaledIn"
                await self.tell(gateway or subject_of_lane(lane), reason, message)

    async def _drain(self, name: str, *, is_draining: bool) -> bool:
        return await self._act(
            "drain" if is_draining else "undrain",
            lambda: self._registry.drain_relay(name, drain=is_draining),
        )

    async def _evict(self, pod: str) -> None:
        path = f"{paths.pods(self._namespace, pod)}/eviction"
        try:
            await self._client.create(path, eviction_manifest(pod, self._namespace))
        except KubeError as error:
            # Gone is as wanted. 429: its disruption budget is exhausted, and the next pass asks again.
            if error.status != 404:
                raise

    async def _act(self, act: str, do: Callable[[], Awaitable[object]]) -> bool:
        """Run an act; return whether it succeeded."""
        if not self._may_act():
            return False
        try:
            await do()
        except ConfigConflict:
            raise
        except (KubeError, ControlError) as error:
            self._log.warning("act_failed", act=act, reason=str(error))
            metrics.ACTS.labels(act, "failed").inc()
            return False
        metrics.ACTS.labels(act, "done").inc()
        return True
