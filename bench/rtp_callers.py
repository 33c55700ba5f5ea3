"""Many callers in one process: each sends numbered PCMU frames and times their echo.

relay_capacity.py talks to it, one JSON value per line: it prints its ports, reads where each sends, and
prints the beginning and the end of the measured time and the results.
"""

import argparse
import gc
import json
import operator
import select
import socket
import sys
import time

import numpy as np

FRAME_S, FRAME_BYTES, HEADER_BYTES = 0.02, 160, 12
WARM_UP_S, TAIL_S = 4.0, 1.5
POLL_S = 0.001
SLOT = 256
BUFFER = 1 << 20


class Callers:
    """Columns of n callers; caller i sends i/n of a frame's time after the first."""

    def __init__(self, calls: int, seconds: float) -> None:
        self.calls = calls
        self.frames = int((WARM_UP_S + seconds) / FRAME_S)
        self.first_counted = int(WARM_UP_S / FRAME_S)
        self.sent_at = np.zeros((calls, self.frames))
        self.first_sequence = np.full(calls, -1, np.int64)  # of the relay's packets
        self.furthest = np.zeros(calls, np.int64)
        self.heard = np.zeros(calls, np.int64)
        self.latency = np.full((calls, self.frames), np.nan)
        self.sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(calls)]
        self.epoll = select.epoll()
        self.row_of_fd = {}
        for row, each in enumerate(self.sockets):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
            each.bind(("127.0.0.1", 0))
            each.settimeout(0)
            self.epoll.register(each.fileno(), select.EPOLLIN)
            self.row_of_fd[each.fileno()] = row
        self.receives = {each.fileno(): each.recv_into for each in self.sockets}
        self.sends = [each.send for each in self.sockets]
        rng = np.random.default_rng(1)
        self.packets = np.zeros((calls, HEADER_BYTES + FRAME_BYTES), np.uint8)
        self.packets[:, 0] = 0x80
        self.packets[:, 8:12] = rng.integers(1, 255, (calls, 4), dtype=np.uint8)
        self.packets[:, 12:] = rng.integers(0, 127, (calls, FRAME_BYTES), dtype=np.uint8)  # never silence
        self.packet_views = [row.data for row in self.packets]
        self.slots = np.zeros((calls, SLOT), np.uint8)
        self.slot_views = [row.data for row in self.slots]

    def connect(self, relay_ports: list[int]) -> None:
        for each, port in zip(self.sockets, relay_ports, strict=True):
            each.connect(("127.0.0.1", port))

    def speak(self, begin: int, end: int) -> None:
        """Send packets number `begin` to `end`, counted over all callers in turn."""
        while begin < end:
            frame, row = divmod(begin, self.calls)
            last = min(self.calls, row + end - begin)
            rows = slice(row, last)
            self.packets[rows, 2:4] = np.array([frame & 0xFFFF], ">u2").view(np.uint8)
            self.packets[rows, 4:8] = np.array([frame * FRAME_BYTES], ">u4").view(np.uint8)
            # Seven bits per byte, so that a number is never taken for silence (0xFF).
            self.packets[rows, 12:15] = [frame >> 14 & 127, frame >> 7 & 127, frame & 127]
            self.sent_at[rows, frame] = time.perf_counter()
            for _ in map(operator.call, self.sends[rows], self.packet_views[rows]):
                pass
            begin += last - row

    def listen(self) -> None:
        """Take one packet from each caller that has some, and note its arrival."""
        ready = self.epoll.poll(0, self.calls)
        if not ready:
            return
        fds = [fd for fd, _ in ready]
        count = sum(1 for _ in map(operator.call, [self.receives[fd] for fd in fds], self.slot_views))
        now = time.perf_counter()
        rows = np.array([self.row_of_fd[fd] for fd in fds])
        self._count(rows, self.slots[:count, 2].astype(np.int64) << 8 | self.slots[:count, 3])
        heads = self.slots[:count, 12:15].astype(np.int64)
        frames = heads[:, 0] << 14 | heads[:, 1] << 7 | heads[:, 2]
        # Our own audio as it was sent: neither silence of the relay nor what it made up beside a lost packet.
        as_sent = self.slots[:count, 15 : HEADER_BYTES + FRAME_BYTES] == self.packets[rows, 15:]
        echoed = as_sent.all(axis=1) & (frames < self.frames)
        rows, frames = rows[echoed], frames[echoed]
        new = np.isnan(self.latency[rows, frames])
        rows, frames = rows[new], frames[new]
        self.latency[rows, frames] = now - self.sent_at[rows, frames]

    def _count(self, rows: np.ndarray, sequence: np.ndarray) -> None:
        """Count the relay's packets, silence too, by their sequence: missing ones were lost on the way."""
        self.first_sequence[rows] = np.where(self.heard[rows] == 0, sequence, self.first_sequence[rows])
        ahead = (sequence - self.first_sequence[rows]) & 0xFFFF
        self.furthest[rows] = np.maximum(self.furthest[rows], ahead)
        self.heard[rows] += 1

    def run(self) -> None:
        """All frames, at real time; packets late by our own fault are sent at once."""
        total, first, sent = self.frames * self.calls, self.first_counted * self.calls, 0
        rate = self.calls / FRAME_S
        begun = time.perf_counter()
        end_s = self.frames * FRAME_S + TAIL_S
        has_begun = has_ended = False
        while (at := time.perf_counter() - begun) < end_s:
            due = min(int(at * rate), total)
            self.speak(sent, due)
            sent = due
            if sent >= first and not has_begun:
                has_begun = print_line({"begun": True})
            if sent == total and not has_ended:
                has_ended = print_line({"ended": True})
            self.listen()
            left = begun + at + POLL_S - time.perf_counter()
            if left > 0:
                time.sleep(left)

    def result(self) -> dict[str, float]:
        counted = self.latency[:, self.first_counted :]
        heard = counted[~np.isnan(counted)] * 1000
        return {
            "sent": self.frames * self.calls,
            "lost_here": int((self.furthest + 1 - self.heard)[self.heard > 0].sum()),
            "heard": int(self.heard.sum()),
            "dropped": 1 - len(heard) / counted.size,
            "p50_ms": float(np.percentile(heard, 50)) if len(heard) else float("nan"),
            "p99_ms": float(np.percentile(heard, 99)) if len(heard) else float("nan"),
            "max_ms": float(heard.max()) if len(heard) else float("nan"),
        }


def print_line(value: object) -> bool:
    print(json.dumps(value), flush=True)
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=15.0)
    arguments = parser.parse_args()
    callers = Callers(arguments.calls, arguments.seconds)
    print_line({"ports": [each.getsockname()[1] for each in callers.sockets]})
    callers.connect(json.loads(sys.stdin.readline()))
    gc.freeze()
    gc.disable()
    callers.run()
    print_line(callers.result())


if __name__ == "__main__":
    main()
