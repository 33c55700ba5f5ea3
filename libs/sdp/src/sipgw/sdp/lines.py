"""SDP as lines (RFC 8866 §5): ``<letter>=<value>``, any line ending, any bytes in the values."""

import re
from dataclasses import dataclass

from sipgw.sdp.errors import SdpParseError

_LINE_END = re.compile(r"\r\n|\n|\r")


@dataclass(frozen=True, slots=True)
class SdpLine:
    """One line without its ending; bytes that are no UTF-8 are kept as surrogate escapes."""

    letter: str
    value: str

    def __str__(self) -> str:
        return f"{self.letter}={self.value}"


@dataclass(frozen=True, slots=True)
class NumberedLine:
    """A line and its number, for error messages."""

    number: int
    letter: str
    value: str

    @property
    def bare(self) -> SdpLine:
        return SdpLine(self.letter, self.value)


def split_lines(data: bytes) -> list[NumberedLine]:
    """Return the lines of a description without blank ones.

    Raises SdpParseError where one is not ``x=...``.
    """
    lines: list[NumberedLine] = []
    for number, text in enumerate(_LINE_END.split(data.decode("utf-8", "surrogateescape")), start=1):
        if not text.strip():
            continue
        if text[1:2] != "=" or not text[0].isascii() or not text[0].isalpha():
            raise SdpParseError(number, f"expected <letter>=<value>, found {text[:40]!r}")
        lines.append(NumberedLine(number, text[0], text[2:]))
    return lines


def join_lines(lines: list[SdpLine]) -> bytes:
    """Return the lines as bytes, each ended by CRLF."""
    return "".join(f"{line}\r\n" for line in lines).encode("utf-8", "surrogateescape")


def decimal(text: str, largest: int) -> int | None:
    """Return a plain decimal from 0 to ``largest``, else None.

    int() also takes signs, spaces and underscores.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        return None
    number = int(text)
    return number if number <= largest else None
