import itertools

import pytest

from sipgw.api.calls.v1.session_pb2 import (
    CALL_STATE_ENDED,
    CALL_STATE_UNSPECIFIED,
    CallState,
)
from sipgw.calls import LEGAL_TRANSITIONS, is_legal, states_before

STATES = [state for state in CallState.values() if state != CALL_STATE_UNSPECIFIED]
STEPS = """
INVITED     PLACED ENDING ENDED
PLACED      RINGING ANSWERED ENDING ENDED
RINGING     PLACED ANSWERED ENDING ENDED
ANSWERED    ESTABLISHED ENDING ENDED
ESTABLISHED ENDING ENDED
ENDING      ENDED
ENDED
"""
TABLE = {
    line.split()[0]: set(line.split()) for line in STEPS.strip().splitlines()
}  # keeping the state is legal


@pytest.mark.parametrize(("before", "after"), list(itertools.product(STATES, STATES)))
def test_every_step_is_as_the_table_says(before: CallState.ValueType, after: CallState.ValueType) -> None:
    names = [CallState.Name(state).removeprefix("CALL_STATE_") for state in (before, after)]
    assert is_legal(before, after) == (names[1] in TABLE[names[0]])
    assert (before in states_before(after)) == is_legal(before, after)


def test_every_state_has_a_row_and_reaches_the_end() -> None:
    assert set(LEGAL_TRANSITIONS) == set(STATES)
    for state in STATES:
        assert is_legal(state, CALL_STATE_ENDED)


def test_nothing_follows_from_a_state_of_a_newer_release() -> None:
    assert not is_legal(CALL_STATE_UNSPECIFIED, CALL_STATE_ENDED)
