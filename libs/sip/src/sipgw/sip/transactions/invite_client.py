"""The INVITE client transaction: RFC 3261 figure 5 as corrected by RFC 6026 figure 4 (Accepted, timer M)."""

from typing import Final

from sipgw.sip.timers import Timer
from sipgw.sip.transactions.states import Action, Backoff, Input, State, Table, Transition, make_table

STATES: Final = (State.CALLING, State.PROCEEDING, State.COMPLETED, State.ACCEPTED, State.TERMINATED)
INPUTS: Final = (
    Input.PROVISIONAL,
    Input.SUCCESS,
    Input.FAILURE,
    Input.TIMER_A,
    Input.TIMER_B,
    Input.TIMER_D,
    Input.TIMER_M,
    Input.TRANSPORT_ERROR,
)
INITIAL: Final = Transition(State.CALLING, (Action.SEND,), start=(Timer.A, Timer.B))

_Y, _P, _C, _A, _T = STATES
_FAILED = Transition(_C, (Action.SEND_ACK, Action.PASS), start=(Timer.D,), stop=(Timer.A, Timer.B))
_ACCEPTED = Transition(_A, (Action.PASS,), start=(Timer.M,), stop=(Timer.A, Timer.B))
_BROKEN = Transition(_T, (Action.REPORT_TRANSPORT_ERROR,))

TABLE: Final[Table] = make_table(
    STATES,
    INPUTS,
    {
        (_Y, Input.TIMER_A): Transition(_Y, (Action.REPEAT,), again=(Timer.A, Backoff.DOUBLE)),
        (_Y, Input.TIMER_B): Transition(_T, (Action.REPORT_TIMEOUT,)),
        (_Y, Input.PROVISIONAL): Transition(_P, (Action.PASS,), stop=(Timer.A, Timer.B)),
        (_Y, Input.SUCCESS): _ACCEPTED,
        (_Y, Input.FAILURE): _FAILED,
        (_Y, Input.TRANSPORT_ERROR): _BROKEN,
        (_P, Input.PROVISIONAL): Transition(_P, (Action.PASS,)),
        (_P, Input.SUCCESS): _ACCEPTED,
        (_P, Input.FAILURE): _FAILED,
        (_P, Input.TRANSPORT_ERROR): _BROKEN,
        (_C, Input.FAILURE): Transition(_C, (Action.SEND_ACK,)),
        (_C, Input.TIMER_D): Transition(_T),
        (_C, Input.TRANSPORT_ERROR): _BROKEN,
        (_A, Input.SUCCESS): Transition(_A, (Action.PASS,)),
        (_A, Input.TIMER_M): Transition(_T),
    },
)
