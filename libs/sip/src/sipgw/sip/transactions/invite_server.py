"""The INVITE server transaction: RFC 3261 figure 7 as corrected by RFC 6026 figure 5 (Accepted)."""

from typing import Final

from sipgw.sip.timers import Timer
from sipgw.sip.transactions.states import Action, Backoff, Input, State, Table, Transition, make_table

STATES: Final = (State.PROCEEDING, State.COMPLETED, State.CONFIRMED, State.ACCEPTED, State.TERMINATED)
INPUTS: Final = (
    Input.REQUEST,
    Input.ACK,
    Input.PROVISIONAL,
    Input.SUCCESS,
    Input.FAILURE,
    Input.TIMER_TRYING,
    Input.TIMER_G,
    Input.TIMER_H,
    Input.TIMER_I,
    Input.TIMER_L,
    Input.TRANSPORT_ERROR,
)
INITIAL: Final = Transition(State.PROCEEDING, (Action.PASS,), start=(Timer.TRYING,))

_P, _C, _F, _A, _T = STATES

TABLE: Final[Table] = make_table(
    STATES,
    INPUTS,
    {
        (_P, Input.REQUEST): Transition(_P, (Action.REPEAT,)),
        (_P, Input.TIMER_TRYING): Transition(_P, (Action.SEND_TRYING,)),
        (_P, Input.PROVISIONAL): Transition(_P, (Action.SEND,), stop=(Timer.TRYING,)),
        (_P, Input.SUCCESS): Transition(_A, (Action.SEND,), start=(Timer.L,), stop=(Timer.TRYING,)),
        (_P, Input.FAILURE): Transition(_C, (Action.SEND,), start=(Timer.G, Timer.H), stop=(Timer.TRYING,)),
        (_P, Input.TRANSPORT_ERROR): Transition(_T, (Action.REPORT_TRANSPORT_ERROR,)),
        (_C, Input.REQUEST): Transition(_C, (Action.REPEAT,)),
        (_C, Input.TIMER_G): Transition(_C, (Action.REPEAT,), again=(Timer.G, Backoff.DOUBLE_UP_TO_T2)),
        (_C, Input.ACK): Transition(_F, (Action.REPORT_ACK,), start=(Timer.I,), stop=(Timer.G, Timer.H)),
        (_C, Input.TIMER_H): Transition(_T, (Action.REPORT_TIMEOUT,)),
        (_C, Input.TRANSPORT_ERROR): Transition(_T, (Action.REPORT_TRANSPORT_ERROR,)),
        (_F, Input.TIMER_I): Transition(_T),
        (_A, Input.ACK): Transition(_A, (Action.PASS,)),
        (_A, Input.SUCCESS): Transition(_A, (Action.SEND,)),
        (_A, Input.TIMER_L): Transition(_T),
        (_A, Input.TRANSPORT_ERROR): Transition(_A, (Action.REPORT_TRANSPORT_ERROR,)),
    },
)
