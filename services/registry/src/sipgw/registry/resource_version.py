"""The resource version of the call map: Redis' epoch and the position in each partition's stream.

Opaque to clients, and valid at every replica, since all follow the same streams.
"""

import base64
import binascii
import zlib
from dataclasses import dataclass, replace
from typing import Final, Self

from sipgw.registry.errors import BadResourceVersion
from sipgw.store import PARTITIONS

_FORM: Final = "1"
_MAX_BYTES: Final = 65536


def order_of(position: str) -> tuple[int, int]:
    """Return the sort key of a stream position ("ms-seq"). Raises ValueError."""
    milliseconds, _, sequence = position.partition("-")
    return int(milliseconds), int(sequence)


@dataclass(frozen=True, slots=True)
class ResourceVersion:
    """An epoch and `positions`, one per partition."""

    epoch: str
    positions: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a version written by `str`. Raises BadResourceVersion."""
        try:
            packed = zlib.decompressobj().decompress(base64.urlsafe_b64decode(text), _MAX_BYTES)
            form, epoch, *positions = packed.decode().split(" ")
            for position in positions:
                order_of(position)
        except (ValueError, binascii.Error, zlib.error) as error:
            raise BadResourceVersion("not a resource version") from error
        if form != _FORM or len(positions) != PARTITIONS:
            raise BadResourceVersion("not a resource version of this release")
        return cls(epoch, tuple(positions))

    def __str__(self) -> str:
        packed = zlib.compress(" ".join((_FORM, self.epoch, *self.positions)).encode(), 1)
        return base64.urlsafe_b64encode(packed).decode()

    def advanced(self, positions: dict[int, str]) -> Self:
        """Return the version with later positions in some partitions."""
        moved = [positions.get(partition, held) for partition, held in enumerate(self.positions)]
        return replace(self, positions=tuple(moved))
