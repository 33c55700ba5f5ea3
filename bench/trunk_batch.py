"""The relay's CPU for bots: 20 ms frames on a trunk and on StreamCall, there and back.

The gateway runs here, at the relay's pace (a tick of 5 ms, a quarter of the calls each), the built-in echo
bot in a process of its own. `core` and the cost of a frame are CPU time of this process, less that of the
loop without a bot. The last line says what a trunk costs whatever the number of calls, and what each adds.

python bench/trunk_batch.py [--calls 20,1000] [--stream-calls 50] [--seconds 5]
"""

import argparse
import asyncio
import json
import subprocess
import sys
import threading
import time

import numpy as np
import psutil
import uvloop

from sipgw.audio import AudioFormat, Codec
from sipgw.media_relay.pipeline import FrameBlock, Tick
from sipgw.media_relay.stages.grpc_bridge import GrpcBridgeStage
from sipgw.media_relay.streams.bot_call import BotCall, BotProtocol
from sipgw.runtime.telemetry.logs import configure_logging

PCMU = AudioFormat(Codec.PCMU, 8000, 20)
TICK_S = 0.005
PHASES = 4


class Ear:
    """Counts returned audio and plays it at once."""

    def __init__(self) -> None:
        self.ready = 0
        self.frames = 0
        self.heard = np.zeros(65536, dtype=np.uint64)
        self._changed = asyncio.Event()

    def bot_ready(
        self, handle: int, *, confirmed: bool, address: str, protocol: str, can_resume: bool
    ) -> None:
        self.ready += 1
        self._changed.set()

    async def until_ready(self, calls: int) -> None:
        while self.ready < calls:
            self._changed.clear()
            await self._changed.wait()

    def bot_audio(self, handles: np.ndarray, frames: np.ndarray, audio_format: AudioFormat) -> None:
        self.frames += len(handles)
        self.heard[handles] += frames.shape[1]

    def bot_speech(self, handle: int, data: bytes | memoryview, audio_format: AudioFormat) -> None:
        self.frames += len(data) // PCMU.frame_bytes
        self.heard[handle] += len(data)

    def bot_failed(self, handle: int, reason: str, *, before_ready: bool) -> None:
        sys.exit(f"the bot failed: {reason}")

    def bot_lost(self, handle: int, reason: str) -> None:
        sys.exit(f"the bot was lost: {reason}")

    bot_finished = bot_silent = bot_mark = bot_clear = bot_lost


async def measure(
    endpoint: str, bot: psutil.Process, protocol: BotProtocol | None, calls: int, seconds: float
):
    """Return CPU seconds here and in the bot, and frames there and back. Protocol None: the loop alone."""
    ear = Ear()
    bridge = GrpcBridgeStage(ear)  # pyright: ignore[reportArgumentType]
    if protocol is not None:
        for row in range(calls):
            bridge.open(row, BotCall(f"call-{row}", endpoint, PCMU, PCMU, protocol=protocol), ear)
        await ear.until_ready(calls)
    phases = [np.arange(phase, calls, PHASES, dtype=np.uint32) for phase in range(PHASES)]
    rng = np.random.default_rng(1)
    payloads = [rng.integers(0, 256, (len(rows), PCMU.frame_bytes), dtype=np.uint8) for rows in phases]
    loop = asyncio.get_running_loop()
    sent = 0
    cpu, bot_cpu, began = time.process_time(), sum(bot.cpu_times()[:2]), loop.time()
    for number in range(int(seconds / TICK_S)):
        rows = phases[number % PHASES]
        seq = np.full(len(rows), number // PHASES, dtype=np.uint64)
        lengths = np.full(len(rows), PCMU.frame_bytes, dtype=np.int32)
        flags = np.zeros(len(rows), dtype=np.uint8)
        bridge.uplink(FrameBlock(PCMU, rows, seq, payloads[number % PHASES], lengths, flags), Tick(number, 0))
        bridge.consumed(rows, ear.heard[rows])
        sent += len(rows)
        await asyncio.sleep(max(0.0, began + (number + 1) * TICK_S - loop.time()))
    used, bot_used = time.process_time() - cpu, sum(bot.cpu_times()[:2]) - bot_cpu
    await asyncio.sleep(0.2)
    dropped = bridge.counters.audio_dropped_unacked
    await bridge.aclose()
    return used, bot_used, sent, ear.frames, dropped


async def run(arguments: argparse.Namespace, endpoint: str, bot: psutil.Process) -> None:
    print(f"{'':12}{'calls':>7}{'frames':>9}{'back':>8}{'relay us/frame':>16}{'bot us/frame':>14}{'core':>7}")
    wanted = (
        ("trunk", BotProtocol.TRUNK, arguments.calls),
        (
            "StreamCall",
            BotProtocol.STREAM_CALL,
            arguments.stream_calls,
        ),
    )
    runs = [(name, protocol, int(calls)) for name, protocol, each in wanted for calls in each.split(",")]
    trunk: dict[int, float] = {}
    for name, protocol, calls in runs:
        idle = await measure(endpoint, bot, None, calls, arguments.seconds)
        used, bot_used, sent, back, dropped = await measure(endpoint, bot, protocol, calls, arguments.seconds)
        relay_us, bot_us = (used - idle[0]) / sent * 1e6, bot_used / sent * 1e6
        core = (used - idle[0]) / arguments.seconds
        if protocol is BotProtocol.TRUNK:
            trunk[calls] = core
        print(f"{name:12}{calls:7}{sent:9}{back / sent:8.1%}{relay_us:16.2f}{bot_us:14.2f}{core:7.3f}")
        if dropped:
            print(f"  {dropped} batches dropped: the bot did not keep up")
    if len(trunk) > 1:
        few, many = min(trunk), max(trunk)
        slope = (trunk[many] - trunk[few]) / (many - few)
        fixed = trunk[few] - few * slope
        print(f"a trunk costs {fixed:.3f} core, and {slope * 1000:.3f} more for each 1000 calls")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", default="20,1000", help="on the trunk, by commas")
    parser.add_argument("--stream-calls", default="50", help="by commas")
    parser.add_argument("--seconds", type=float, default=5.0)
    configure_logging("bench", level="error")
    arguments = parser.parse_args()
    command = [sys.executable, "-m", "sipgw.bot.echo", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        endpoint = json.loads(process.stderr.readline())["listen"]
        threading.Thread(target=process.stderr.read, daemon=True).start()
        try:
            uvloop.run(run(arguments, endpoint, psutil.Process(process.pid)))
        finally:
            process.terminate()


if __name__ == "__main__":
    main()
