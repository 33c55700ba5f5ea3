"""The steps of a target refresh as changes of the record, in every phase, and beside a move."""

from collections.abc import Callable

import pytest

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.sip_edge.record import refreshing
from sipgw.sip_edge.record.reinviting import is_quiet
from sipgw.sip_edge.sip.invite_records import contact_of_peer

SDP = b"v=0\r\no=- 7 3 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 20000 RTP/AVP 0\r\n"
THEIRS = SDP.replace(b"192.0.2.1", b"198.51.100.7")
OLD, NEW = "sip:c@192.0.2.1:5060", "sip:c@192.0.2.2:5060"
NONE, WANTED, OFFERING, ACCEPTED = (calls.RefreshPhase.ValueType(number) for number in range(4))
Step = Callable[[calls.CallSession], bool]


def record(phase: int = NONE) -> calls.CallSession:
    """Make an established call whose caller has OLD, with its refresh brought to `phase` by the steps
    themselves.
    """
    made = calls.CallSession(call_id="0" * 32, state=calls.CALL_STATE_ESTABLISHED, version=5)
    leg = made.legs.add(local_sdp=SDP, remote_sdp=THEIRS, local_sdp_version=3, local_target=OLD)
    leg.invite.ack_seen = True
    for number, name in enumerate(("want", "offer", "accept"), start=1):
        if phase >= number:
            assert STEPS[name](made)
    return made


def want(draft: calls.CallSession, contact: str) -> bool:
    return refreshing.want(draft, known=contact_of_peer(draft.legs[0]), contact=contact)


STEPS: dict[str, Step] = {
    "want": lambda d: want(d, NEW),
    "offer": lambda d: refreshing.offer(d, branch="z9hG4bK-e-1-1", contact=NEW),
    "offer_again": lambda d: refreshing.offer_again(d, d.refresh.cseq, 1),
    "accept": lambda d: refreshing.accept(d, d.refresh.cseq, THEIRS, target="sip:a@192.0.2.9", is_held=False),
    "settle": lambda d: refreshing.settle(d, 9),
    "drop": refreshing.drop,
}
TABLE = {
    ("want", NONE): WANTED,
    ("offer", WANTED): OFFERING,
    ("offer_again", OFFERING): WANTED,
    ("accept", OFFERING): ACCEPTED,
    ("settle", ACCEPTED): NONE,
    ("drop", WANTED): NONE,
    ("drop", OFFERING): NONE,
}


@pytest.mark.parametrize("phase", [NONE, WANTED, OFFERING, ACCEPTED])
@pytest.mark.parametrize("name", list(STEPS))
def test_each_step_leads_from_its_phase_to_the_next_and_from_no_other(name: str, phase: int) -> None:
    draft = record(phase)
    assert STEPS[name](draft) == ((name, phase) in TABLE)
    assert draft.refresh.phase == TABLE.get((name, phase), phase)


@pytest.mark.parametrize("name", list(STEPS))
@pytest.mark.parametrize("phase", [NONE, WANTED, OFFERING, ACCEPTED])
def test_no_step_touches_a_call_that_ends(name: str, phase: int) -> None:
    draft = record(phase)
    draft.state = calls.CALL_STATE_ENDING
    assert not STEPS[name](draft)


def test_the_offer_is_the_description_last_agreed_and_its_version_stays() -> None:
    draft = record(ACCEPTED)
    assert draft.refresh.offer == draft.legs[0].local_sdp == SDP
    assert draft.legs[0].local_sdp_version == 3
    assert not draft.refresh.changes_media
    assert draft.legs[0].local_target == NEW
    assert draft.legs[0].dialog.remote_target == "sip:a@192.0.2.9"


def test_until_the_caller_has_answered_it_has_the_old_contact() -> None:
    draft = record(OFFERING)
    assert contact_of_peer(draft.legs[0]) == OLD
    assert draft.legs[0].offer_pending == calls.OFFER_PENDING_LOCAL
    STEPS["drop"](draft)
    assert draft.legs[0].offer_pending == calls.OFFER_PENDING_UNSPECIFIED
    assert draft.legs[0].dialog.local_cseq == 1, "a CSeq is never used twice"


def test_an_answer_of_another_re_invite_is_none() -> None:
    draft = record(OFFERING)
    assert not refreshing.accept(draft, draft.refresh.cseq + 1, THEIRS, target="", is_held=False)


def test_nothing_is_wanted_where_the_caller_has_the_contact() -> None:
    draft = record()
    assert not want(draft, OLD)
    draft.legs[0].local_target = ""
    assert not want(draft, NEW), "what the caller has is not known"


@pytest.mark.parametrize("phase", [calls.MOVE_PHASE_PLACING, calls.MOVE_PHASE_ALLOCATING])
def test_a_move_that_has_its_relay_goes_first(phase: calls.MovePhase.ValueType) -> None:
    draft = record(WANTED)
    draft.move.phase = phase
    assert STEPS["offer"](draft) == (phase == calls.MOVE_PHASE_PLACING)


@pytest.mark.parametrize("field", ["ack", "offer", "state", "move"])
def test_no_offer_while_another_invite_is_under_way(field: str) -> None:
    draft = record(WANTED)
    if field == "ack":
        draft.legs[0].invite.ack_seen = False
    elif field == "offer":
        draft.legs[0].offer_pending = calls.OFFER_PENDING_REMOTE
    elif field == "move":
        draft.move.phase = calls.MOVE_PHASE_SWITCHING
    else:
        draft.state = calls.CALL_STATE_ANSWERED
    assert not STEPS["offer"](draft)


def test_a_move_waits_for_the_ack_of_a_refresh() -> None:
    assert is_quiet(record(WANTED))
    assert not is_quiet(record(OFFERING))
    assert not is_quiet(record(ACCEPTED))
    draft = record(ACCEPTED)
    STEPS["settle"](draft)
    assert is_quiet(draft)


def test_a_record_of_an_older_release_names_the_contact_in_its_200() -> None:
    leg = record().legs[0]
    leg.local_target = ""
    leg.invite.last_final = (
        b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKa\r\nFrom: <sip:a@x>;tag=1\r\n"
        b"To: <sip:b@y>;tag=2\r\nCall-ID: q\r\nCSeq: 1 INVITE\r\nContact: <sip:c@192.0.2.1:5060>\r\n"
        b"Content-Length: 0\r\n\r\n"
    )
    assert contact_of_peer(leg) == OLD
