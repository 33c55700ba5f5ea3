"""Leadership: keep a Candidate's Lease in the cluster, so that one replica leads and only that one acts."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from sipgw.operator import metrics
from sipgw.operator.errors import KubeConflict, KubeError
from sipgw.operator.kube_client import KubeClient
from sipgw.operator.lease import PERIOD_S, Candidate, Step
from sipgw.operator.resources import paths
from sipgw.operator.resources.json_parts import Json
from sipgw.operator.resources.leases import lease_manifest, read_lease
from sipgw.runtime.clock import Clock
from sipgw.runtime.telemetry.logs import get_logger


class Leadership:
    """`run` it as a task; check `is_held` before each act."""

    def __init__(
        self,
        client: KubeClient,
        *,
        namespace: str,
        name: str,
        identity: str,
        clock: Clock,
        owners: Callable[[], list[Json]] = list,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._name = name
        self._candidate = Candidate(identity)
        self._clock = clock
        self._owners = owners
        self._on_change = on_change
        self._was_held = False
        self._read_at = float("-inf")
        self._log = get_logger("sipgw.operator.leadership")

    @property
    def is_held(self) -> bool:
        """Whether this replica acts."""
        return self._candidate.leads(self._clock.monotonic())

    def seen_within(self, seconds: float) -> bool:
        """Return whether the apiserver has answered so lately."""
        return self._clock.monotonic() - self._read_at < seconds

    async def run(self) -> None:
        """Try every two seconds, for ever."""
        while True:
            await self.beat()
            await asyncio.sleep(PERIOD_S)

    async def beat(self) -> None:
        """Read the Lease, and write it if due."""
        try:
            await self._beat()
        except KubeConflict:
            pass  # another replica was first; the next reading shows it
        except KubeError as error:
            self._log.warning("lease_not_renewed", reason=str(error))
        self._tell()

    async def give_up(self) -> None:
        """Give up the lease at a clean end, so that the next replica need not wait for its expiry."""
        if not self.is_held or self._candidate.seen is None:
            return
        try:
            await self._write("", self._candidate.seen)
        except KubeError as error:
            self._log.warning("lease_not_given_up", reason=str(error))
        self._candidate = self._candidate.gave_up()
        self._tell()

    async def _beat(self) -> None:
        body = await self._client.get(paths.leases(self._namespace, self._name))
        now = self._read_at = self._clock.monotonic()
        self._candidate = self._candidate.read(read_lease(body) if body is not None else None, now)
        match self._candidate.step(now):
            case Step.CREATE:
                written = await self._create()
            case Step.TAKE | Step.RENEW:
                written = await self._write(self._candidate.identity, self._candidate.seen)
            case Step.WAIT:
                return
        self._candidate = self._candidate.wrote(read_lease(written), now)

    async def _create(self) -> Json:
        manifest = lease_manifest(self._name, self._candidate.identity, self._date(), None, self._owners())
        return await self._client.create(paths.leases(self._namespace), manifest)

    async def _write(self, holder: str, before: Any) -> Json:
        manifest = lease_manifest(self._name, holder, self._date(), before, self._owners())
        return await self._client.replace(paths.leases(self._namespace, self._name), manifest)

    def _date(self) -> datetime:
        return datetime.fromtimestamp(self._clock.unix_ms() / 1000, UTC)

    def _tell(self) -> None:
        is_held = self.is_held
        metrics.LEADING.set(is_held)
        if is_held != self._was_held:
            self._was_held = is_held
            self._log.info("leading" if is_held else "standing_by", lease=self._name)
            self._on_change()
