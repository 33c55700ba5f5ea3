"""A probe: does anybody listen at an address? It opens a TCP connection and closes it at once."""

import asyncio
from typing import Final

from sipgw.runtime.settings import HostPort

_LONGEST_S: Final = 0.5


async def is_refused(address: str) -> bool:
    """Return whether a connection to "host:port" is refused: the host lives and the process does not.

    False when it is accepted, and when there is no evidence: no answer, no route, no such name.
    """
    at = HostPort.parse(address)
    try:
        async with asyncio.timeout(_LONGEST_S):
            _, writer = await asyncio.open_connection(at.host, at.port)
    except ConnectionRefusedError:
        return True
    except (OSError, TimeoutError):
        return False
    writer.close()
    return False
