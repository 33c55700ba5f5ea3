"""The built-in echo bot: `python -m sipgw.bot.echo --listen HOST:PORT`.

It is byte-exact and cheap: a trunk's batch goes back as one batch, without Python code per call. It never
speaks first. It wants no replay of missed audio, since its echo would come late. It logs JSON lines
on stderr: ready, call_started, digit_received, call_ended.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

from sipgw.api import voicebot_pb2 as pb
from sipgw.api import voicebot_pb2_grpc
from sipgw.bot.config import FEATURES
from sipgw.bot.errors import ListenFailed
from sipgw.bot.server import GrpcListener, stop_signal
from sipgw.bot.wire import END, Acknowledger, ServerContext

_FEATURES = tuple(feature for feature in FEATURES if feature != "replay")


def log_event(event: str, **fields: object) -> None:
    """Write one JSON line to stderr."""
    line = {"event": event, "level": "info", "service": "bot", "ts": round(time.time(), 3), **fields}
    print(json.dumps(line), file=sys.stderr, flush=True)  # noqa: T201


class EchoServicer(voicebot_pb2_grpc.VoiceBotServicer):
    """Echoes over both RPCs."""

    async def StreamCall(self, request_iterator: object, context: Any) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Echo one call."""
        await _echo_call(context)

    async def Trunk(self, request_iterator: object, context: Any) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Echo many calls."""
        await _EchoTrunk(context).run()


async def _echo_call(context: ServerContext) -> None:
    await context.send_initial_metadata((("sipgw-features", ",".join(_FEATURES)),))
    call_id = ""
    while (event := await context.read()) is not END:
        match event.WhichOneof("payload"):
            case "audio":
                await context.write(pb.CallAction(audio=event.audio))
            case "config":
                call_id = event.call_id
                log_event("call_started", call_id=call_id, protocol="stream_call")
            case "dtmf" if event.dtmf.end:
                log_event("digit_received", call_id=call_id, digit=event.dtmf.digit)
            case "control":
                break
            case _:
                pass
    log_event("call_ended", call_id=call_id)


class _EchoTrunk:
    """One trunk: each message gets one message back, and an ack goes out in time when no audio does."""

    def __init__(self, context: ServerContext) -> None:
        self._context = context
        self._call_ids: dict[int, str] = {}
        self._acknowledger = Acknowledger()
        self._writing = asyncio.Lock()

    async def run(self) -> None:
        acks = asyncio.create_task(self._ack_when_due(), name="echo-acks")
        try:
            while (message := await self._context.read()) is not END:
                answer = self._answer(message)
                if answer.items:
                    async with self._writing:
                        await self._context.write(answer)
        finally:
            acks.cancel()
            for call_id in self._call_ids.values():
                log_event("call_ended", call_id=call_id, reason="trunk closed")

    def _answer(self, message: pb.TrunkEvents) -> pb.TrunkActions:
        answer = pb.TrunkActions()
        acks = 0
        for item in message.items:
            match item.WhichOneof("item"):
                case "audio":
                    echo = answer.items.add().audio
                    echo.format_id = item.audio.format_id
                    echo.frame_bytes = item.audio.frame_bytes
                    echo.handles.MergeFrom(item.audio.handles)
                    echo.audio = item.audio.audio
                case "hello":
                    answer.items.add().hello.features.extend(_FEATURES)
                case "start":
                    self._call_ids[item.start.handle] = item.start.call_id
                    log_event("call_started", call_id=item.start.call_id, protocol="trunk")
                    action = answer.items.add().action
                    action.handle = item.start.handle
                    action.action.accept.SetInParent()
                case "event" if item.event.event.dtmf.end:
                    call_id = self._call_ids.get(item.event.handle, "")
                    log_event("digit_received", call_id=call_id, digit=item.event.event.dtmf.digit)
                case "end":
                    call_id = self._call_ids.pop(item.end.handle, None)
                    if call_id is not None and not item.end.moved:
                        log_event("call_ended", call_id=call_id, reason=item.end.reason)
                case "ack":
                    acks += 1
                case _:
                    pass
        now = asyncio.get_running_loop().time()
        self._acknowledger.received(items=len(message.items), acks=acks, now=now)
        self._add_ack(answer, now)
        return answer

    def _add_ack(self, answer: pb.TrunkActions, now: float) -> None:
        due = self._acknowledger.due_at()
        if due is not None and due <= now:
            answer.items.add().ack.items = self._acknowledger.items
            self._acknowledger.sent()

    async def _ack_when_due(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(0.04)
            answer = pb.TrunkActions()
            self._add_ack(answer, loop.time())
            if answer.items:
                async with self._writing:
                    await self._context.write(answer)


async def run(listen: str) -> None:
    """Serve on "host:port" until SIGTERM or SIGINT."""
    listener = GrpcListener(EchoServicer(), listen)
    port = await listener.start()
    stopping = stop_signal()
    log_event("ready", listen=f"{listen.rsplit(':', 1)[0]}:{port}")
    await stopping.wait()
    await listener.stop()
    log_event("stopped")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; exit status 2 for an unavailable address."""
    parser = argparse.ArgumentParser(prog="python -m sipgw.bot.echo", description="The built-in echo bot.")
    parser.add_argument("--listen", default="127.0.0.1:9090", metavar="HOST:PORT", help="port 0: any")
    listen = parser.parse_args(arguments).listen
    try:
        asyncio.run(run(listen))
    except ListenFailed as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
