"""EventLog: create Events, and repeat them seldom.

An Event that exists is counted up instead of created again, each time after twice the wait. One that the
apiserver refused is tried again after the same waits. So every pass may report the same problem.
"""

from dataclasses import dataclass
from typing import Final

from sipgw.operator.errors import KubeError
from sipgw.operator.kube_client import KubeClient
from sipgw.operator.resources import paths
from sipgw.operator.resources.events import Subject, event_manifest
from sipgw.runtime.telemetry.logs import get_logger

_FIRST_WAIT_S: Final = 10.0
_LONGEST_WAIT_S: Final = 600.0
_FORGOTTEN_S: Final = 1800.0
"""Kubernetes forgets an Event after an hour."""
_MOST_KEPT: Final = 1000
_Key = tuple[Subject, str, str]


@dataclass(slots=True)
class _Told:
    """`name` is that of the Event, empty while none was accepted."""

    name: str
    count: int
    last: float
    next: float
    wait_s: float = _FIRST_WAIT_S


class EventLog:
    """The Events created so far, kept over passes."""

    def __init__(self, client: KubeClient, namespace: str) -> None:
        self._client = client
        self._namespace = namespace
        self._told: dict[_Key, _Told] = {}
        self._log = get_logger("sipgw.operator.events")

    async def tell(
        self, subject: Subject, reason: str, message: str, *, is_warning: bool, now: float, stamp: str
    ) -> bool:
        """Create or count up an Event; return whether it exists.

        Raises KubeError, the next time after a wait.
        """
        self._forget(now)
        key = (subject, reason, message)
        told = self._told.setdefault(key, _Told("", 0, now, now))
        told.count += 1
        told.last = now
        if now < told.next:
            return bool(told.name)
        told.next, told.wait_s = now + told.wait_s, min(2 * told.wait_s, _LONGEST_WAIT_S)
        if told.name and await self._count_up(told, stamp):
            return True
        manifest = event_manifest(subject, self._namespace, reason, message, now=stamp, is_warning=is_warning)
        made = await self._client.create(paths.events(self._namespace), manifest)
        self._log.info("told", of=f"{subject.kind}/{subject.name}", reason=reason, message=message)
        told.name, told.count = str(made["metadata"]["name"]), 1
        return True

    async def _count_up(self, told: _Told, stamp: str) -> bool:
        """Count an Event up; return False when it is gone."""
        try:
            path = paths.events(self._namespace, told.name)
            await self._client.merge(path, {"count": told.count, "lastTimestamp": stamp})
        except KubeError as error:
            if error.status == 404:
                return False
            raise
        return True

    def _forget(self, now: float) -> None:
        if len(self._told) >= _MOST_KEPT:
            self._told = dict(sorted(self._told.items(), key=lambda item: item[1].last)[_MOST_KEPT // 2 :])
        for key in [key for key, told in self._told.items() if now - told.last >= _FORGOTTEN_S]:
            del self._told[key]
