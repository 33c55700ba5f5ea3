"""The steps of a move as changes of the record, in every phase."""

from collections.abc import Callable

import pytest

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.registry.v1 import registry_pb2 as registry
from sipgw.api.relay.v1 import control_pb2 as relay
from sipgw.sip_edge.media import sdp_exchange
from sipgw.sip_edge.record import moving

SDP = b"v=0\r\no=- 7 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 20000 RTP/AVP 0\r\n"
NONE, PLACING, ALLOCATING, OFFERING, SWITCHING = (calls.MovePhase.ValueType(number) for number in range(5))
PLACEMENT = registry.Placement(
    relay=calls.ProcessIdentity(name="new", incarnation="n"), control_address="192.0.2.2:1"
)
ALLOCATED = relay.Allocated(address="192.0.2.2", rtp_port=30000, rtcp_port=30001)
Step = Callable[[calls.CallSession], bool]


def record(phase: int = NONE, cause: int = calls.MOVE_CAUSE_DRAIN) -> calls.CallSession:
    """Make an established call on relay "old", with its move brought to `phase` by the steps themselves."""
    made = calls.CallSession(call_id="0" * 32, state=calls.CALL_STATE_ESTABLISHED, version=5)
    made.media.relay.CopyFrom(calls.ProcessIdentity(name="old", incarnation="o"))
    made.bot.epoch = 1
    leg = made.legs.add(local_sdp=SDP, remote_sdp=SDP, local_sdp_version=1)
    leg.invite.ack_seen = True
    for number, name in enumerate(("begin", "place", "offer", "accept"), start=1):
        if phase >= number:
            assert STEPS[name](made)
    if phase:
        made.move.cause = calls.MoveCause.ValueType(cause)
    return made


STEPS: dict[str, Step] = {
    "begin": lambda d: moving.begin(d, calls.MOVE_CAUSE_DRAIN, "o", now_ms=1000, limit_ms=500),
    "place": lambda d: moving.place(d, PLACEMENT),
    "offer": lambda d: moving.offer(
        d,
        ALLOCATED,
        branch="z9hG4bK-e-1-1",
        contact="sip:c@192.0.2.3",
        generation=5,
        describe=lambda record, at, version: sdp_exchange.moved(record, at, version).sdp,
    ),
    "offer_again": lambda d: moving.offer_again(d, 1),
    "accept": lambda d: moving.accept(d, d.move.cseq, SDP, contact="sip:a@192.0.2.9", is_held=False),
    "settle": lambda d: moving.settle(d, 9, 7000),
    "withdraw": lambda d: moving.withdraw(d, is_refused=True),
}
TABLE = {
    ("begin", NONE): PLACING,
    ("place", PLACING): ALLOCATING,
    ("offer", ALLOCATING): OFFERING,
    ("offer_again", OFFERING): ALLOCATING,
    ("accept", OFFERING): SWITCHING,
    ("settle", SWITCHING): NONE,
    ("withdraw", PLACING): NONE,
    ("withdraw", ALLOCATING): NONE,
    ("withdraw", OFFERING): NONE,
}


@pytest.mark.parametrize("phase", [NONE, PLACING, ALLOCATING, OFFERING, SWITCHING])
@pytest.mark.parametrize("name", list(STEPS))
def test_each_step_leads_from_its_phase_to_the_next_and_from_no_other(name: str, phase: int) -> None:
    draft = record(phase)
    if name == "begin" and phase == SWITCHING:
        return  # begins anew: below
    assert STEPS[name](draft) == ((name, phase) in TABLE)
    assert draft.move.phase == TABLE.get((name, phase), phase)


@pytest.mark.parametrize("name", list(STEPS))
@pytest.mark.parametrize("phase", [PLACING, ALLOCATING, OFFERING, SWITCHING])
def test_no_step_touches_a_call_that_ends(name: str, phase: int) -> None:
    draft = record(phase)
    draft.state = calls.CALL_STATE_ENDING
    assert not STEPS[name](draft)


def test_until_the_caller_has_answered_the_call_is_on_its_old_relay() -> None:
    draft = record(OFFERING)
    assert draft.media.relay.name == "old"
    assert draft.bot.epoch == 1
    assert draft.legs[0].offer_pending == calls.OFFER_PENDING_LOCAL
    assert b"o=- 7 2 IN IP4 192.0.2.2" in draft.move.offer
    STEPS["accept"](draft)
    assert draft.media.relay.name == "new"
    assert draft.media.rtp_port == 30000
    assert draft.move.left.relay.name == "old"
    assert draft.bot.epoch == 2
    assert draft.legs[0].local_sdp_version == 2
    assert draft.legs[0].offer_pending == calls.OFFER_PENDING_UNSPECIFIED
    assert draft.legs[0].dialog.remote_target == "sip:a@192.0.2.9"


def test_a_withdrawn_move_leaves_the_description_as_it_was_but_not_the_cseq() -> None:
    draft = record(OFFERING)
    STEPS["withdraw"](draft)
    assert draft.legs[0].local_sdp == SDP
    assert draft.legs[0].offer_pending == calls.OFFER_PENDING_UNSPECIFIED
    assert draft.legs[0].dialog.local_cseq == 1
    assert draft.refuses_move


@pytest.mark.parametrize("field", ["ack", "offer", "state"])
def test_no_offer_while_another_invite_is_under_way(field: str) -> None:
    draft = record(ALLOCATING)
    if field == "ack":
        draft.legs[0].invite.ack_seen = False
    elif field == "offer":
        draft.legs[0].offer_pending = calls.OFFER_PENDING_REMOTE
    else:
        draft.state = calls.CALL_STATE_ANSWERED
    assert not STEPS["offer"](draft)


def test_a_drain_that_turns_into_a_death_goes_on_where_it_is() -> None:
    draft = record(OFFERING)
    assert moving.begin(draft, calls.MOVE_CAUSE_RELAY_LOST, "o", now_ms=2000, limit_ms=500)
    assert (draft.move.phase, draft.move.cause) == (OFFERING, calls.MOVE_CAUSE_RELAY_LOST)
    assert draft.move.deadline_ms == 2500
    assert not moving.begin(draft, calls.MOVE_CAUSE_DRAIN, "o", now_ms=3000, limit_ms=500)


def test_a_target_that_dies_at_the_last_moment_is_left_again_and_not_for_the_first_relay() -> None:
    draft = record(SWITCHING)
    assert moving.begin(draft, calls.MOVE_CAUSE_RELAY_LOST, "n", now_ms=2000, limit_ms=500)
    assert draft.move.phase == PLACING
    assert list(draft.move.avoid) == ["o"]
    STEPS["place"](draft)
    assert draft.move.epoch == 3, "the relay that died may have the bot's stream of epoch 2"


def test_who_left_another_relay_is_not_moved() -> None:
    draft = record()
    assert not moving.begin(draft, calls.MOVE_CAUSE_RELAY_LOST, "x", now_ms=1, limit_ms=1)
