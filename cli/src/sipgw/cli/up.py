"""`sipgw up`: a whole gateway on this machine, until Ctrl-C."""

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sipgw.cli.problems import FAILED, MISUSED, give_up, quieten_libraries
from sipgw.cli.redis_url import RedisFlag

if TYPE_CHECKING:
    from sipgw.cli.show import CallsShow
    from sipgw.local.events import SupervisorEvent
    from sipgw.local.gateway import LocalGateway
    from sipgw.local.settings import GatewaySettings


def up(
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="SipGateway, SipTrunk and BotRoute documents (YAML).")
    ] = None,
    sip_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="UDP port for SIP (default: 5060); 0 takes any.")
    ] = None,
    rtp_ports: Annotated[
        str | None,
        typer.Option(metavar="LOW-HIGH", help="UDP ports for media (default: 20000-22399 for each relay)."),
    ] = None,
    advertise: Annotated[
        str | None,
        typer.Option(metavar="IP", help="Address given to callers (default: that of the default route)."),
    ] = None,
    bot: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Your bot, for every call (default: a built-in echo)."),
    ] = None,
    relays: Annotated[int, typer.Option(help="Media relays: lanes 0 to N-1 share the ports.")] = 1,
    edges: Annotated[int, typer.Option(help="SIP edges: edge i listens on the SIP port + 10 i.")] = 1,
    trust: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CIDR",
            help="Source that is never limited or banned; this machine never is. Repeatable.",
        ),
    ] = None,
    redis: RedisFlag = None,
    no_recording: Annotated[bool, typer.Option("--no-recording", help="Record no calls.")] = False,
    recordings: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where recordings go (default: ~/.local/state/sipgw/recordings)."),
    ] = None,
) -> None:
    """Run the gateway here: Redis, registry, relays, edges and an echo bot."""
    from sipgw.config import ConfigError
    from sipgw.local.errors import BadOptions, LocalError, PortTaken
    from sipgw.local.ports import PortRange
    from sipgw.local.settings import GatewayOptions, settle

    quieten_libraries()
    try:
        options = GatewayOptions(
            config=file,
            sip_port=sip_port,
            rtp_ports=PortRange.parse(rtp_ports) if rtp_ports else None,
            advertise=advertise,
            bot=bot,
            relays=relays,
            edges=edges,
            redis_url=redis,
            recordings=recordings or (None if file else _state_home() / "recordings"),
            is_recording_wanted=not no_recording,
            trust=tuple(trust or ()),
        )
        status = asyncio.run(_run(settle(options)))
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(MISUSED) from None
    except (BadOptions, PortTaken) as error:
        give_up(error, status=MISUSED)
    except (LocalError, OSError) as error:
        give_up(error, status=FAILED)
    raise SystemExit(status)


def _state_home() -> Path:
    home = os.environ.get("XDG_STATE_HOME")
    return (Path(home) if home else Path.home() / ".local" / "state") / "sipgw"


async def _run(settings: "GatewaySettings") -> int:
    """Run until a signal; a second one ends everything at once."""
    from sipgw.cli.show import show_for
    from sipgw.local.gateway import LocalGateway
    from sipgw.local.state_file import announced

    show = show_for("calls")
    port = settings.sip_ports[0] or os.getpid()
    gateway = LocalGateway(
        settings,
        log_directory=_state_home() / f"up-{port}",
        on_event=lambda event: _tell(show, event),
    )
    main = asyncio.current_task()
    assert main is not None
    signals = _Signals(main, gateway, show)
    show.say(f"starting; logs are in {gateway.log_directory}")
    try:
        async with gateway:
            with announced(gateway.registry_address, gateway.sip_addresses):
                show.say(_ready_line(gateway))
                with show:
                    await signals.serve(_follow_calls(gateway, show))
                show.say("stopping: ending the calls")
    except asyncio.CancelledError:
        if signals.count == 0:
            raise
    show.say("stopped")
    return 0


def _ready_line(gateway: "LocalGateway") -> str:
    settings = gateway.settings
    calls = " ".join(f"sip:{address}" for address in gateway.sip_addresses)
    facts = {"registry": gateway.registry_address, "bot": gateway.bot_address}
    facts["recordings"] = str(settings.recordings or "off")
    return f"ready {calls} " + " ".join(f"{name}={value}" for name, value in facts.items() if value)


async def _follow_calls(gateway: "LocalGateway", show: "CallsShow") -> None:
    async for change in gateway.registry.watch_calls():
        show.changed(change.calls, is_snapshot=change.is_snapshot)


def _tell(show: "CallsShow", event: "SupervisorEvent") -> None:
    from sipgw.local.events import ServiceCrashed, ServiceLogged, ServiceRestarted, ServiceStopped

    match event:
        case ServiceCrashed(name=name, how=how, last_words=words, restart_in_s=pause_s):
            show.say(f"{name} {how} ({words}); starting it again in {pause_s:g} s")
        case ServiceRestarted(name=name, pid=pid):
            show.say(f"{name} runs again (pid {pid})")
        case ServiceStopped(name=name, is_clean=False):
            show.say(f"{name} did not end by itself and was killed")
        case ServiceLogged(name="bot", line=line) if line.event == "digit_received" and line.record:
            show.pressed(str(line.record.get("call_id", "")), str(line.record.get("digit", "")))
        case ServiceLogged(name=name, line=line) if line.event == "compiling_kernels":
            show.say(f"{name}: compiling the media plane, once for this version: some ten seconds ...")
        case ServiceLogged(name=name, line=line) if line.level in {"warning", "error", "critical"}:
            show.say(f"{name}: {line.level}: {line.words()}")
        case _:
            pass


class _Signals:
    """The first signal ends `serve` or the start; the second kills."""

    def __init__(self, main: "asyncio.Task[int]", gateway: "LocalGateway", show: "CallsShow") -> None:
        self.count = 0
        self._main = main
        self._gateway = gateway
        self._show = show
        self._stopping = asyncio.Event()
        self._is_serving = False
        self._killing: asyncio.Task[None] | None = None
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._on_signal)

    async def serve(self, following: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine until the first signal."""
        self._is_serving = True
        task = asyncio.create_task(following, name="follow calls")
        stop = asyncio.create_task(self._stopping.wait(), name="wait for a signal")
        try:
            await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in (task, stop):
                one.cancel()
            await asyncio.gather(task, stop, return_exceptions=True)

    def _on_signal(self) -> None:
        self.count += 1
        if self.count == 1:
            self._stopping.set()
            if not self._is_serving:
                self._main.cancel()
        elif self.count == 2:
            self._show.say("second signal: killing all")
            self._killing = asyncio.create_task(self._gateway.kill(), name="kill all")
