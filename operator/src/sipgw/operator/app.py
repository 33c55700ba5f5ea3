"""The parts of the operator, put together."""

import asyncio
import secrets
from typing import TYPE_CHECKING, Any, Final

from sipgw.operator.errors import KubeError
from sipgw.operator.handlers.login import LogIn
from sipgw.operator.handlers.watching import Watching
from sipgw.operator.kept_secrets import Keeper, KeptSecrets
from sipgw.operator.kube_client import KubeClient
from sipgw.operator.leadership import Leadership
from sipgw.operator.pki.keeper import CertificateKeeper
from sipgw.operator.reconcile import Reconciler
from sipgw.operator.redis_password import RedisPasswordKeeper
from sipgw.operator.registry_access import RegistryAccess
from sipgw.operator.resources import paths
from sipgw.operator.settings import OperatorSettings, Pki
from sipgw.runtime.clock import Clock, SystemClock
from sipgw.runtime.health import Probes
from sipgw.runtime.tasks import TaskGroupOwner
from sipgw.runtime.telemetry.logs import get_logger
from sipgw.runtime.vitals import Vitals

if TYPE_CHECKING:
    from sipgw.operator.resources.json_parts import Json

_AGAIN_S: Final = 1.0
_READY_WITHIN_S: Final = 10.0


class OperatorApp:
    """One replica, which is on standby, or leads and acts."""

    def __init__(self, settings: OperatorSettings, *, clock: Clock | None = None) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        self._log = get_logger("sipgw.operator.app")
        self._tasks = TaskGroupOwner("operator")
        self._client = KubeClient(LogIn())
        self._owners: list[Json] = []
        common: dict[str, Any] = {
            "namespace": settings.namespace,
            "clock": self._clock,
            "owners": lambda: self._owners,
        }
        self.leadership = Leadership(
            self._client,
            name=f"{settings.release}-operator",
            identity=f"{settings.identity}_{secrets.token_hex(4)}",
            on_change=self._leadership_changed,
            **common,
        )
        keeper = CertificateKeeper(self._client, release=settings.release, **common)
        keepers: list[Keeper] = [keeper] if settings.pki is Pki.OPERATOR else []
        if settings.redis_secret:
            redis = RedisPasswordKeeper(
                self._client, settings.redis_secret, release=settings.release, **common
            )
            keepers.append(redis)
        kept = KeptSecrets(self._client, keepers, release=settings.release, **common)
        self._access = RegistryAccess(
            str(settings.registry),
            None if settings.pki is Pki.OFF else lambda: keeper.read_leaf("operator"),
        )
        self.reconciler = Reconciler(
            settings,
            self._client,
            self._access,
            kept,
            clock=self._clock,
            may_act=lambda: self.leadership.is_held,
        )
        self._watching: Watching | None = None
        self._probes = Probes(Vitals(self._is_ready), admin=settings.admin, health=settings.health)

    async def start(self) -> dict[str, str]:
        """Bind the probes, begin, and return the addresses really bound. Raises StartupError."""
        bound = await self._probes.start()
        self._tasks.spawn(self._work(), "work")
        return bound

    async def stop(self) -> None:
        """Give up the lead and end; calls and relays go on as they are."""
        if self._watching is not None:
            await self._watching.aclose()
        await self._tasks.aclose()
        await self.leadership.give_up()
        await self._access.aclose()
        await self._client.aclose()
        await self._probes.aclose()

    async def _work(self) -> None:
        await self._find_owner()
        self._tasks.spawn(self.leadership.run(), "leadership")
        self._tasks.spawn(self.reconciler.run(), "reconcile")
        await self._wait_for_kinds()
        with_nodes = self._settings.watches_nodes
        self._watching = Watching(
            self._settings.namespace,
            self.reconciler.notice,
            self.reconciler.notice_nodes,
            with_nodes=with_nodes,
        )
        self._watching.start()

    async def _find_owner(self) -> None:
        """Return the owner with which our Secrets and the Lease are deleted."""
        if self._settings.owner is None:
            return
        kind, name = self._settings.owner
        path = paths.owner(self._settings.namespace, kind, name)
        while True:
            try:
                body = await self._client.get(path)
                break
            except KubeError as error:
                self._log.warning("owner_not_read", owner=f"{kind}/{name}", reason=str(error))
                await asyncio.sleep(_AGAIN_S)
        if body is None:
            self._log.warning("no_owner", owner=f"{kind}/{name}", effect="Secrets outlive an uninstall")
            return
        api_version = "apps/v1" if kind == "Deployment" else "v1"
        uid = body["metadata"]["uid"]
        self._owners = [{"apiVersion": api_version, "kind": kind, "name": name, "uid": uid}]

    async def _wait_for_kinds(self) -> None:
        """Wait until the apiserver has our CRDs; the built-in config serves meanwhile."""
        while True:
            try:
                group = await self._client.get(paths.API_GROUP)
            except KubeError as error:
                self._log.warning("kinds_not_read", reason=str(error))
                group = None
            known = {str(one["name"]) for one in (group or {}).get("resources", [])}
            if known.issuperset(paths.PLURALS.values()):
                return
            await asyncio.sleep(_AGAIN_S)

    def _leadership_changed(self) -> None:
        if self.leadership.is_held:
            self.reconciler.notice()

    def _is_ready(self) -> bool:
        return self.leadership.seen_within(_READY_WITHIN_S)
