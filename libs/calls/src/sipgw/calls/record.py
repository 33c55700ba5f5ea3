"""How Redis holds a call: a fixed header that scripts compare, then the protobuf.

owner epoch (8 hex) | version (16 hex) | token of the save (8 hex) | state (1 digit) | CallSession

Numbers as hex digits compare like text, so (owner epoch, version) is the header's first 24 characters. The
token makes it safe to send a save again when its answer was lost: the script sees that it was done.
"""

import secrets
from typing import Final

from sipgw.api.calls.v1.session_pb2 import CALL_STATE_ENDED, CallSession, CallState, Leg

HEADER_LENGTH: Final = 33

T1_MS: Final = 500
TOMBSTONE_MS: Final = 64 * T1_MS + 8_000
"""How long an ended call still answers retransmissions."""


def encode_record(session: CallSession) -> bytes:
    """Encode a record with a fresh token."""
    return _header(session) + session.SerializeToString()


def decode_record(data: bytes | None) -> CallSession | None:
    """Decode the session of a record; return None for None."""
    if data is None:
        return None
    return CallSession.FromString(data[HEADER_LENGTH:])


def version_text(version: int) -> str:
    """Format a version as the header holds it."""
    return f"{version:016x}"


def state_text(state: CallState.ValueType) -> str:
    """Format a state as the header holds it."""
    return f"{state:d}"


def is_ended(session: CallSession) -> bool:
    """Return whether the record is a tombstone."""
    return session.state == CALL_STATE_ENDED


def transition_of(session: CallSession) -> bytes:
    """Return the stream entry of a save: the session without SDP, SIP bytes and dialog sets.

    A reader takes a higher version as the call's present state, and must not save from it.
    """
    brief = CallSession()
    brief.CopyFrom(session)
    for leg in brief.legs:
        _shorten(leg)
    brief.move.ClearField("offer")
    if not session.HasField("move"):
        brief.ClearField("move")
    return brief.SerializeToString()


def _shorten(leg: Leg) -> None:
    sip_call_id = leg.dialog.sip_call_id
    leg.ClearField("dialog")
    leg.ClearField("invite")
    leg.ClearField("local_sdp")
    leg.ClearField("remote_sdp")
    leg.dialog.sip_call_id = sip_call_id


def _header(session: CallSession) -> bytes:
    token = secrets.token_hex(4)
    return (
        f"{session.owner_epoch:08x}{version_text(session.version)}{token}{state_text(session.state)}".encode()
    )
