"""Callers that come and go, in one process: soak.py opens and closes them, each a line of JSON on stdin.

Prints the ports of all callers, then each second what was sent and heard since the last line. A caller keeps
its port; each of its calls has an SSRC and numbers of its own.
"""

import argparse
import gc
import json
import select
import socket
import sys
import threading
import time
from collections import deque

import numpy as np

FRAME_S, FRAME_BYTES, HEADER_BYTES = 0.02, 160, 12
POLL_S, REPORT_S = 0.001, 1.0
SLOT = 256
BUFFER = 1 << 18


class Callers:
    """Columns of n callers; caller i sends i/n of a frame's time after the first."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.rng = np.random.default_rng(7)
        self.is_talking = np.zeros(count, np.bool_)
        self.sequence = np.zeros(count, np.uint16)
        self.timestamp = np.zeros(count, np.uint32)
        self.last_heard_s = np.zeros(count)
        self.packets = np.zeros((count, HEADER_BYTES + FRAME_BYTES), np.uint8)
        self.packets[:, 0] = 0x80
        self.packets[:, 12:] = self.rng.integers(0, 127, (count, FRAME_BYTES), dtype=np.uint8)
        self.views = [row.data for row in self.packets]
        self.slots = np.zeros((count, SLOT), np.uint8)
        self.slot_views = [row.data for row in self.slots]
        self.epoll = select.epoll()
        self.sockets = [self._socket() for _ in range(count)]
        self.row_of_fd = {each.fileno(): row for row, each in enumerate(self.sockets)}
        self.receives = {each.fileno(): each.recv_into for each in self.sockets}
        self.sends = [each.send for each in self.sockets]
        self.sent = self.heard = 0
        self.longest_gap_s = self.latest_s = 0.0

    def _socket(self) -> socket.socket:
        each = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        each.bind(("127.0.0.1", 0))
        each.settimeout(0)
        self.epoll.register(each.fileno(), select.EPOLLIN)
        return each

    def open(self, row: int, relay_port: int) -> None:
        """Begin to talk to the relay's port."""
        self.sockets[row].connect(("127.0.0.1", relay_port))
        self.packets[row, 8:12] = self.rng.integers(0, 255, 4, dtype=np.uint8)
        self.sequence[row], self.timestamp[row] = self.rng.integers(0, 1 << 16), self.rng.integers(0, 1 << 32)
        self.last_heard_s[row] = np.nan
        self.is_talking[row] = True

    def close(self, row: int) -> None:
        """Talk no more."""
        self.is_talking[row] = False

    def speak(self, begin: int, end: int) -> None:
        """Send the packets that are due between two counts, counted over all callers in turn."""
        while begin < end:
            first = begin % self.count
            last = min(self.count, first + end - begin)
            rows = np.flatnonzero(self.is_talking[first:last]) + first
            self.sequence[rows] += 1
            self.timestamp[rows] += FRAME_BYTES
            self.packets[rows, 2:4] = self.sequence[rows].astype(">u2")[:, None].view(np.uint8)
            self.packets[rows, 4:8] = self.timestamp[rows].astype(">u4")[:, None].view(np.uint8)
            for row in rows.tolist():
                try:
                    self.sends[row](self.views[row])
                except OSError:  # an ICMP error of an earlier packet
                    continue
                self.sent += 1
            begin += last - first

    def listen(self) -> None:
        """Take one packet from each caller that has some; note the gap since its last one."""
        ready = self.epoll.poll(0, self.count)
        if not ready:
            return
        rows: list[int] = []
        for fd, _ in ready:
            try:
                self.receives[fd](self.slot_views[0])
            except OSError:
                continue
            rows.append(self.row_of_fd[fd])
        at = np.array(rows, np.intp)
        at = at[self.is_talking[at]]
        now = time.perf_counter()
        self.heard += len(at)
        gaps = now - self.last_heard_s[at]
        self.last_heard_s[at] = now
        if len(gaps := gaps[~np.isnan(gaps)]):
            self.longest_gap_s = max(self.longest_gap_s, float(gaps.max()))

    def report(self) -> dict[str, float]:
        """Return what happened since the last report; `late_ms` of our own timer measures the machine."""
        said = {
            "sent": self.sent,
            "heard": self.heard,
            "gap_ms": self.longest_gap_s * 1000,
            "late_ms": self.latest_s * 1000,
        }
        self.sent = self.heard = 0
        self.longest_gap_s = self.latest_s = 0.0
        return said

    def run(self, orders: "deque[list[int] | None]") -> None:
        """Talk until the orders end."""
        begun = time.perf_counter()
        sent, next_report_s = 0, REPORT_S
        rate = self.count / FRAME_S
        while True:
            while orders:
                order = orders.popleft()
                if order is None:
                    return
                row, relay_port = order
                self.open(row, relay_port) if relay_port else self.close(row)
            at = time.perf_counter() - begun
            due = int(at * rate)
            self.speak(sent, due)
            sent = due
            self.listen()
            if at >= next_report_s:
                next_report_s += REPORT_S
                print(json.dumps(self.report()), flush=True)
            until = begun + at + POLL_S
            if (left := until - time.perf_counter()) > 0:
                time.sleep(left)
                self.latest_s = max(self.latest_s, time.perf_counter() - until)


def read_orders(orders: "deque[list[int] | None]") -> None:
    """Take [row, relay port] or, to end a call, [row, 0]."""
    for line in sys.stdin:
        orders.append(json.loads(line))
    orders.append(None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=100)
    callers = Callers(parser.parse_args().calls)
    print(json.dumps([each.getsockname()[1] for each in callers.sockets]), flush=True)
    orders: deque[list[int] | None] = deque()
    threading.Thread(target=read_orders, args=(orders,), daemon=True).start()
    gc.freeze()
    gc.disable()
    callers.run(orders)


if __name__ == "__main__":
    main()
