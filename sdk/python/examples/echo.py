"""A bot that repeats what it hears, in ten lines.

python examples/echo.py, then: sipgw up --bot localhost:9090
"""

from sipgw.bot import Call, serve


async def echo(call: Call) -> None:
    async for frame in call.audio():
        await call.play(frame)


if __name__ == "__main__":
    serve(echo, port=9090)
