"""The cost of recording for the tick and for its writer thread: N calls of PCMU in real time, no sockets.

python bench/recorder_cost.py [--calls 100,300,1000] [--seconds 6]

All calls begin in the same tick, as after a stall. CPU is in cores; `of it the bench's` is the CPU of the
tick's thread when nothing is recorded; `longest tick` is CPU of that thread alone, so that a busy machine
does not show in it. `waiting`: the most items that waited for the writer, in the first half of the time and
in the second; `--seconds 300` shows whether they grow.
"""

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Cost:
    """CPU in cores; the longest tick in seconds; the most items waiting, by halves of the time."""

    ticks: float
    others: float
    longest_s: float
    waiting: tuple[int, int]


def measure(calls: int, seconds: float, folder: Path, *, records: bool) -> Cost:
    """Run so many calls, recorded or not."""
    writer = RecordingWriter()
    writer.start()
    stage = RecorderStage(new_calls(calls), writer)
    for row in range(calls if records else 0):
        stage.open(row, folder / f"{calls}-{row}.wav", WIRE)
    payload = np.random.default_rng(1).integers(0, 255, (calls, WIRE.frame_bytes), dtype=np.uint8)
    blocks = [rows_of_phase(calls, phase) for phase in range(PHASES)]
    process_s, thread_s, begun = time.process_time(), time.thread_time(), time.monotonic()
    longest = 0.0
    ticks = int(seconds / TICK_S)
    waiting = [0, 0]
    for number in range(ticks):
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
        half = number * 2 // ticks
        waiting[half] = max(waiting[half], writer.waiting)
        time.sleep(max(begun + (number + 1) * TICK_S - time.monotonic(), 0))
    stage_s = time.thread_time() - thread_s
    writer.close()
    writer_s = time.process_time() - process_s - stage_s
    return Cost(stage_s / seconds, writer_s / seconds, longest, (waiting[0], waiting[1]))


def row_of(calls: int, seconds: float) -> str:
    """Return one line of the table."""
    with tempfile.TemporaryDirectory() as folder:
        alone = measure(calls, min(seconds, 6.0), Path(folder), records=False)
        cost = measure(calls, seconds, Path(folder), records=True)
    return (
        f"| {calls} | {cost.ticks:.3f} | {alone.ticks:.3f} | {cost.others:.3f} | {cost.longest_s * 1000:.1f} "
        f"| {cost.waiting[0]}, {cost.waiting[1]} |"
    )


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
        "| calls | tick thread core | of it the bench's | other threads core | longest tick ms | waiting |\n"
        "|---|---|---|---|---|---|",
        flush=True,
    )
    for calls in map(int, arguments.calls.split(",")):
        print(row_of(calls, arguments.seconds), flush=True)


if __name__ == "__main__":
    main()
