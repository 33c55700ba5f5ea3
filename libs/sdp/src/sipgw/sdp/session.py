"""Session descriptions (RFC 8866) as values; lines that we do not use are kept.

Reading accepts what peers really send (any line order below ``v=``, LF endings, missing lines, odd ones): an
error costs the call only where the line decides where audio goes. Writing uses the order of RFC 8866 §5.
Offers and answers are in other modules.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from sipgw.sdp import attributes as attribute
from sipgw.sdp.attributes import Attribute, Direction, RtcpAddress, RtpMap
from sipgw.sdp.errors import SdpParseError
from sipgw.sdp.lines import NumberedLine, SdpLine, decimal, join_lines, split_lines

ALWAYS = SdpLine("t", "0 0")
_UNNAMED = ("0", "0")
_AUDIO = "audio"

# The order of the kept lines (RFC 8866 §5). c= is 4, a= is 10.
_RANK = {"i": 0, "u": 1, "e": 2, "p": 3, "b": 5, "t": 6, "r": 6, "z": 7, "k": 8}
_RANK_UNKNOWN = 9
_RANK_CONNECTION = 4


@dataclass(frozen=True, slots=True)
class Origin:
    """``o=``: the author of the description, the session, and its version."""

    username: str
    session_id: str
    session_version: str
    address: str
    address_type: str = "IP4"

    @classmethod
    def parse(cls, value: str) -> "Origin":
        """Read an ``o=`` line.

        Nothing of a peer's origin is used, so that a name of several words and missing words are no error.
        """
        words = value.split()
        network = [i for i, word in enumerate(words) if word.upper() == "IN"]
        usual = len(words) - 3
        at = usual if usual in network else network[-1] if network else min(len(words), 3)
        who, where = words[:at], words[at + 1 :]
        session_id, session_version = (*who[-2:], *_UNNAMED[len(who[-2:]) :])
        return cls(
            " ".join(who[:-2]) or "-",
            session_id,
            session_version,
            where[1] if len(where) > 1 else "0.0.0.0",
            where[0] if where else "IP4",
        )

    @property
    def line(self) -> SdpLine:
        who = f"{self.username} {self.session_id} {self.session_version}"
        return SdpLine("o", f"{who} IN {self.address_type} {self.address}")


@dataclass(frozen=True, slots=True)
class Connection:
    """``c=``: where to send media."""

    address: str
    address_type: str = "IP4"

    @classmethod
    def of(cls, address: str) -> "Connection":
        """Return the line for a unicast address."""
        return cls(address, address_type_of(address))

    @classmethod
    def parse(cls, line: NumberedLine) -> "Connection":
        """Read a ``c=`` line."""
        words = line.value.split()
        if len(words) < 3 or words[0].upper() != "IN" or words[1].upper() not in ("IP4", "IP6"):
            raise SdpParseError(line.number, f"c= is 'IN IP4|IP6 <address>', found {line.value[:60]!r}")
        return cls(words[2], words[1].upper())

    @property
    def line(self) -> SdpLine:
        return SdpLine("c", f"IN {self.address_type} {self.address}")

    @property
    def host(self) -> str:
        """The address without the TTL of a multicast one."""
        return self.address.partition("/")[0]

    @property
    def is_unspecified(self) -> bool:
        """Whether it is 0.0.0.0 or ::, which means: send nothing here (RFC 3264 §8.4)."""
        return self.host in ("0.0.0.0", "::", "0:0:0:0:0:0:0:0")


@dataclass(frozen=True, slots=True)
class MediaDescription:
    """An ``m=`` line and its lines. Port 0 is a stream that is refused or switched off."""

    kind: str
    port: int
    protocol: str
    formats: tuple[str, ...]
    connection: Connection | None = None
    attributes: tuple[Attribute, ...] = ()
    other_lines: tuple[SdpLine, ...] = ()
    port_count: int = 1

    @property
    def line(self) -> SdpLine:
        port = str(self.port) if self.port_count == 1 else f"{self.port}/{self.port_count}"
        return SdpLine("m", " ".join((self.kind, port, self.protocol, *self.formats)))

    @property
    def rtp_formats(self) -> tuple[RtpMap, ...]:
        """The usable formats in the order of the m= line.

        A static payload type needs no rtpmap. A dynamic one without a well-formed rtpmap is left out, and
        nothing else with it.
        """
        stated = attribute.rtpmaps(self.attributes)
        usable: dict[int, RtpMap] = {}
        for text in self.formats:
            payload_type = decimal(text, 127)
            if payload_type is None or payload_type in usable:
                continue
            if rtpmap := stated.get(payload_type) or _static_rtpmap(payload_type):
                usable[payload_type] = rtpmap
        return tuple(usable.values())

    @property
    def ptime_ms(self) -> int | None:
        return attribute.whole_milliseconds(self.attributes, "ptime")

    @property
    def maxptime_ms(self) -> int | None:
        return attribute.whole_milliseconds(self.attributes, "maxptime")

    @property
    def has_rtcp_mux(self) -> bool:
        return attribute.first_value(self.attributes, "rtcp-mux") is not None

    @property
    def rtcp(self) -> RtcpAddress | None:
        value = attribute.first_value(self.attributes, "rtcp")
        return RtcpAddress.parse(value) if value else None


@dataclass(frozen=True, slots=True)
class SessionDescription:
    """A whole description; ``other_lines`` holds the lines without a field here, in their order."""

    origin: Origin
    name: str = "-"
    connection: Connection | None = None
    attributes: tuple[Attribute, ...] = ()
    media: tuple[MediaDescription, ...] = ()
    other_lines: tuple[SdpLine, ...] = field(default=(ALWAYS,))

    @classmethod
    def parse(cls, data: bytes) -> "SessionDescription":
        """Read a description. Raises SdpParseError with the number of the unreadable line."""
        lines = split_lines(data)
        if not lines or lines[0].letter != "v" or lines[0].value.strip() != "0":
            raise SdpParseError(lines[0].number if lines else 0, "a description begins with v=0")
        session_lines, media_sections = _split_sections(lines[1:])
        section = _Section.of(session_lines, own="os")
        origin = section.own.get("o")
        media = tuple(_parse_media(lines) for lines in media_sections)
        if origin is None and not media:
            raise SdpParseError(0, "o= is missing, and so are streams")
        if section.bad_connection is not None and _lacks_connection(media):
            raise section.bad_connection
        name = section.own.get("s")
        has_time = any(line.letter == "t" for line in section.other_lines)
        return cls(
            origin=Origin.parse(origin.value if origin else ""),
            name=name.value if name else "-",
            connection=section.connection,
            attributes=section.attributes,
            media=media,
            other_lines=section.other_lines if has_time else _in_order((*section.other_lines, ALWAYS)),
        )

    def to_bytes(self) -> bytes:
        """Serialize the description in the order of RFC 8866 §5."""
        lines = [SdpLine("v", "0"), self.origin.line, SdpLine("s", self.name)]
        lines += _body_lines(self.connection, self.attributes, self.other_lines)
        for media in self.media:
            lines.append(media.line)
            lines += _body_lines(media.connection, media.attributes, media.other_lines)
        return join_lines(lines)

    def connection_of(self, media: MediaDescription) -> Connection | None:
        """Return the stream's own c= line, else the session's."""
        return media.connection or self.connection

    def direction_of(self, media: MediaDescription) -> Direction:
        """Return the stream's own direction, else the session's, else sendrecv (RFC 8866 §6.7)."""
        return (
            attribute.stated_direction(media.attributes)
            or attribute.stated_direction(self.attributes)
            or Direction.SENDRECV
        )


@dataclass(frozen=True, slots=True)
class _Section:
    """The lines of the session part or of one stream, sorted by type."""

    own: dict[str, NumberedLine]
    connection: Connection | None
    bad_connection: SdpParseError | None
    attributes: tuple[Attribute, ...]
    other_lines: tuple[SdpLine, ...]

    @classmethod
    def of(cls, lines: Iterable[NumberedLine], own: str) -> "_Section":
        found: dict[str, NumberedLine] = {}
        connection: Connection | None = None
        fault: SdpParseError | None = None
        attributes: list[Attribute] = []
        others: list[SdpLine] = []
        for line in lines:
            if line.letter in own:
                found.setdefault(line.letter, line)
            elif line.letter == "a":
                attributes.append(Attribute.parse(line.value))
            elif line.letter == "c":
                try:
                    connection = connection or Connection.parse(line)
                except SdpParseError as error:
                    fault = fault or error
            else:
                others.append(line.bare)
        return cls(found, connection, None if connection else fault, tuple(attributes), _in_order(others))


def _split_sections(lines: list[NumberedLine]) -> tuple[list[NumberedLine], list[list[NumberedLine]]]:
    sections: list[list[NumberedLine]] = [[]]
    for line in lines:
        if line.letter == "m":
            sections.append([])
        sections[-1].append(line)
    return sections[0], sections[1:]


def _lacks_connection(media: tuple[MediaDescription, ...]) -> bool:
    """Tell whether any audio, or all without media, would need the session's c= line."""
    return not media or any(one.kind == _AUDIO and one.connection is None for one in media)


def _parse_media(lines: list[NumberedLine]) -> MediaDescription:
    """Read a stream. A stream that is no audio is refused, so only its place in the list matters."""
    section = _Section.of(lines[1:], own="")
    head = lines[0]
    kind, *words = head.value.split() or ["-"]
    port_text, slash, count_text = words[0].partition("/") if words else ("", "", "")
    port = decimal(port_text, 65535)
    port_count = decimal(count_text, 65535) if slash else 1
    if kind.lower() == _AUDIO:
        if len(words) < 2:
            raise SdpParseError(head.number, "m= is '<kind> <port> <protocol> <format>...'")
        if port is None or not port_count:
            raise SdpParseError(head.number, f"no port: {words[0][:20]!r}")
        if section.bad_connection is not None:
            raise section.bad_connection
    return MediaDescription(
        kind=kind.lower(),
        port=port or 0,
        protocol=words[1] if len(words) > 1 else "RTP/AVP",
        formats=tuple(words[2:]),
        connection=section.connection,
        attributes=section.attributes,
        other_lines=section.other_lines,
        port_count=port_count or 1,
    )


def _body_lines(
    connection: Connection | None, attributes: tuple[Attribute, ...], others: tuple[SdpLine, ...]
) -> list[SdpLine]:
    before = [line for line in others if _rank(line) < _RANK_CONNECTION]
    after = [line for line in others if _rank(line) > _RANK_CONNECTION]
    middle = [connection.line] if connection else []
    return [*before, *middle, *after, *(one.line for one in attributes)]


def _in_order(lines: Iterable[SdpLine]) -> tuple[SdpLine, ...]:
    return tuple(sorted(lines, key=_rank))


def _rank(line: SdpLine) -> int:
    return _RANK.get(line.letter, _RANK_UNKNOWN)


def _static_rtpmap(payload_type: int) -> RtpMap | None:
    static = attribute.STATIC_AUDIO.get(payload_type)
    return RtpMap(payload_type, *static) if static else None


def address_type_of(address: str) -> str:
    """Return IP6 for a literal with colons, else IP4."""
    return "IP6" if ":" in address else "IP4"
