"""A stand-in for a service: says ready, then does what its flags say. Run as a script."""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import threading


def say(**fields: object) -> None:
    sys.stderr.write(json.dumps(fields) + "\n")
    sys.stderr.flush()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen", default="127.0.0.1:0")
    parser.add_argument("--order-file")
    parser.add_argument("--name", default="stub")
    parser.add_argument("--fail", help="print this and exit 2 before ready")
    parser.add_argument("--die", action="store_true", help="die at once without a word")
    parser.add_argument("--silent", action="store_true")
    parser.add_argument("--deaf", action="store_true", help="ignore SIGTERM")
    parser.add_argument("--child", action="store_true", help="have a child process that ignores SIGTERM")
    arguments = parser.parse_args()
    if arguments.fail:
        say(event="starting", level="info")
        sys.stderr.write(arguments.fail + "\n")
        raise SystemExit(2)
    if arguments.die:
        os.kill(os.getpid(), signal.SIGKILL)
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, (lambda *_: None) if arguments.deaf else (lambda *_: stopping.set()))
    if arguments.child:
        subprocess.Popen(
            [sys.executable, "-c", "import signal; signal.signal(15, signal.SIG_IGN); signal.pause()"]
        )
    host, _, port = arguments.listen.rpartition(":")
    server = socket.create_server((host, int(port)))
    if not arguments.silent:
        say(
            event="ready", service=arguments.name, listen=f"{host}:{server.getsockname()[1]}", pid=os.getpid()
        )
    stopping.wait()
    if arguments.order_file:
        with open(arguments.order_file, "a") as file:  # noqa: PTH123
            file.write(arguments.name + "\n")


main()
