"""Every change of a call's record, against every state of a call and every phase of its move and refresh."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.registry.v1 import registry_pb2 as registry
from sipgw.api.relay.v1 import control_pb2 as relay
from sipgw.calls import LEGAL_TRANSITIONS, is_legal
from sipgw.sip_edge import record
from sipgw.sip_edge.record import bots, ending, moving, offering, refreshing, sequencing, setting_up
from sipgw.sip_edge.record.offering import Answer, Settled
from sipgw.sip_edge.record.states import ANSWERED, HAS_SESSION, OVER, UNANSWERED

Change = Callable[[calls.CallSession], bool]
Given = Callable[[calls.CallSession], None]
States = frozenset[calls.CallState.ValueType]
Phases = Mapping[int, int]

STATES: Final[States] = frozenset(LEGAL_TRANSITIONS)
PLACED, RINGING = frozenset({calls.CALL_STATE_PLACED}), frozenset({calls.CALL_STATE_RINGING})
JUST_ANSWERED: Final[States] = frozenset({calls.CALL_STATE_ANSWERED})
ESTABLISHED: Final[States] = frozenset({calls.CALL_STATE_ESTABLISHED})
NOWHERE: Final[States] = frozenset()

NO_MOVE, PLACING, ALLOCATING, OFFERING, SWITCHING = MOVES = calls.MovePhase.values()
NO_REFRESH, WANTED, REFRESHING, ACCEPTED = REFRESHES = calls.RefreshPhase.values()
FIRST, SECOND = "first", "second"
ANCHORS: Final = {
    name: calls.MediaAnchor(relay=calls.ProcessIdentity(name=name, incarnation=name), rtp_port=port)
    for name, port in ((FIRST, 20000), (SECOND, 30000))
}
THEIR_CSEQ: Final = 10
MOVE_CSEQ, REFRESH_CSEQ = 3, 4
THEIR_CONTACT: Final = "sip:a@192.0.2.3"
OUR_CONTACT, NEW_CONTACT = "sip:c@192.0.2.1", "sip:c@192.0.2.2"
BOT: Final = "bot:1"


def made(state: int, move: int = NO_MOVE, refresh: int = NO_REFRESH) -> calls.CallSession:
    """A call in `state`, which it may have reached with a move and a target refresh in these phases."""
    record = calls.CallSession(call_id="0" * 32, version=5, state=calls.CallState.ValueType(state))
    record.bot.endpoint, record.bot.epoch = BOT, 1
    record.deadline_ms = 500
    leg = record.legs.add(local_sdp=b"ours", remote_sdp=b"theirs", local_sdp_version=1)
    leg.local_target, leg.dialog.remote_target = OUR_CONTACT, THEIR_CONTACT
    leg.dialog.local_cseq, leg.dialog.remote_cseq = REFRESH_CSEQ, THEIR_CSEQ
    leg.invite.cseq, leg.invite.branch = THEIR_CSEQ, "z9hG4bKa"
    if state != calls.CALL_STATE_INVITED:
        record.media.CopyFrom(ANCHORS[FIRST])
    if state not in UNANSWERED:
        record.answered_ms = 400
        leg.invite.ack_seen = state != calls.CALL_STATE_ANSWERED
    if move != NO_MOVE:
        record.move.phase, record.move.cause = calls.MovePhase.ValueType(move), calls.MOVE_CAUSE_DRAIN
        record.move.cseq = MOVE_CSEQ
        if move != PLACING:
            record.move.target.CopyFrom(ANCHORS[SECOND])
            record.move.epoch = 2
        if move == SWITCHING:
            record.media.CopyFrom(ANCHORS[SECOND])
            record.move.left.CopyFrom(ANCHORS[FIRST])
    if refresh != NO_REFRESH:
        record.refresh.phase, record.refresh.cseq = calls.RefreshPhase.ValueType(refresh), REFRESH_CSEQ
    if move == OFFERING or refresh == REFRESHING:
        leg.offer_pending = calls.OFFER_PENDING_LOCAL
    return record


def every_draft() -> Iterator[calls.CallSession]:
    return (made(*each) for each in product(sorted(STATES), MOVES, REFRESHES))


def staying_in(phases: Iterable[int]) -> Phases:
    return {phase: phase for phase in phases}


@dataclass(frozen=True)
class Row:
    """The states in which a change applies, and its result.

    `to`: the next state, None for the same one. `move`, `refresh`: for each phase in which it applies, the
    next phase. `given`: further facts of the draft.
    """

    change: Change
    states: States
    to: calls.CallState.ValueType | None = None
    move: Phases = field(default_factory=lambda: staying_in(MOVES))
    refresh: Phases = field(default_factory=lambda: staying_in(REFRESHES))
    given: Given = lambda draft: None

    def applies_to(self, draft: calls.CallSession) -> bool:
        return (
            draft.state in self.states
            and draft.move.phase in self.move
            and draft.refresh.phase in self.refresh
        )


PLACEMENT: Final = registry.Placement(relay=ANCHORS[SECOND].relay, control_address="192.0.2.2:1")
ALLOCATED: Final = relay.Allocated(address="192.0.2.2", rtp_port=30000, rtcp_port=30001)
READY: Final = relay.BotReady(address="192.0.2.7:9", can_resume=True)
DECISION: Final = ending.Decision(calls.END_CAUSE_BOT_HANGUP, "done", 486, lambda record: b"SIP/2.0 486")
HANGUP: Final = replace(DECISION, cause=calls.END_CAUSE_CALLER_HANGUP)
SETTLED: Final = Settled(
    remote_sdp=b"new",
    local_sdp=b"answer",
    is_changed=True,
    has_offer=False,
    is_held=True,
    remote_target="sip:a@192.0.2.9",
    local_target=NEW_CONTACT,
    final=b"SIP/2.0 200",
    generation=5,
)
INVITE: Final = calls.InviteState(cseq=THEIR_CSEQ + 1, branch="z9hG4bKb")
COPY: Final = calls.InviteState(cseq=THEIR_CSEQ, branch="z9hG4bKa")


def no_ack(draft: calls.CallSession) -> None:
    draft.legs[0].invite.ack_seen = False


OFFER: Final = calls.PendingOffer(request=b"INVITE")


def their_offer(draft: calls.CallSession) -> None:
    draft.legs[0].offer_pending = calls.OFFER_PENDING_REMOTE
    draft.legs[0].pending_offer.CopyFrom(OFFER)


def bot_known(draft: calls.CallSession) -> None:
    bots.note_ready(draft, READY)


def begin_move(cause: calls.MoveCause.ValueType, left: str | None = None) -> Change:
    return lambda d: moving.begin(d, cause, left or d.media.relay.incarnation, now_ms=1000, limit_ms=500)


ring = partial(
    setting_up.ring, anchor=ANCHORS[FIRST], local_sdp=b"sdp", provisional=b"SIP/2.0 180", deadline_ms=9
)
answer = partial(
    setting_up.answer, ready=READY, final=b"SIP/2.0 200", local_target=NEW_CONTACT, now_ms=8, deadline_ms=9
)
fall_back = partial(bots.fall_back, chosen="bot:2", ringing_until_ms=9)
move_offer = partial(
    moving.offer,
    allocated=ALLOCATED,
    branch="z9hG4bKc",
    contact=NEW_CONTACT,
    generation=5,
    describe=lambda record, anchor, version: b"offer",
)
move_accept = partial(moving.accept, answer=b"answer", contact="sip:a@192.0.2.9", is_held=False)
refresh_accept = partial(refreshing.accept, answer=b"answer", target="sip:a@192.0.2.9", is_held=False)
ACK: Final = Answer(b"answer", is_held=False)
acknowledge = partial(offering.acknowledge, answer=ACK, longest_ms=60_000)
NOT_OVER: Final = STATES - OVER
NOT_ENDED: Final = STATES - {calls.CALL_STATE_ENDED}
TO_ENDING, TO_ENDED = calls.CALL_STATE_ENDING, calls.CALL_STATE_ENDED
IDLE_MOVES: Final = staying_in({*MOVES} - {OFFERING})
IDLE_REFRESHES: Final = staying_in({*REFRESHES} - {REFRESHING})
"""No offer of ours is pending."""

TABLE: Final[dict[str, Row]] = {
    "setting_up.place": Row(lambda d: setting_up.place(d, PLACEMENT), UNANSWERED, calls.CALL_STATE_PLACED),
    "setting_up.ring": Row(ring, PLACED, calls.CALL_STATE_RINGING),
    "setting_up.answer": Row(answer, RINGING, calls.CALL_STATE_ANSWERED),
    "bots.note_ready": Row(lambda d: bots.note_ready(d, READY), STATES),
    "bots.note_ready known before": Row(lambda d: bots.note_ready(d, READY), NOWHERE, given=bot_known),
    "bots.fall_back": Row(partial(fall_back, failed=BOT), HAS_SESSION),
    "bots.fall_back from another bot": Row(partial(fall_back, failed="bot:0"), NOWHERE),
    "offering.begin a re-INVITE": Row(
        lambda d: offering.begin(d, INVITE.cseq, INVITE, OFFER),
        ANSWERED,
        move=IDLE_MOVES,
        refresh=IDLE_REFRESHES,
    ),
    "offering.begin an UPDATE": Row(
        lambda d: offering.begin(d, THEIR_CSEQ + 1, None, OFFER),
        ANSWERED,
        move=IDLE_MOVES,
        refresh=IDLE_REFRESHES,
    ),
    "offering.begin an UPDATE again": Row(
        lambda d: offering.begin(d, THEIR_CSEQ, None, OFFER),
        ANSWERED,
        move=IDLE_MOVES,
        refresh=IDLE_REFRESHES,
    ),
    "offering.begin a pending UPDATE again": Row(
        lambda d: offering.begin(d, THEIR_CSEQ, None, OFFER), NOWHERE, given=their_offer
    ),
    "offering.begin with a CSeq served before": Row(
        lambda d: offering.begin(d, THEIR_CSEQ - 1, None, OFFER), NOWHERE
    ),
    "offering.begin another INVITE with the last CSeq": Row(
        lambda d: offering.begin(d, THEIR_CSEQ, calls.InviteState(cseq=THEIR_CSEQ, branch="z9hG4bKx"), OFFER),
        NOWHERE,
    ),
    "offering.begin a copy": Row(lambda d: offering.begin(d, COPY.cseq, COPY, OFFER), NOWHERE),
    "offering.begin beside another": Row(
        lambda d: offering.begin(d, INVITE.cseq, INVITE, OFFER), NOWHERE, given=their_offer
    ),
    "offering.settle": Row(lambda d: offering.settle(d, SETTLED), ANSWERED, given=their_offer),
    "offering.settle with our offer": Row(
        lambda d: offering.settle(d, replace(SETTLED, is_changed=False, has_offer=True)),
        ANSWERED,
        given=their_offer,
    ),
    "offering.settle an UPDATE without an offer": Row(
        lambda d: offering.settle(d, replace(SETTLED, is_changed=False, remote_sdp=b"", final=b"")), ANSWERED
    ),
    "offering.settle what another edge settled": Row(lambda d: offering.settle(d, SETTLED), NOWHERE),
    "offering.withdraw": Row(offering.withdraw, ANSWERED, given=their_offer),
    "offering.withdraw what another edge settled": Row(offering.withdraw, NOWHERE),
    "offering.acknowledge the answer": Row(
        partial(acknowledge, cseq=THEIR_CSEQ), JUST_ANSWERED, calls.CALL_STATE_ESTABLISHED
    ),
    "offering.acknowledge a re-INVITE": Row(
        partial(acknowledge, cseq=THEIR_CSEQ), ANSWERED, calls.CALL_STATE_ESTABLISHED, given=no_ack
    ),
    "offering.acknowledge another INVITE": Row(
        partial(acknowledge, cseq=THEIR_CSEQ - 1), NOWHERE, given=no_ack
    ),
    "sequencing.note_request": Row(lambda d: sequencing.note_request(d, THEIR_CSEQ + 1), STATES),
    "sequencing.note_request again": Row(lambda d: sequencing.note_request(d, THEIR_CSEQ), NOWHERE),
    "sequencing.note_silent_target": Row(lambda d: sequencing.note_silent_target(d, THEIR_CONTACT), ANSWERED),
    "sequencing.note_silent_target another": Row(
        lambda d: sequencing.note_silent_target(d, "sip:other@192.0.2.9"), NOWHERE
    ),
    "sequencing.number_request": Row(sequencing.number_request, ANSWERED),
    "ending.end": Row(lambda d: ending.end(d, DECISION), NOT_OVER, TO_ENDING),
    "ending.cancel": Row(lambda d: ending.cancel(d, HANGUP), UNANSWERED, TO_ENDING),
    "ending.hang_up": Row(lambda d: ending.hang_up(d, HANGUP, THEIR_CSEQ + 1), NOT_OVER, TO_ENDING),
    "ending.hang_up out of order": Row(lambda d: ending.hang_up(d, HANGUP, THEIR_CSEQ - 1), NOWHERE),
    "ending.bury": Row(ending.bury, NOT_ENDED, TO_ENDED),
    "ending.copy_end": Row(lambda d: ending.copy_end(d, made(calls.CALL_STATE_ENDED)), NOT_ENDED, TO_ENDED),
    "moving.begin a drain": Row(
        begin_move(calls.MOVE_CAUSE_DRAIN), ANSWERED, move={NO_MOVE: PLACING, SWITCHING: PLACING}
    ),
    "moving.begin from a lost relay": Row(
        begin_move(calls.MOVE_CAUSE_RELAY_LOST),
        ANSWERED,
        move={**staying_in(MOVES), NO_MOVE: PLACING, SWITCHING: PLACING},
    ),
    "moving.begin from another relay": Row(begin_move(calls.MOVE_CAUSE_RELAY_LOST, "third"), NOWHERE),
    "moving.place": Row(lambda d: moving.place(d, PLACEMENT), ANSWERED, move={PLACING: ALLOCATING}),
    "moving.place_elsewhere": Row(
        lambda d: moving.place_elsewhere(d, calls.MOVE_PHASE_ALLOCATING, SECOND),
        ANSWERED,
        move={ALLOCATING: PLACING},
    ),
    "moving.offer": Row(
        move_offer,
        ESTABLISHED,
        move={ALLOCATING: OFFERING},
        refresh=staying_in({NO_REFRESH, WANTED}),
    ),
    "moving.offer before the ACK of theirs": Row(move_offer, NOWHERE, given=no_ack),
    "moving.offer beside theirs": Row(move_offer, NOWHERE, given=their_offer),
    "moving.offer_again": Row(lambda d: moving.offer_again(d, 1), ANSWERED, move={OFFERING: ALLOCATING}),
    "moving.accept": Row(partial(move_accept, cseq=MOVE_CSEQ), ANSWERED, move={OFFERING: SWITCHING}),
    "moving.accept of another re-INVITE": Row(partial(move_accept, cseq=MOVE_CSEQ + 1), NOWHERE),
    "moving.settle": Row(lambda d: moving.settle(d, 9, 7000), ANSWERED, move={SWITCHING: NO_MOVE}),
    "moving.withdraw": Row(
        lambda d: moving.withdraw(d, is_refused=True),
        ANSWERED,
        move=dict.fromkeys((PLACING, ALLOCATING, OFFERING), NO_MOVE),
    ),
    "refreshing.want": Row(
        lambda d: refreshing.want(d, known=OUR_CONTACT, contact=NEW_CONTACT),
        ANSWERED,
        refresh={NO_REFRESH: WANTED},
    ),
    "refreshing.want what is known": Row(
        lambda d: refreshing.want(d, known=OUR_CONTACT, contact=OUR_CONTACT), NOWHERE
    ),
    "refreshing.want where nothing is known": Row(
        lambda d: refreshing.want(d, known="", contact=NEW_CONTACT), NOWHERE
    ),
    "refreshing.offer": Row(
        lambda d: refreshing.offer(d, branch="z9hG4bKd", contact=NEW_CONTACT),
        ESTABLISHED,
        move=staying_in({NO_MOVE, PLACING}),
        refresh={WANTED: REFRESHING},
    ),
    "refreshing.offer beside theirs": Row(
        lambda d: refreshing.offer(d, branch="z9hG4bKd", contact=NEW_CONTACT), NOWHERE, given=their_offer
    ),
    "refreshing.offer_again": Row(
        lambda d: refreshing.offer_again(d, REFRESH_CSEQ, 1),
        ANSWERED,
        refresh={REFRESHING: WANTED},
    ),
    "refreshing.offer_again another": Row(lambda d: refreshing.offer_again(d, REFRESH_CSEQ + 1, 1), NOWHERE),
    "refreshing.accept": Row(
        partial(refresh_accept, cseq=REFRESH_CSEQ),
        ANSWERED,
        refresh={REFRESHING: ACCEPTED},
    ),
    "refreshing.accept of another re-INVITE": Row(partial(refresh_accept, cseq=REFRESH_CSEQ + 1), NOWHERE),
    "refreshing.settle": Row(lambda d: refreshing.settle(d, 9), ANSWERED, refresh={ACCEPTED: NO_REFRESH}),
    "refreshing.drop": Row(refreshing.drop, ANSWERED, refresh={WANTED: NO_REFRESH, REFRESHING: NO_REFRESH}),
}


def transitions() -> set[str]:
    """The functions in the record's modules that take a draft."""
    found: set[str] = set()
    for one in pkgutil.iter_modules(record.__path__):
        module = importlib.import_module(f"{record.__name__}.{one.name}")
        own = inspect.getmembers(
            module, lambda it, of=module: inspect.isfunction(it) and it.__module__ == of.__name__
        )
        found |= {
            f"{one.name}.{name}" for name, it in own if [*inspect.signature(it).parameters][:1] == ["draft"]
        }
    return found


def test_the_table_names_every_transition() -> None:
    assert {name.partition(" ")[0] for name in TABLE} == transitions()


@pytest.mark.parametrize("name", TABLE)
def test_a_transition_applies_where_the_table_says_and_elsewhere_changes_nothing(name: str) -> None:
    row = TABLE[name]
    for draft in every_draft():
        row.given(draft)
        before = copy_of(draft)
        where = (calls.CallState.Name(draft.state), draft.move.phase, draft.refresh.phase)
        assert row.change(draft) is row.applies_to(before), where
        assert (bytes_of(draft) != bytes_of(before)) is row.applies_to(before), where
        if row.applies_to(before):
            assert draft.state == (row.to if row.to is not None else before.state), where
            assert is_legal(before.state, draft.state), where
            assert draft.move.phase == row.move[before.move.phase], where
            assert draft.refresh.phase == row.refresh[before.refresh.phase], where


@given(
    st.sampled_from([one for one in every_draft() if one.state in ANSWERED or not one.HasField("move")]),
    st.lists(st.sampled_from(list(TABLE.values())), max_size=30),
)
def test_no_sequence_of_transitions_undoes_what_is_final(start: calls.CallSession, rows: list[Row]) -> None:
    draft = copy_of(start)
    for row in rows:
        before = copy_of(draft)
        row.change(draft)
        old, new = before.legs[0].dialog, draft.legs[0].dialog
        assert is_legal(before.state, draft.state)
        assert new.local_cseq >= old.local_cseq, "a CSeq is never used twice"
        assert new.remote_cseq >= old.remote_cseq
        assert draft.bot.epoch >= before.bot.epoch
        assert before.answered_ms in {0, draft.answered_ms}
        if before.state in OVER:
            relays = (draft.media.relay, draft.move.target.relay)
            assert relays == (before.media.relay, before.move.target.relay), (
                "a call that is over gets no relay"
            )
        if before.state == calls.CALL_STATE_ENDED:
            assert draft.end_cause == before.end_cause


def copy_of(record: calls.CallSession) -> calls.CallSession:
    copy = calls.CallSession()
    copy.CopyFrom(record)
    return copy


def bytes_of(record: calls.CallSession) -> bytes:
    return record.SerializeToString(deterministic=True)
