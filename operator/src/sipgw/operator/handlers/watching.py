"""Watching: kopf's event handlers, which only report that something changed.

Only `on.event` is used: timers, daemons and the change handlers put finalizers and annotations on objects,
and a finalizer hangs an uninstall that removes the operator first. kopf runs in a thread with its own loop,
since at its end it cancels all other tasks of its loop.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

import kopf

from sipgw.operator.handlers import login
from sipgw.operator.resources import paths
from sipgw.operator.resources.nodes import read_node
from sipgw.runtime.telemetry.logs import get_logger

_AGAIN_AFTER_S: Final = 2.0
_STOP_S: Final = 5.0
_HELM_RELEASES: Final = "type!=helm.sh/release.v1"


class Watching:
    """Call `start` when the apiserver knows the kinds; notices are called in the caller's loop."""

    def __init__(
        self,
        namespace: str,
        notice: Callable[[], None],
        notice_nodes: Callable[[], None],
        *,
        with_nodes: bool,
    ) -> None:
        self._namespace = namespace
        self._notice = notice
        self._notice_nodes = notice_nodes
        self._with_nodes = with_nodes
        self._seen: dict[str, object] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._log = get_logger("sipgw.operator.watching")

    def start(self) -> None:
        """Watch until `aclose`."""
        # a thread gets no signals, so its warning is pointless
        logging.getLogger("kopf").setLevel(logging.ERROR)
        loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, args=(loop,), name="kopf", daemon=True)
        self._thread.start()

    async def aclose(self) -> None:
        """Stop watching."""
        self._stop.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, _STOP_S)

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        while not self._stop.is_set():
            try:
                asyncio.run(
                    kopf.operator(
                        registry=self._registry(loop),
                        settings=_settings(),
                        namespaces=[self._namespace],
                        standalone=True,
                        stop_flag=self._stop,
                    )
                )
            except Exception as error:
                self._log.warning("watch_broken", reason=f"{type(error).__name__}: {error}")
            self._stop.wait(_AGAIN_AFTER_S)

    def _registry(self, loop: asyncio.AbstractEventLoop) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()

        async def log_in(settings: kopf.OperatorSettings, **_: Any) -> kopf.ConnectionInfo:
            return login.connection_for_a_while(settings)

        async def changed(type: str | None, body: Mapping[str, Any], **_: Any) -> None:  # noqa: A002 - kopf's
            if self._is_news(type, body):
                is_node = body.get("kind") == "Node"
                loop.call_soon_threadsafe(self._notice_nodes if is_node else self._notice)

        kopf.on.login(registry=registry)(log_in)
        for plural in paths.PLURALS.values():
            kopf.on.event(paths.GROUP, paths.VERSION, plural, registry=registry)(changed)
        kopf.on.event("", "v1", "secrets", registry=registry)(changed)
        if self._with_nodes:
            kopf.on.event("", "v1", "nodes", registry=registry)(changed)
        return registry

    def _is_news(self, type_: str | None, body: Mapping[str, Any]) -> bool:
        """Return whether an event matters; our own writes of status and the heartbeats of nodes don't."""
        uid, now = str(body["metadata"]["uid"]), fingerprint(body)
        if type_ == "DELETED":
            self._seen.pop(uid, None)
            return True
        before, self._seen[uid] = self._seen.get(uid), now
        return before != now


def fingerprint(body: Mapping[str, Any]) -> object:
    """Return the parts of an object that matter to a pass."""
    metadata = body["metadata"]
    match body.get("kind"):
        case "Node":
            return read_node(dict(body))
        case "Secret":
            return metadata.get("resourceVersion")
        case _:
            return metadata.get("generation"), metadata.get("deletionTimestamp")


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False  # our own events help users more
    settings.scanning.disabled = True  # we have no rights on CRDs and namespaces
    settings.peering.standalone = True
    settings.watching.field_selectors["", "v1", "secrets"] = _HELM_RELEASES
    settings.process.ultimate_exiting_timeout = None  # it would kill the whole process
    return settings
