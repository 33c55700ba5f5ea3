"""Keys in the body of an INFO: `application/dtmf-relay` and `application/dtmf`, which no RFC defines."""

import re
from dataclasses import dataclass
from typing import Final

from sipgw.sip.message import SipRequest

DTMF_RELAY: Final = "application/dtmf-relay"
DTMF: Final = "application/dtmf"
_SIGNAL = re.compile(r"^[ \t]*+signal[ \t]*+=[ \t]*+(\S++)", re.IGNORECASE | re.MULTILINE)
_DURATION = re.compile(r"^[ \t]*+duration[ \t]*+=[ \t]*+([0-9]{1,5}+)", re.IGNORECASE | re.MULTILINE)
_KEYS: Final = {**{key: key for key in "0123456789*#ABCD"}, "10": "*", "11": "#"} | {
    str(number): key for number, key in enumerate("ABCD", start=12)
}
_USUAL_MS: Final = 100
_LONGEST_MS: Final = 60_000


@dataclass(frozen=True, slots=True)
class PressedKey:
    """A key, 0-9 * # or A-D, and how long it was pressed."""

    key: str
    duration_ms: int


def has_digits(request: SipRequest) -> bool:
    """Tell whether a part of the body is of one of the two types."""
    return any(part.content_type in (DTMF_RELAY, DTMF) for part in request.parts)


def digits_of(request: SipRequest) -> tuple[PressedKey, ...]:
    """Return the keys of an INFO, in order. What is no key (a hook flash) is left out."""
    found: list[PressedKey] = []
    for part in request.parts:
        text = part.body.decode("latin-1").replace("\0", "")
        if part.content_type == DTMF_RELAY:
            signal, duration = _SIGNAL.search(text), _DURATION.search(text)
            duration_ms = min(int(duration[1]), _LONGEST_MS) if duration else _USUAL_MS
            found += _keys_of(signal[1] if signal else "", duration_ms or _USUAL_MS)
        elif part.content_type == DTMF:
            found += _keys_of(text.strip(), _USUAL_MS)
    return tuple(found)


def _keys_of(signal: str, duration_ms: int) -> list[PressedKey]:
    key = _KEYS.get(signal.strip('"').upper())
    return [PressedKey(key, duration_ms)] if key is not None else []
