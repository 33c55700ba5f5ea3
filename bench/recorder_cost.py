"""The cost of recording for the tick and for its writer thread: N calls of PCMU in real time, no sockets.

python bench/recorder_cost.py [--calls 100,300,1000] [--seconds 6]

All calls begin in the same tick, as after a stall. CPU is in cores; `longest tick` is CPU of the tick's
thread alone, so that a busy machine does not show in it.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from sipgw.audio import AudioFormat, Codec
from sipgw.media_relay.pipeline.block import FrameBlock
from sipgw.media_relay.pipeline.stage import TICK_MS, Tick
from sipgw.media_relay.stages.recorder import RecorderStage
from sipgw.media_relay.stages.recording_writer import RecordingWriter
from sipgw.rtp.kernels.columns import new_calls

TICK_S = TICK_MS / 1000
PHASES = 4  # ticks in a frame's 20 ms: each serves a quarter of the calls
SWITCH_S = 0.001  # the relay's setting
WIRE = AudioFormat(Codec.PCMU, 8000, 20)


def measure(calls: int, seconds: float, folder: Path) -> str:
    """Return one line of the table."""
    writer = RecordingWriter()
    writer.start()
    stage = RecorderStage(new_calls(calls), writer)
    for row in range(calls):
        stage.open(row, folder / f"{calls}-{row}.wav", WIRE)
    payload = np.random.default_rng(1).integers(0, 255, (calls, WIRE.frame_bytes), dtype=np.uint8)
    blocks = [rows_of_phase(calls, phase) for phase in range(PHASES)]
    process_s, thread_s, begun = time.process_time(), time.thread_time(), time.monotonic()
    longest = 0.0
    for number in range(int(seconds / TICK_S)):
        rows = blocks[number % PHASES]
        block = FrameBlock(
            WIRE,
            rows,
            np.full(len(rows), number // PHASES, np.uint64),
            payload[rows],
            np.full(len(rows), WIRE.frame_bytes, np.int32),
            np.zeros(len(rows), np.uint8),
        )
        tick, tick_begun = Tick(number, number * TICK_S), time.thread_time()
        stage.uplink(block, tick)
        stage.downlink(block, tick)
        longest = max(longest, time.thread_time() - tick_begun)
        time.sleep(max(begun + (number + 1) * TICK_S - time.monotonic(), 0))
    stage_s = time.thread_time() - thread_s
    writer.close()
    writer_s = time.process_time() - process_s - stage_s
    return f"| {calls} | {stage_s / seconds:.3f} | {writer_s / seconds:.3f} | {longest * 1000:.1f} |"


def rows_of_phase(calls: int, phase: int) -> np.ndarray:
    return np.arange(phase, calls, PHASES, dtype=np.uint32)


def main() -> None:
    """Print a markdown table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", default="100,300,1000", help="by commas")
    parser.add_argument("--seconds", type=float, default=6.0)
    arguments = parser.parse_args()
    sys.setswitchinterval(SWITCH_S)
    print(
        "| calls | tick thread core | other threads core | longest tick ms |\n|---|---|---|---|", flush=True
    )
    for calls in map(int, arguments.calls.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            print(measure(calls, arguments.seconds, Path(folder)), flush=True)


if __name__ == "__main__":
    main()
