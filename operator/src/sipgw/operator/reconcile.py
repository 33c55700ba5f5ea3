"""Reconciler: one level-triggered pass over everything, at each change and every two seconds.

A pass reads the present state, computes the wanted state, and makes up the difference. Its memory is
dispensable: a replica that takes over begins with an empty one.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from sipgw.config import ConfigError, SealKey, SipGateway
from sipgw.control import RegistryClient
from sipgw.operator import metrics
from sipgw.operator.apply import Applier
from sipgw.operator.checks import Checked, check, differs
from sipgw.operator.errors import KubeError
from sipgw.operator.event_log import EventLog
from sipgw.operator.fleet import Memory, Observed, Plan, SizingSpec
from sipgw.operator.gather import (
    Lanes,
    Objects,
    RegistryView,
    observed,
    read_lane_sets,
    read_objects,
    read_registry,
)
from sipgw.operator.kept_secrets import KeptSecrets
from sipgw.operator.kube_client import KubeClient
from sipgw.operator.plan import plan
from sipgw.operator.registry_access import RegistryAccess
from sipgw.operator.relay_warnings import RelayWarnings
from sipgw.operator.resources.events import Subject, subject_of, subject_of_lane
from sipgw.operator.resources.nodes import advertised_addresses
from sipgw.operator.settings import OperatorSettings
from sipgw.operator.statuses import Statuses, facts_of
from sipgw.operator.surroundings import Surroundings, SurroundingsReader
from sipgw.runtime.clock import Clock
from sipgw.runtime.telemetry.logs import get_logger

if TYPE_CHECKING:
    from sipgw.api.config.v1.config_pb2 import GatewayConfig

PERIOD_S: Final = 2.0
DEBOUNCE_S: Final = 0.1
RELIST_S: Final = 30.0
_NO_CERTIFICATE: Final = "there is no certificate for the registry yet"


class Reconciler:
    """Call `notice` from any watch; run `run` as a task."""

    def __init__(
        self,
        settings: OperatorSettings,
        client: KubeClient,
        access: RegistryAccess,
        kept: KeptSecrets,
        *,
        clock: Clock,
        may_act: Callable[[], bool],
    ) -> None:
        self._settings = settings
        self._client = client
        self._access = access
        self._kept = kept
        self._clock = clock
        self._may_act = may_act
        self._noticed = asyncio.Event()
        self._objects: Objects | None = None
        self._listed_at = float("-inf")
        self._memory = Memory()
        self._seen_config: GatewayConfig | None = None
        self._gateway: SipGateway | None = None
        self._statuses = Statuses()
        self._events = EventLog(client, settings.namespace)
        self._surroundings = SurroundingsReader(
            client, settings.namespace, settings.release, with_nodes=settings.watches_nodes
        )
        self._relay_warnings = RelayWarnings()
        self._log = get_logger("sipgw.operator.reconcile")

    def notice(self) -> None:
        """Note a change: list again, soon."""
        self._objects = None
        self._noticed.set()

    def notice_nodes(self) -> None:
        """Note a change of a node."""
        self._surroundings.notice_nodes()
        self._noticed.set()

    async def run(self) -> None:
        """Run passes for ever; a failed one is followed by another."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PERIOD_S):
                    await self._noticed.wait()
                    await asyncio.sleep(DEBOUNCE_S)
            self._noticed.clear()
            if self._may_act():
                await self.once()
            else:
                self._memory = Memory()

    async def once(self) -> None:
        """Run one pass. An error of the apiserver ends it; it is logged, and the next one starts anew."""
        try:
            with metrics.PASS_SECONDS.time():
                await self._pass()
        except KubeError as error:
            self._log.warning("pass_failed", reason=str(error))
            metrics.PASSES.labels("failed").inc()
        except ConfigError as error:  # an error in our compiled config: a bug, but no reason to end
            self._log.exception("pass_failed", reason=str(error))
            metrics.PASSES.labels("failed").inc()
        else:
            metrics.PASSES.labels("done").inc()

    async def _pass(self) -> None:
        renewed = await self._kept.keep()
        seal_key = await self._kept.seal_key()
        objects = await self._read_objects()
        registry = await self._access.client()
        view = await read_registry(registry) if registry is not None else RegistryView(_NO_CERTIFICATE)
        self._seen_config = view.config if not view.problem else self._seen_config
        lanes = await read_lane_sets(self._client, self._settings.namespace, self._settings.release)
        surroundings = await self._surroundings.read(self._clock.monotonic())
        checked = self._check(objects, surroundings, seal_key)
        self._gateway = self._gateway_of(objects, checked)
        sizing = sizing_of(self._gateway or checked.documents.gateway, len(lanes.lanes))
        is_in_force = not view.problem and not differs(checked.config, view.config)
        made: Plan | None = None
        if registry is not None:
            applier = self._applier(registry)
            subject = _gateway_subject(objects)
            for name in renewed:
                secret = Subject("v1", "Secret", name)
                await applier.tell(secret, "CertificateRotated", "made anew before it expires")
            if not view.problem:
                is_in_force = is_in_force or await self._put(applier, checked, view)
                made = await self._size(
                    applier, sizing, observed(view, lanes, surroundings.nodes), lanes, subject
                )
                await self._relay_warnings.tell(applier, view.relays, lanes.lanes)
            facts = facts_of(
                self._settings, checked, view, made, sizing, surroundings, is_in_force=is_in_force
            )
            if not view.problem:
                await self._relay_warnings.tell_together(
                    applier, facts.together, subject or _first_lane(lanes), self._clock.monotonic()
                )
            await self._statuses.write(applier, objects, checked, facts, now=self._clock.monotonic())

    async def _read_objects(self) -> Objects:
        now = self._clock.monotonic()
        if self._objects is None or now - self._listed_at >= RELIST_S:
            read = await read_objects(self._client, self._settings.namespace)
            if self._noticed.is_set():
                return read  # changed again while we listed: do not keep it
            self._objects, self._listed_at = read, now
        return self._objects

    def _check(self, objects: Objects, surroundings: Surroundings, seal_key: SealKey) -> Checked:
        present = self._seen_config
        policy = self._gateway.spec.advertise.policy if self._gateway is not None else "HostIP"

        def with_addresses(policy: str) -> Checked:
            addresses = advertised_addresses(surroundings.nodes, policy)
            return check(
                objects.documents, objects.secrets, present=present, seal_key=seal_key, addresses=addresses
            )

        checked = with_addresses(policy)
        wanted = checked.documents.gateway.spec.advertise.policy
        # The policy is in a document that has to be parsed first.
        return with_addresses(wanted) if checked.has_gateway and wanted != policy else checked

    def _gateway_of(self, objects: Objects, checked: Checked) -> SipGateway | None:
        """Return the accepted gateway; the last good one while it is wrong now; None without any."""
        if checked.has_gateway:
            return checked.documents.gateway
        is_there = any(body["kind"] == "SipGateway" for body in objects.documents)
        return self._gateway if is_there else None

    async def _put(self, applier: Applier, checked: Checked, view: RegistryView) -> bool:
        expected = view.config.version if view.config is not None else 0
        is_done = await applier.put_config(checked.config, expected)
        if is_done:
            self._seen_config = checked.config
        return is_done

    async def _size(
        self,
        applier: Applier,
        sizing: SizingSpec,
        seen: Observed,
        lanes: Lanes,
        gateway: Subject | None,
    ) -> Plan | None:
        if not lanes.lanes or len(lanes.lanes) < self._settings.lanes:
            return None
        made, self._memory = plan(sizing, seen, self._memory, self._clock.monotonic())
        await applier.apply_plan(made, lanes, gateway)
        return made

    def _applier(self, registry: RegistryClient) -> Applier:
        return Applier(
            self._client,
            registry,
            events=self._events,
            namespace=self._settings.namespace,
            clock=self._clock,
            may_act=self._may_act,
        )


def sizing_of(gateway: SipGateway, lanes: int) -> SizingSpec:
    """Return the sizing as the SipGateway says."""
    autoscaling, drain = gateway.spec.autoscaling, gateway.spec.drain
    return SizingSpec(
        lanes=lanes,
        least=autoscaling.min_relays,
        most=autoscaling.max_relays,
        target_utilization=autoscaling.target_utilization_percent / 100,
        warm=autoscaling.warm_relays,
        lookahead_s=autoscaling.lookahead_seconds,
        scale_in_after_s=autoscaling.scale_in_after_seconds,
        drain_deadline_s=drain.deadline_seconds,
    )


def _first_lane(lanes: Lanes) -> Subject | None:
    """Return the subject of events about all relays where there is no SipGateway."""
    return subject_of_lane(lanes.lanes[0]) if lanes.lanes else None


def _gateway_subject(objects: Objects) -> Subject | None:
    """Return the subject of events about the whole gateway: the SipGateway, if there is one."""
    return next((subject_of(body) for body in objects.documents if body["kind"] == "SipGateway"), None)
