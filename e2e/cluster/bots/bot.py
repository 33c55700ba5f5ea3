"""The tests' bot: an echo that logs its callers; with HANG_UP_AFTER_S it hangs up by itself."""

import asyncio
import contextlib
import json
import os

from sipgw.bot import Call, CallEnded, Resumed, serve

NAME = os.environ.get("NAME", "bot")
HANG_UP_AFTER_S = float(os.environ.get("HANG_UP_AFTER_S", "0"))


def tell(event: str, **fields: object) -> None:
    print(json.dumps({"event": event, "bot": NAME, **fields}), flush=True)


async def echo(call: Call) -> None:
    tell("call_started", call_id=call.call_id, token=call.config.resume_token)
    tasks = [asyncio.create_task(watch(call))]
    if HANG_UP_AFTER_S:
        tasks.append(asyncio.create_task(hang_up(call)))
    with contextlib.suppress(CallEnded):  # frames may be left when the call ends
        async for frame in call.frames():
            await call.play_raw(frame.data)
    for task in tasks:
        task.cancel()
    tell("call_ended", call_id=call.call_id)


async def watch(call: Call) -> None:
    async for event in call.events():
        if isinstance(event, Resumed):
            tell("call_resumed", call_id=call.call_id, token=call.config.resume_token)


async def hang_up(call: Call) -> None:
    await asyncio.sleep(HANG_UP_AFTER_S)
    tell("hanging_up", call_id=call.call_id)
    await call.hangup()


if __name__ == "__main__":
    serve(echo, host="0.0.0.0", port=9090)
