"""A bot that repeats what was said after a pause, behind a short tone, and stops when interrupted."""

import asyncio

import numpy as np

from sipgw.bot import Call, serve

RATE_HZ = 16000
LOUD = 500  # RMS of a frame with speech
PAUSE_FRAMES = 25  # half a second
TONE = (8000 * np.sin(2 * np.pi * 880 * np.arange(RATE_HZ // 10) / RATE_HZ)).astype(np.int16)


async def parrot(call: Call) -> None:
    """Serve one call."""
    said: list[np.ndarray] = []
    quiet = 0
    answer: asyncio.Task[None] | None = None
    async for frame in call.audio():
        if np.sqrt(np.mean(np.square(frame, dtype=np.float64))) > LOUD:
            if answer is not None and not answer.done():
                answer.cancel()
                await call.clear()
            said.append(frame)
            quiet = 0
        elif said:
            said.append(frame)
            quiet += 1
            if quiet == PAUSE_FRAMES:
                answer = asyncio.create_task(repeat(call, np.concatenate(said[:-PAUSE_FRAMES])))
                said, quiet = [], 0
    if answer is not None:
        answer.cancel()


async def repeat(call: Call, speech: np.ndarray) -> None:
    """Play a tone and the caller's words."""
    await call.play(TONE)
    await call.play(speech)
    await call.played()


if __name__ == "__main__":
    serve(parrot, port=9090, rate_hz=RATE_HZ)
