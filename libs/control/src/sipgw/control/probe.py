"""Whether anybody listens at an address, by a TCP connection that is closed again at once."""

import asyncio
from typing import Final

from sipgw.runtime.settings import HostPort

_LONGEST_S: Final = 0.5


async def is_refused(address: str) -> bool:
    """True when the connection to "host:port" is refused: the host lives and the process does not.

    False when it is accepted, and when nothing can be said: no answer, no route, no such name.
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
