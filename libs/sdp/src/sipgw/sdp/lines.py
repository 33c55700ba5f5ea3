"""SDP as lines (RFC 8866 §5): ``<letter>=<value>``, any line ending, any bytes in the values.

Blanks and NULs around a line's parts are ignored, though the grammar forbids them. Text that is no line is
skipped.
"""

import codecs
import re
from dataclasses import dataclass

_LINE_END = re.compile(r"\r\n|\n|\r")
_LINE = re.compile(r"\s*+([A-Za-z])\s*+=(.*)", re.ASCII | re.DOTALL)


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
    """Return the lines of a description, without blanks at their ends and without text that is no line."""
    lines: list[NumberedLine] = []
    text = data.removeprefix(codecs.BOM_UTF8).decode("utf-8", "surrogateescape").replace("\0", " ")
    for number, line in enumerate(_LINE_END.split(text), start=1):
        match = _LINE.fullmatch(line)
        if match is not None:
            lines.append(NumberedLine(number, match[1], match[2].strip()))
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
