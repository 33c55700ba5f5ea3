"""A bot on the SDK that echoes what it hears live, and prints a JSON line for each frame that it hears.

A script. Frames that it missed while it was away are only noted: their echo would come late.
"""

import argparse
import asyncio
import json
import sys

from sipgw.bot import BotServer, Call


def say(event: str, **fields: object) -> None:
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stdout.flush()


async def note(call: Call) -> None:
    async for frame in call.frames():
        say("frame", seq=frame.seq, replay=frame.replay)
        if not frame.replay:
            await call.play_raw(frame.data)


async def serve(listen: str) -> None:
    host, _, port = listen.rpartition(":")
    server = BotServer(note, host=host, port=int(port))
    await server.start()
    say("ready", listen=listen)
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen", required=True)
    asyncio.run(serve(parser.parse_args().listen))


if __name__ == "__main__":
    main()
