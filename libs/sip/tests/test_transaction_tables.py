"""Each state table against the figure of its RFC, over every pair of state and input.

The figures are written out again here by hand, arrows only: a pair that is not listed must do nothing.
"""

from itertools import product
from types import ModuleType

import pytest

from sipgw.sip.timers import Timer
from sipgw.sip.transactions import invite_client, invite_server, non_invite_client, non_invite_server
from sipgw.sip.transactions.states import Input, State, Transition, make_table

FIGURES = {
    # RFC 3261 figure 7 with RFC 6026 figure 5
    invite_server: """
        PROCEEDING REQUEST         -> PROCEEDING repeat
        PROCEEDING TIMER_TRYING    -> PROCEEDING send_trying
        PROCEEDING PROVISIONAL     -> PROCEEDING send
        PROCEEDING SUCCESS         -> ACCEPTED   send +L
        PROCEEDING FAILURE         -> COMPLETED  send +G +H
        PROCEEDING TRANSPORT_ERROR -> TERMINATED report_transport_error
        COMPLETED  REQUEST         -> COMPLETED  repeat
        COMPLETED  TIMER_G         -> COMPLETED  repeat *G
        COMPLETED  ACK             -> CONFIRMED  report_ack +I
        COMPLETED  TIMER_H         -> TERMINATED report_timeout
        COMPLETED  TRANSPORT_ERROR -> TERMINATED report_transport_error
        CONFIRMED  TIMER_I         -> TERMINATED
        ACCEPTED   ACK             -> ACCEPTED   pass
        ACCEPTED   SUCCESS         -> ACCEPTED   send
        ACCEPTED   TIMER_L         -> TERMINATED
        ACCEPTED   TRANSPORT_ERROR -> ACCEPTED   report_transport_error
    """,
    # RFC 3261 figure 8
    non_invite_server: """
        TRYING     PROVISIONAL     -> PROCEEDING send
        TRYING     SUCCESS         -> COMPLETED  send +J
        TRYING     FAILURE         -> COMPLETED  send +J
        PROCEEDING REQUEST         -> PROCEEDING repeat
        PROCEEDING PROVISIONAL     -> PROCEEDING send
        PROCEEDING SUCCESS         -> COMPLETED  send +J
        PROCEEDING FAILURE         -> COMPLETED  send +J
        PROCEEDING TRANSPORT_ERROR -> TERMINATED report_transport_error
        COMPLETED  REQUEST         -> COMPLETED  repeat
        COMPLETED  TIMER_J         -> TERMINATED
        COMPLETED  TRANSPORT_ERROR -> TERMINATED report_transport_error
    """,
    # RFC 3261 figure 5 with RFC 6026 figure 4
    invite_client: """
        CALLING    TIMER_A         -> CALLING    repeat *A
        CALLING    TIMER_B         -> TERMINATED report_timeout
        CALLING    PROVISIONAL     -> PROCEEDING pass
        CALLING    SUCCESS         -> ACCEPTED   pass +M
        CALLING    FAILURE         -> COMPLETED  send_ack pass +D
        CALLING    TRANSPORT_ERROR -> TERMINATED report_transport_error
        PROCEEDING PROVISIONAL     -> PROCEEDING pass
        PROCEEDING SUCCESS         -> ACCEPTED   pass +M
        PROCEEDING FAILURE         -> COMPLETED  send_ack pass +D
        PROCEEDING TRANSPORT_ERROR -> TERMINATED report_transport_error
        COMPLETED  FAILURE         -> COMPLETED  send_ack
        COMPLETED  TIMER_D         -> TERMINATED
        COMPLETED  TRANSPORT_ERROR -> TERMINATED report_transport_error
        ACCEPTED   SUCCESS         -> ACCEPTED   pass
        ACCEPTED   TIMER_M         -> TERMINATED
    """,
    # RFC 3261 figure 6
    non_invite_client: """
        TRYING     TIMER_E         -> TRYING     repeat *E
        TRYING     TIMER_F         -> TERMINATED report_timeout
        TRYING     PROVISIONAL     -> PROCEEDING pass
        TRYING     SUCCESS         -> COMPLETED  pass +K
        TRYING     FAILURE         -> COMPLETED  pass +K
        TRYING     TRANSPORT_ERROR -> TERMINATED report_transport_error
        PROCEEDING TIMER_E         -> PROCEEDING repeat *E
        PROCEEDING TIMER_F         -> TERMINATED report_timeout
        PROCEEDING PROVISIONAL     -> PROCEEDING pass
        PROCEEDING SUCCESS         -> COMPLETED  pass +K
        PROCEEDING FAILURE         -> COMPLETED  pass +K
        PROCEEDING TRANSPORT_ERROR -> TERMINATED report_transport_error
        COMPLETED  TIMER_K         -> TERMINATED
    """,
}


def drawn(figure: str) -> dict[tuple[str, str], str]:
    arrows: dict[tuple[str, str], str] = {}
    for line in figure.strip().splitlines():
        pair, effect = line.split("->")
        state, given = pair.split()
        arrows[state, given] = " ".join(effect.split())
    return arrows


def described(transition: Transition) -> str:
    words = [transition.state.name, *(action.name.lower() for action in transition.actions)]
    words += [f"+{timer.name}" for timer in transition.start]
    words += [f"*{transition.again[0].name}"] if transition.again else []
    return " ".join(words)


PAIRS = [
    pytest.param(machine, state, given, id=f"{machine.__name__.rpartition('.')[2]}-{state.name}-{given.name}")
    for machine in FIGURES
    for state, given in product(machine.STATES, machine.INPUTS)
]


@pytest.mark.parametrize(("machine", "state", "given"), PAIRS)
def test_every_pair_does_what_the_figure_draws(machine: ModuleType, state: State, given: Input) -> None:
    expected = drawn(FIGURES[machine]).get((state.name, given.name), state.name)
    assert described(machine.TABLE[state, given]) == expected


@pytest.mark.parametrize("machine", FIGURES, ids=lambda machine: machine.__name__.rpartition(".")[2])
def test_a_timer_that_is_left_behind_is_stopped(machine: ModuleType) -> None:
    """Following every path: no timer runs into a state that has no arrow for it."""
    seen: set[tuple[State, frozenset[Timer]]] = set()
    todo = [(machine.INITIAL.state, frozenset(machine.INITIAL.start))]
    while todo:
        state, running = todo.pop()
        if (state, running) in seen or state is State.TERMINATED:
            continue
        seen.add((state, running))
        for timer in running:
            moved = machine.TABLE[state, Input[f"TIMER_{timer.name}"]]
            assert moved != Transition(state), f"timer {timer.name} has no arrow in {state.name}"
        for given in machine.INPUTS:
            fired = Timer[given.name.removeprefix("TIMER_")] if given.name.startswith("TIMER_") else None
            if fired is not None and fired not in running:
                continue
            step = machine.TABLE[state, given]
            left = running - {fired} - set(step.stop) | set(step.start)
            todo.append((step.state, frozenset(left | {step.again[0]} if step.again else left)))


@pytest.mark.parametrize("machine", FIGURES, ids=lambda machine: machine.__name__.rpartition(".")[2])
def test_a_table_cannot_be_changed(machine: ModuleType) -> None:
    with pytest.raises(TypeError):
        machine.TABLE[State.TERMINATED, Input.ACK] = Transition(State.CALLING)


def test_a_transition_of_a_foreign_state_is_refused() -> None:
    with pytest.raises(ValueError, match="does not have"):
        make_table([State.CALLING], [Input.ACK], {(State.TRYING, Input.ACK): Transition(State.CALLING)})
