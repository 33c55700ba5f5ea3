"""Messages to bytes: long header names, one line per item, a correct Content-Length (RFC 3261 §7)."""

from sipgw.sip.errors import UnsafeHeader
from sipgw.sip.message import SipRequest, SipResponse


def serialize(message: SipRequest | SipResponse) -> bytes:
    """Return the octets of `message`, with Content-Length corrected in place or added last.

    Raise UnsafeHeader when a value holds a line break: outside text must never become headers of ours.
    """
    if isinstance(message, SipRequest):
        lines = [f"{message.method} {message.uri} SIP/2.0"]
    else:
        lines = [f"SIP/2.0 {message.status} {message.reason}"]
    body = message.body
    is_length_written = False
    for name, value in message.headers:
        if name == "Content-Length":
            if not is_length_written:
                lines.append(f"Content-Length: {len(body)}")
                is_length_written = True
        else:
            lines.append(f"{name}: {value}")
    if not is_length_written:
        lines.append(f"Content-Length: {len(body)}")
    text = "\r\n".join(lines)
    if text.count("\n") != len(lines) - 1 or text.count("\r") != len(lines) - 1:
        raise UnsafeHeader("a header value holds a line break")
    return text.encode("utf-8", "replace") + b"\r\n\r\n" + body
