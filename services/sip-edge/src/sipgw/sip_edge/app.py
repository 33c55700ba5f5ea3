"""The edge as a process: start it, keep its background tasks running, stop it."""

import asyncio
from collections.abc import Coroutine

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.calls import EdgeLease
from sipgw.runtime.settings import HostPort
from sipgw.runtime.telemetry.logs import get_logger
from sipgw.sip_edge.call.ending import End
from sipgw.sip_edge.media.media_plane import relays_in_use
from sipgw.sip_edge.settings import EdgeSettings, OnStop
from sipgw.sip_edge.sip.in_flight import InFlight
from sipgw.sip_edge.sip.listeners import UdpListener
from sipgw.sip_edge.wiring import EdgeParts
from sipgw.store import Store, StoreUnavailable

_log = get_logger("sipgw.sip_edge.app")


class EdgeApp:
    """The edge. Call `start` once; `stop` ends or hands over its calls, and then stops."""

    def __init__(self, settings: EdgeSettings, store: Store, listener: UdpListener) -> None:
        self._settings = settings
        self.parts = EdgeParts(settings, store, listener)
        self._beating: asyncio.Task[None] | None = None

    async def start(self) -> dict[str, str]:
        """Start serving; give the addresses bound."""
        sip = self.parts.signalling.sip
        grpc_port = await self.parts.grpc.start()
        listen = HostPort(HostPort.parse(self._settings.listen).host, grpc_port)
        bound = {
            "sip": f"{sip.address.host}:{sip.address.port}",
            "listen": str(listen),
            **await self.parts.probes.start(),
        }
        self._spawn_watches(self._reachable(listen))
        sip.start(self.parts.dispatcher.handle)
        return bound

    async def stop(self) -> None:
        """Refuse new calls; end all calls within `shutdown_s`, or hand them over; then stop."""
        self.parts.intake.refuse_new_calls()
        if self._settings.on_stop is OnStop.HAND_OVER:
            await self._hand_over()
            return
        served = self.parts.served
        end = End(calls.END_CAUSE_SHUTDOWN, "the gateway is shut down")
        for live in served.live:
            shut_down = served.ending.end(live.call_id, end, as_owner=True)
            self.parts.process.tasks.spawn(shut_down, "shut down", call_id=live.call_id)
        try:
            async with asyncio.timeout(self._settings.times.shutdown_s):
                await served.live.all_gone()
        except TimeoutError:
            _log.warning("calls_left_behind", calls=len(served.live))
        await self.aclose()

    async def aclose(self) -> None:
        """Close everything whether calls are left or not; other edges may claim those at once."""
        await self._give_up_lease()
        await self.vanish()

    async def vanish(self) -> None:
        """Close everything and tell no one, as a process does that is killed."""
        parts = self.parts
        parts.signalling.sip.stop_reading()
        await parts.process.requests.aclose()
        await parts.process.tasks.aclose()  # before `sip` closes: no task may take that for a 408
        parts.signalling.sip.close()
        await parts.media.relays.aclose()
        await parts.edges.aclose()
        await parts.registry.aclose()
        await parts.grpc.stop(0.5)
        await parts.probes.aclose()
        await parts.store.aclose()

    async def _hand_over(self) -> None:
        """Finish transactions, leave the calls to the other edges, then respond to the last requests."""
        times, sip, served = self._settings.times, self.parts.signalling.sip, self.parts.served
        in_flight = InFlight(served.records, sip, self.parts.process.requests)
        is_finished = await in_flight.finished(times.hand_over_s)
        await self._give_up_lease()
        _log.info("calls_handed_over", calls=len(served.live), is_finished=is_finished)
        sip.stop_reading()
        await in_flight.all_responded(times.last_responses_s)
        await self.vanish()

    async def _give_up_lease(self) -> None:
        if self._beating is not None:
            self._beating.cancel()  # otherwise it would renew the lease
            await asyncio.gather(self._beating, return_exceptions=True)
        try:
            await self.parts.leases.give_up(self._settings.identity)
        except StoreUnavailable:
            _log.warning("lease_not_given_up")

    def _reachable(self, listen: HostPort) -> str:
        """Give the address of edge/v1 for other processes: the listening host, unless that is a wildcard."""
        host = self._settings.advertise_host if listen.host in {"0.0.0.0", "::"} else listen.host
        return str(HostPort(host, listen.port))

    def _spawn_watches(self, address: str) -> None:
        parts, keep = self.parts, self.parts.process.tasks.keep

        def beat() -> Coroutine[None, None, None]:
            return parts.leases.run(
                self._settings.identity,
                address,
                on_lapse=self._edge_lapsed,
                on_change=parts.edges.note,
            )

        def watch_relays() -> Coroutine[None, None, None]:
            return parts.media.relays.watch(
                lambda: relays_in_use(parts.served.records.owned, parts.media.left_sessions)
            )

        self._beating = keep(beat, "lease")
        keep(parts.sweeper.wake_when_judging, "first sweep")
        keep(lambda: parts.registry.follow_config(parts.updates.take), "config")
        keep(parts.redis.run, "redis")
        keep(watch_relays, "relays")
        keep(lambda: parts.relay_map.follow(parts.registry.list_relays), "relay map")
        keep(parts.sweeper.run, "sweep")
        keep(parts.rescue.run, "rescue calls")
        keep(parts.stranded.watch, "stranded calls")
        keep(self._learn_secret, "secret")

    async def _edge_lapsed(self, lease: EdgeLease) -> None:
        _log.warning("edge_lapsed", edge=str(lease.identity))
        self.parts.edges.forget(lease.identity)
        self.parts.sweeper.wake()

    async def _learn_secret(self) -> None:
        """Get the keys of call ids, tags and nonces before the first call needs them."""
        while True:
            try:
                await self.parts.new_calls.ids.learn_keys()
                await self.parts.authentication.learn_key()
                return
            except StoreUnavailable:
                await asyncio.sleep(0.25)
