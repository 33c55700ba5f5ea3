"""How many OPTIONS per second one edge process answers over UDP: carriers ping with them.

python bench/edge_options_rate.py [--rates 2000,5000,10000] [--seconds 5]

A message in, parsed, a transaction, a 200 out; no Redis, no relay. Each request is a transaction of its own.
For each offered rate: answers per second, the edge's share of a core, its CPU per answer.
"""

import argparse
import contextlib
import select
import signal
import socket
import tempfile
import time
from pathlib import Path

from edge_setup_rate import cpu_seconds, start_gateway

LAST_ANSWERS_S = 1.0
BUFFER = 8 << 20
MOST_AT_ONCE = 64  # between two checks for answers
REQUEST = (
    "OPTIONS sip:{host}:{port} SIP/2.0\r\n"
    "Via: SIP/2.0/UDP 127.0.0.1:{mine};branch=z9hG4bK-{run}-{number};rport\r\n"
    "From: <sip:ping@127.0.0.1:{mine}>;tag={number}\r\n"
    "To: <sip:{host}:{port}>\r\n"
    "Call-ID: {run}-{number}@127.0.0.1\r\n"
    "CSeq: 1 OPTIONS\r\n"
    "Contact: <sip:ping@127.0.0.1:{mine}>\r\n"
    "Max-Forwards: 70\r\n"
    "Accept: application/sdp\r\n"
    "Content-Length: 0\r\n\r\n"
)


def flood(target: str, rate: int, seconds: int) -> tuple[int, float]:
    """Send `rate` per second; return how many 200s came, and after how long the last."""
    host, _, port = target.partition(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as caller:
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            caller.setsockopt(socket.SOL_SOCKET, option, BUFFER)
        caller.connect((host, int(port)))
        caller.settimeout(0)
        mine = caller.getsockname()[1]
        requests = [
            REQUEST.format(host=host, port=port, mine=mine, run=rate, number=number).encode()
            for number in range(rate * seconds)
        ]
        sent = answered = 0
        begun = last = time.monotonic()
        while answered < len(requests) and (now := time.monotonic()) < begun + seconds + LAST_ANSWERS_S:
            due = min(int((now - begun) * rate), len(requests))
            with contextlib.suppress(BlockingIOError):
                for request in requests[sent : min(due, sent + MOST_AT_ONCE)]:
                    caller.send(request)
                    sent += 1
            answers = count_answers(caller)
            if answers:
                answered, last = answered + answers, time.monotonic()
            elif sent == due:
                select.select([caller], [], [], 0.001)
        return answered, last - begun


def count_answers(caller: socket.socket) -> int:
    """Count the 200s that have come."""
    count = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            count += caller.recv(2048).startswith(b"SIP/2.0 200")
    return count


def main() -> None:
    """Measure each rate in turn and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rates", default="2000,5000,10000", help="OPTIONS a second, by commas")
    parser.add_argument("--seconds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        up, target = start_gateway(Path(name))
        try:
            print("| offered/s | answered/s | answered | edge core | edge µs an answer |")
            print("|---|---|---|---|---|")
            for rate in map(int, arguments.rates.split(",")):
                before = cpu_seconds(up)["edge"]
                answered, elapsed = flood(target, rate, arguments.seconds)
                spent = cpu_seconds(up)["edge"] - before
                share, cost = answered / (rate * arguments.seconds), spent * 1e6 / max(answered, 1)
                core = f"{spent / elapsed:.2f}"
                print(
                    f"| {rate} | {answered / elapsed:.0f} | {share:.1%} | {core} | {cost:.0f} |", flush=True
                )
        finally:
            up.send_signal(signal.SIGTERM)
            up.wait(30)


if __name__ == "__main__":
    main()
