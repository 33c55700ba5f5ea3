"""Run a bot's handler for one call, and interpret its return, its exception and the call's end."""

import asyncio
import contextlib
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from sipgw.bot.call import Call
from sipgw.bot.errors import CallEnded
from sipgw.bot.tracing import handler_span

Bot: TypeAlias = Callable[[Call], Awaitable[None]]

_log = logging.getLogger("sipgw.bot")


async def run_handler(bot: Bot, call: Call, *, ending_grace_s: float) -> str | None:
    """Run the handler; return None when it finished, else why it failed.

    When the call ends first, the handler has `ending_grace_s` to finish and is then cancelled.
    """
    handler = asyncio.ensure_future(_handle(bot, call))
    over = asyncio.ensure_future(call.wait_ended())
    try:
        await asyncio.wait({handler, over}, return_when=asyncio.FIRST_COMPLETED)
        if not handler.done():
            await asyncio.wait({handler}, timeout=ending_grace_s)
        if not handler.done():
            _log.warning("handler cancelled: still running %g s after call %s", ending_grace_s, call.call_id)
    finally:
        over.cancel()
        handler.cancel()
        await asyncio.wait({handler})
    return await _outcome(handler, call)


async def _handle(bot: Bot, call: Call) -> None:
    with handler_span(call.config):
        handling = bot(call)
        if not inspect.isawaitable(handling):
            name = getattr(bot, "__name__", "bot")
            raise TypeError(f"a bot is an async function: write `async def {name}(call)`")
        await handling


async def _outcome(handler: asyncio.Future[None], call: Call) -> str | None:
    if handler.cancelled():
        return None if call.is_over else "handler cancelled itself"
    error = handler.exception()
    if error is None:
        with contextlib.suppress(CallEnded):
            await call.finish_speaking()
        return None
    if isinstance(error, CallEnded):
        return None
    _log.error("handler failed on call %s", call.call_id, exc_info=error)
    return f"{type(error).__name__}: {error}"
