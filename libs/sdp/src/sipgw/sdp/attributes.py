"""``a=`` lines: rtpmap, ptime, direction, rtcp. A malformed value reads as if the line were not there."""

from dataclasses import dataclass
from enum import StrEnum

from sipgw.sdp.lines import SdpLine, decimal

# RFC 3551 table 4: what a payload type means without an rtpmap.
STATIC_AUDIO = {
    0: ("PCMU", 8000),
    3: ("GSM", 8000),
    4: ("G723", 8000),
    8: ("PCMA", 8000),
    9: ("G722", 8000),
    18: ("G729", 8000),
}


class Direction(StrEnum):
    """The direction of media, seen from the side that states it."""

    SENDRECV = "sendrecv"
    SENDONLY = "sendonly"
    RECVONLY = "recvonly"
    INACTIVE = "inactive"

    @property
    def sends(self) -> bool:
        return self in (Direction.SENDRECV, Direction.SENDONLY)

    @property
    def receives(self) -> bool:
        return self in (Direction.SENDRECV, Direction.RECVONLY)

    @property
    def reversed(self) -> "Direction":
        """The same direction seen from the other end."""
        return Direction.of(sends=self.receives, receives=self.sends)

    def within(self, other: "Direction") -> "Direction":
        """Return the direction that both allow."""
        return Direction.of(sends=self.sends and other.sends, receives=self.receives and other.receives)

    @staticmethod
    def of(*, sends: bool, receives: bool) -> "Direction":
        """Return the direction that sends and receives so."""
        if sends:
            return Direction.SENDRECV if receives else Direction.SENDONLY
        return Direction.RECVONLY if receives else Direction.INACTIVE


@dataclass(frozen=True, slots=True)
class Attribute:
    """``a=<name>`` or ``a=<name>:<value>``."""

    name: str
    value: str | None = None

    @classmethod
    def parse(cls, text: str) -> "Attribute":
        """Read the value of an ``a=`` line."""
        name, colon, value = text.partition(":")
        return cls(name.strip(), value.strip() if colon else None)

    @property
    def line(self) -> SdpLine:
        return SdpLine("a", self.name if self.value is None else f"{self.name}:{self.value}")


@dataclass(frozen=True, slots=True)
class RtpMap:
    """The codec of a payload type (RFC 8866 §6.6)."""

    payload_type: int
    encoding: str
    clock_rate_hz: int
    channels: int = 1

    @classmethod
    def parse(cls, value: str) -> "RtpMap | None":
        """Read ``96 opus/48000/2``; return None when malformed."""
        words = value.split()
        if len(words) < 2:
            return None
        encoding, *numbers = words[1].split("/")
        payload_type = decimal(words[0], 127)
        clock_rate_hz = decimal(numbers[0], 10_000_000) if numbers else None
        channels = decimal(numbers[1], 255) if len(numbers) > 1 else 1
        if not encoding or payload_type is None or not clock_rate_hz or not channels or len(numbers) > 2:
            return None
        return cls(payload_type, encoding, clock_rate_hz, channels)

    @property
    def attribute(self) -> Attribute:
        channels = f"/{self.channels}" if self.channels != 1 else ""
        return Attribute("rtpmap", f"{self.payload_type} {self.encoding}/{self.clock_rate_hz}{channels}")

    def carries(self, encoding: str, clock_rate_hz: int) -> bool:
        """Return whether it is this encoding; names compare without case (RFC 4855 §3)."""
        return (
            self.encoding.upper() == encoding.upper()
            and self.clock_rate_hz == clock_rate_hz
            and self.channels == 1
        )


@dataclass(frozen=True, slots=True)
class RtcpAddress:
    """``a=rtcp:`` (RFC 3605): a port, and an address when it differs from the stream's."""

    port: int
    address: str | None = None

    @classmethod
    def parse(cls, value: str) -> "RtcpAddress | None":
        """Read ``53020`` or ``53020 IN IP4 192.0.2.1``; return None when malformed."""
        words = value.split()
        port = decimal(words[0], 65535) if words else None
        if not port:
            return None
        return cls(port, words[3] if len(words) >= 4 and words[1].upper() == "IN" else None)


def first_value(attributes: tuple[Attribute, ...], name: str) -> str | None:
    """Return the value of the first attribute of that name; "" for none, None without the attribute."""
    for attribute in attributes:
        if attribute.name.lower() == name:
            return attribute.value or ""
    return None


def stated_direction(attributes: tuple[Attribute, ...]) -> Direction | None:
    """Return the first direction attribute: sendrecv, sendonly, recvonly or inactive."""
    for attribute in attributes:
        if not attribute.value and attribute.name.lower() in _DIRECTIONS:
            return Direction(attribute.name.lower())
    return None


def rtpmaps(attributes: tuple[Attribute, ...]) -> dict[int, RtpMap]:
    """Return the well-formed rtpmaps by payload type; the first of a payload type counts."""
    maps: dict[int, RtpMap] = {}
    for attribute in attributes:
        if attribute.name.lower() == "rtpmap" and (rtpmap := RtpMap.parse(attribute.value or "")):
            maps.setdefault(rtpmap.payload_type, rtpmap)
    return maps


def whole_milliseconds(attributes: tuple[Attribute, ...], name: str) -> int | None:
    """Return the value of ptime or maxptime; cut off a fraction (``20.0``), which some peers write."""
    value = first_value(attributes, name)
    return decimal(value.strip().partition(".")[0], 10_000) or None if value else None


_DIRECTIONS = frozenset(direction.value for direction in Direction)
