"""Bytes to messages (RFC 3261 §7, §25): one datagram is one message.

The parser is strict about what decides the meaning (start line, framing, the headers that identify a
transaction) and liberal about the rest: LF alone ends a line, header text that is not UTF-8 is read as
Latin-1, optional headers are not read, lines that are no header are skipped. The first fault found
is raised with as much of the request as could be read, so that a response can be sent.
"""

import re
from dataclasses import dataclass, replace
from typing import Final

from sipgw.sip.errors import SipParseError
from sipgw.sip.grammar import TOKEN
from sipgw.sip.headers import NAMES, Headers, long_name
from sipgw.sip.message import SipRequest, SipResponse
from sipgw.sip.methods import TARGET_REFRESH
from sipgw.sip.readings import content_length
from sipgw.sip.uri import OtherUri, SipUri, parse_uri

_HEAD_END = re.compile(rb"\r?\n\r?\n")
_FOLD = re.compile(r"\n[ \t]++")
_REQUEST_LIKE = re.compile(r"(\S++)\s(.*)SIP/[0-9]++\.[0-9]++\s*+", re.IGNORECASE)
_STATUS_LINE = re.compile(r"SIP/2\.0 ([1-6][0-9]{2})(?: (.*))?", re.IGNORECASE)
_VERSION = re.compile(r"SIP/[0-9]{1,3}\.[0-9]{1,3}", re.IGNORECASE)
_REPEATED = re.compile(r"(?:via|v|from|f|to|t|call-id|i|cseq)[ \t]*+:", re.IGNORECASE)
_NEEDED: Final = frozenset(
    {
        "authorization", "call-id", "contact", "content-encoding", "content-length", "content-type", "cseq",
        "from", "max-forwards", "proxy-authorization", "record-route", "require", "route", "to", "via",
    }
)  # fmt: skip
"""A line that begins with one of these names and cannot be read is a fault of the message."""
_FIRST_WORD = re.compile(r"[^\s:]*+")
_TOO_LARGE: Final = 513
_SINGLE_VALUED: Final = {
    name.lower(): name
    for name in ("From", "To", "Call-ID", "CSeq", "Content-Length", "Max-Forwards", "Content-Type")
}
_SINGLE_VALUED_OF_RESPONSES: Final = {
    key: name for key, name in _SINGLE_VALUED.items() if key not in {"max-forwards", "content-type"}
}


@dataclass(frozen=True, slots=True)
class ParserLimits:
    """The limits of a message. One beyond them gets 513 with the headers that a response repeats."""

    head_bytes: int = 32_768
    line_characters: int = 8_192
    header_lines: int = 256


DEFAULT_LIMITS: Final = ParserLimits()


def parse_message(data: bytes, limits: ParserLimits = DEFAULT_LIMITS) -> SipRequest | SipResponse:
    """Read one message; octets after Content-Length are dropped (RFC 3261 §18.3).

    Raise SipParseError: 400 for a malformed message, 505 for another SIP version, 513 for one beyond
    `limits`. Its `request` is None when no response is due (to a response, or to data that is no SIP at all).
    """
    text, body, fault = _split_head(data, limits)
    start_line, *lines = text.split("\n")
    is_too_large = fault is not None and fault.status == _TOO_LARGE
    headers, header_fault = _read_headers(lines, limits, is_too_large=is_too_large)
    fault = fault or header_fault
    if start_line[:4].upper() == "SIP/":
        message: SipRequest | SipResponse = _read_status_line(start_line, headers, body)
        if fault is not None:
            raise fault
        return _checked(message)
    try:
        message = _read_request_line(start_line, headers, body)
    except SipParseError as error:
        raise SipParseError(error.status, error.reason, _partial(start_line, headers)) from error
    try:
        if fault is not None:
            raise fault
        return _checked(message)
    except SipParseError as error:
        raise SipParseError(error.status, error.reason, message) from error


def _split_head(data: bytes, limits: ParserLimits) -> tuple[str, bytes, SipParseError | None]:
    r"""Return the unfolded text before the empty line, the bytes after it, and the first fault.

    Lines of the text end in "\n".
    """
    if data[:1] in (b"\r", b"\n"):
        data = data.lstrip(b"\r\n")  # RFC 3261 §7.5
    fault: SipParseError | None = None
    end = data.find(b"\r\n\r\n")
    head, body = data[:end], data[end + 4 :]
    if end < 0 or b"\n\n" in head or b"\n\r\n" in head:
        match = _HEAD_END.search(data)
        if match is None:
            fault = SipParseError(400, "Missing Empty Line")
            head, body = data.rstrip(b"\r\n"), b""
        else:
            head, body = data[: match.start()], data[match.end() :]
    if len(head) > limits.head_bytes:
        fault = SipParseError(_TOO_LARGE, "Message Too Large")
    try:
        text = head.decode()
    except UnicodeDecodeError:
        text = head.decode("latin-1")
    text = text.replace("\r\n", "\n")
    if "\r" in text:
        fault = fault or SipParseError(400, "Stray Carriage Return")
        text = text.replace("\r", " ")
    if "\n " in text or "\n\t" in text:
        text = _FOLD.sub(" ", text)
    return text, body, fault


def _read_headers(
    lines: list[str], limits: ParserLimits, *, is_too_large: bool
) -> tuple[Headers, SipParseError | None]:
    """Return the lines that are headers, and the first fault in those that are not.

    Of a message beyond the limits only the headers that its response repeats are kept, however long and
    wherever they are: the sender recognizes the response by them.
    """
    fault: SipParseError | None = None
    items: list[tuple[str, str]] = []
    if len(lines) > limits.header_lines:
        fault, is_too_large = SipParseError(_TOO_LARGE, "Too Many Header Lines"), True
    line_limit = limits.line_characters
    for line in lines:
        is_kept_only_if_repeated = is_too_large
        if len(line) > line_limit:
            fault = fault or SipParseError(_TOO_LARGE, "Header Line Too Long")
            is_kept_only_if_repeated = True
        if is_kept_only_if_repeated and _REPEATED.match(line) is None:
            continue
        name, colon, value = line.partition(":")
        known = NAMES.get(name)
        if known is None:
            name = name.rstrip(" \t")
            if not colon or not TOKEN.fullmatch(name):
                if _may_be_needed(line):
                    fault = fault or SipParseError(400, "Malformed Header Line")
                continue
            known = long_name(name)
        items.append((known, value.strip(" \t")))
    return Headers.from_lines(items), fault


def _may_be_needed(line: str) -> bool:
    word = _FIRST_WORD.match(line)
    return word is not None and long_name(word[0]).lower() in _NEEDED


def _read_status_line(line: str, headers: Headers, body: bytes) -> SipResponse:
    match = _STATUS_LINE.fullmatch(line)
    if match is None:
        raise SipParseError(400, "Malformed Status Line")
    return SipResponse(int(match[1]), match[2] or "", headers, body)


def _read_request_line(line: str, headers: Headers, body: bytes) -> SipRequest:
    parts = line.split(" ")
    if len(parts) != 3 or not TOKEN.fullmatch(parts[0]):
        raise SipParseError(400, "Malformed Request Line")
    method, uri_text, version = parts
    if version != "SIP/2.0" and version.upper() != "SIP/2.0":
        if _VERSION.fullmatch(version):
            raise SipParseError(505, "Version Not Supported")
        raise SipParseError(400, "Malformed Request Line")
    uri = parse_uri(uri_text)
    if isinstance(uri, SipUri) and uri.headers:
        raise SipParseError(400, "Headers in Request-URI")  # RFC 3261 §19.1.1
    return SipRequest(method, uri, headers, body)


def _partial(start_line: str, headers: Headers) -> SipRequest | None:
    """Return a stand-in for a request whose first line cannot be read; None when that line is not SIP."""
    match = _REQUEST_LIKE.fullmatch(start_line)
    if match is None or not TOKEN.fullmatch(match[1]):
        return None
    return SipRequest(match[1], OtherUri("invalid", match[2].strip()), headers)


def _checked(message: SipRequest | SipResponse) -> SipRequest | SipResponse:
    """Return the message with its body cut to Content-Length, once all that identifies it has been read."""
    headers = message.headers
    singles = _SINGLE_VALUED if isinstance(message, SipRequest) else _SINGLE_VALUED_OF_RESPONSES
    for key in headers.repeated():
        if key in singles:
            raise SipParseError(400, f"Multiple {singles[key]}")
    _ = message.via, message.from_, message.to, message.call_id, message.cseq
    if isinstance(message, SipRequest):
        _check_request(message)
    length = content_length(headers)
    if length is None or length == len(message.body):
        return message
    if length > len(message.body):
        raise SipParseError(400, "Body Shorter Than Content-Length")
    return replace(message, body=message.body[:length])


def _check_request(request: SipRequest) -> None:
    """Check the parts that only a request must have."""
    _ = request.max_forwards
    method = request.cseq.method
    if method != request.method:
        raise SipParseError(400, "CSeq Method Mismatch")
    if method in TARGET_REFRESH:
        _ = request.contacts
        if request.to.tag is None:  # within a dialog the route set stays as it is (RFC 3261 §12.2)
            _ = request.record_routes
