"""The parts of a body (RFC 5621, RFC 2046 §5.1) and how much their sender needs them (RFC 3261 §20.11).

A body that is no multipart is one part. Lines may end in LF alone, and the closing delimiter may be missing.
"""

import binascii
import quopri
import re
from dataclasses import dataclass
from typing import Final

from sipgw.sip.errors import SipParseError
from sipgw.sip.grammar import parse_loose_parameters
from sipgw.sip.headers import Headers

SDP: Final = "application/sdp"
MULTIPART: Final = "multipart/"
_ALTERNATIVE: Final = "multipart/alternative"
_UNSAID_OF_PART: Final = "text/plain"
_DEEPEST: Final = 3
_MOST_PARTS: Final = 32
_HEAD_END = re.compile(rb"(.*?)(?:\r?\n\r?\n|\Z)", re.DOTALL)
_FOLD = re.compile(r"\r?\n[ \t]++")


@dataclass(frozen=True, slots=True)
class BodyPart:
    """One part, decoded. `content_type` is `type/subtype` in lower case; None: not said.

    `is_required`: its sender said so (handling=required). Without a word it is not: carriers add parts that
    only proxies need.
    """

    content_type: str | None
    disposition: str
    is_required: bool
    body: bytes

    @property
    def is_session(self) -> bool:
        """Whether it is the description of the session (RFC 3261 §20.11: SDP without a disposition is)."""
        return self.content_type in (SDP, None) and self.disposition in ("", "session")


def is_multipart(content_type: str | None) -> bool:
    """Tell whether a content type is that of several parts."""
    return content_type is not None and content_type.startswith(MULTIPART)


def parts_of(headers: Headers, body: bytes) -> tuple[BodyPart, ...]:
    """Return the parts of a body in order, those of nested multiparts too; none for a malformed multipart."""
    if not body.strip(b"\r\n\t \0"):
        return ()
    return tuple(_parts(headers, body, depth=0)[:_MOST_PARTS])


def _parts(headers: Headers, body: bytes, *, depth: int) -> list[BodyPart]:
    content_type, params = _value_of(headers, "Content-Type")
    if not is_multipart(content_type):
        disposition, handling = _value_of(headers, "Content-Disposition")
        is_required = (handling.get("handling") or "").lower() == "required"
        of_part = content_type or (_UNSAID_OF_PART if depth else None)
        return [BodyPart(of_part, disposition or "", is_required, _decoded(headers, body))]
    boundary = params.get("boundary")
    if not boundary or depth >= _DEEPEST:
        return []
    found = [
        part
        for section in _sections(body, boundary)[:_MOST_PARTS]
        for part in _parts(*_split(section), depth=depth + 1)
    ]
    if content_type == _ALTERNATIVE and any(part.is_session for part in found):
        return [part for part in found if part.is_session]
    return found


def _sections(body: bytes, boundary: str) -> list[bytes]:
    """Return what stands between the delimiters; the line end before a delimiter belongs to it."""
    mark = re.escape(boundary.encode("utf-8", "replace"))
    delimiter = re.compile(rb"(?:\A|\r?\n)--" + mark + rb"(--)?+[ \t]*+(?=\r?\n|\Z)")
    begun: int | None = None
    sections: list[bytes] = []
    for match in delimiter.finditer(body):
        if begun is not None:
            sections.append(body[begun : match.start()])
        if match[1]:
            return sections
        begun = match.end()
    return sections if begun is None else [*sections, body[begun:]]


def _split(section: bytes) -> tuple[Headers, bytes]:
    """Return the headers and the body of a part, which begins with the line end of its delimiter."""
    start = 2 if section.startswith(b"\r\n") else 1
    rest = section[start:]
    if rest.startswith((b"\r\n", b"\n")):  # no headers
        return Headers(), rest[2 if rest.startswith(b"\r\n") else 1 :]
    match = _HEAD_END.match(rest)
    assert match is not None  # it matches anything
    lines = _FOLD.sub(" ", match[1].decode("utf-8", "replace")).splitlines()
    cut = [line.partition(":") for line in lines]
    return Headers((name.strip(), value.strip()) for name, colon, value in cut if colon), rest[match.end() :]


def _value_of(headers: Headers, name: str) -> tuple[str | None, dict[str, str | None]]:
    """Return a header's value in lower case, and its parameters as far as they can be read."""
    value, semicolon, params = (headers.get(name) or "").partition(";")
    try:
        found = parse_loose_parameters(semicolon + params, name) if semicolon else {}
    except SipParseError:
        found = {}
    return value.replace(" ", "").replace("\t", "").lower() or None, found


def _decoded(headers: Headers, body: bytes) -> bytes:
    """Undo a Content-Transfer-Encoding, which RFC 3261 §7.4 forbids but mail libraries write."""
    encoding = (headers.get("Content-Transfer-Encoding") or "").strip().lower()
    if encoding == "base64":
        try:
            return binascii.a2b_base64(body)
        except binascii.Error:
            return b""
    return quopri.decodestring(body) if encoding == "quoted-printable" else body
