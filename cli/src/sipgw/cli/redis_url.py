"""The Redis for the calls of a gateway on this machine: --redis, SIPGW_REDIS_URL, else one of its own."""

from typing import Annotated

import typer

RedisFlag = Annotated[
    str | None,
    typer.Option(
        metavar="URL", envvar="SIPGW_REDIS_URL", help="URL of a running Redis (default: start one)."
    ),
]
