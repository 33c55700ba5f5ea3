"""A menu: 1 plays a tune, 2 transfers, 9 hangs up; any key stops what is playing."""

import asyncio

import numpy as np

from sipgw.bot import Call, Dtmf, DtmfDown, serve

RATE_HZ = 8000


def tones(*notes_hz: float, ms: int = 150) -> np.ndarray:
    """Make notes of `ms` each."""
    at = np.arange(RATE_HZ * ms // 1000) / RATE_HZ
    return np.concatenate([6000 * np.sin(2 * np.pi * hz * at) for hz in notes_hz]).astype(np.int16)


MENU = tones(440, 660)
TUNE = tones(523, 587, 659, 698, 784, 880, 988, 1047, ms=400)
WRONG = tones(200)


async def menu(call: Call) -> None:
    """Serve one call."""
    speaking = asyncio.create_task(call.play(MENU))
    async for event in call.events():
        match event:
            case DtmfDown():
                speaking.cancel()
                await call.clear()
            case Dtmf("1"):
                speaking = asyncio.create_task(call.play(TUNE))
            case Dtmf("2"):
                await call.transfer("sip:operator@example.org")
            case Dtmf("9"):
                await call.hangup()
                return
            case Dtmf():
                speaking = asyncio.create_task(call.play(WRONG))
            case _:
                pass


if __name__ == "__main__":
    serve(menu, port=9090, rate_hz=RATE_HZ)
