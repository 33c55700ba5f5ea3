"""The bot as a gRPC server: both RPCs on one port."""

import asyncio
import logging
import signal
import socket
from typing import Any, cast

import grpc
import grpc.aio

from sipgw.api import voicebot_pb2_grpc
from sipgw.bot.calls import BotCalls
from sipgw.bot.errors import ListenFailed
from sipgw.bot.loop_watch import LoopWatch
from sipgw.bot.runner import Bot
from sipgw.bot.stream_call import StreamCallSession
from sipgw.bot.tracing import configure_tracing
from sipgw.bot.trunk import TrunkSession

_log = logging.getLogger("sipgw.bot")
_MAX_MESSAGE_BYTES = 16 * 1024 * 1024


class BotServer:
    """Serves one bot. `await start()`, then `await stop()`; `serve` does both, until a signal."""

    def __init__(
        self,
        bot: Bot,
        *,
        host: str = "0.0.0.0",
        port: int = 9090,
        rate_hz: int | None = None,
        max_calls: int = 0,
        audio_queue_ms: int = 2000,
        ending_grace_s: float = 5.0,
        resume_grace_s: float = 10.0,
    ) -> None:
        """Take the options. A call whose stream broke waits `resume_grace_s` for the gateway to come back."""
        self._calls = BotCalls(
            bot,
            rate_hz=rate_hz,
            max_calls=max_calls,
            audio_queue_ms=audio_queue_ms,
            ending_grace_s=ending_grace_s,
            resume_grace_s=resume_grace_s,
        )
        self._listener = GrpcListener(_Servicer(self._calls), f"{host}:{port}")

    @property
    def calls(self) -> int:
        """The number of running handlers."""
        return len(self._calls)

    async def start(self) -> int:
        """Bind and serve; return the port really bound. Raises ListenFailed."""
        return await self._listener.start()

    async def stop(self, grace_s: float = 30.0) -> None:
        """Refuse new calls at once, give those in progress `grace_s` to end, then end them."""
        await self._calls.stop(grace_s)
        await self._listener.stop()


def serve(
    bot: Bot,
    *,
    host: str = "0.0.0.0",
    port: int = 9090,
    rate_hz: int | None = None,
    max_calls: int = 0,
    grace_s: float = 30.0,
) -> None:
    """Serve the bot until SIGTERM or SIGINT.

    Sets up logging, and tracing by the OTEL variables, unless that was done already.
    """
    if not logging.getLogger().handlers:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")

    configure_tracing()

    async def run() -> None:
        server = BotServer(bot, host=host, port=port, rate_hz=rate_hz, max_calls=max_calls)
        port_bound = await server.start()
        stopping = stop_signal()
        watch = LoopWatch()
        watch.start()
        _log.info("bot listens on %s:%d", host, port_bound)
        await stopping.wait()
        _log.info("bot stops, %d calls in progress", server.calls)
        await server.stop(grace_s)
        watch.stop()

    asyncio.run(run())


def stop_signal() -> asyncio.Event:
    """Return an event that SIGTERM or SIGINT sets from now on."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    return stopping


class GrpcListener:
    """A grpc.aio server with the options for bots."""

    def __init__(self, servicer: voicebot_pb2_grpc.VoiceBotServicer, address: str) -> None:
        self._address = address
        self._servicer = servicer
        self._server: Any = None

    async def start(self) -> int:
        """Bind and serve; return the port really bound. Raises ListenFailed."""
        self._server = cast("Any", grpc.aio).server(
            options=[
                ("grpc.so_reuseport", 0),  # with gRPC's default two bots would share the port unnoticed
                ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
                ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
                ("grpc.http2.min_ping_interval_without_data_ms", 1000),
                ("grpc.http2.max_ping_strikes", 0),
                ("grpc.keepalive_permit_without_calls", 1),
                ("grpc.keepalive_time_ms", 10_000),
                ("grpc.keepalive_timeout_ms", 5_000),
                ("grpc.http2.ping_timeout_ms", 5_000),  # for gRPC's own pings, which replace a keepalive
            ]
        )
        voicebot_pb2_grpc.add_VoiceBotServicer_to_server(self._servicer, self._server)
        try:
            port = int(self._server.add_insecure_port(self._address))
        except RuntimeError as error:
            raise ListenFailed(f"can't listen on {self._address}: is the port taken?") from error
        await self._server.start()
        return port

    async def stop(self) -> None:
        """Close every stream; queued messages have a second to leave."""
        if self._server is not None:
            await self._server.stop(1.0)


class _Servicer(voicebot_pb2_grpc.VoiceBotServicer):
    def __init__(self, calls: BotCalls) -> None:
        self._calls = calls
        self._instance = socket.gethostname()

    async def StreamCall(self, request_iterator: object, context: Any) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        await StreamCallSession(self._calls, context).run()

    async def Trunk(self, request_iterator: object, context: Any) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        await TrunkSession(self._calls, context, self._instance).run()
