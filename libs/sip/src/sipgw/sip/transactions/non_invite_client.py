"""The non-INVITE client transaction: RFC 3261 figure 6."""

from typing import Final

from sipgw.sip.timers import Timer
from sipgw.sip.transactions.states import Action, Backoff, Input, State, Table, Transition, make_table

STATES: Final = (State.TRYING, State.PROCEEDING, State.COMPLETED, State.TERMINATED)
INPUTS: Final = (
    Input.PROVISIONAL,
    Input.SUCCESS,
    Input.FAILURE,
    Input.TIMER_E,
    Input.TIMER_F,
    Input.TIMER_K,
    Input.TRANSPORT_ERROR,
)
INITIAL: Final = Transition(State.TRYING, (Action.SEND,), start=(Timer.E, Timer.F))

_Y, _P, _C, _T = STATES
_FINAL = Transition(_C, (Action.PASS,), start=(Timer.K,), stop=(Timer.E, Timer.F))
_TIMED_OUT = Transition(_T, (Action.REPORT_TIMEOUT,))
_BROKEN = Transition(_T, (Action.REPORT_TRANSPORT_ERROR,))

TABLE: Final[Table] = make_table(
    STATES,
    INPUTS,
    {
        (_Y, Input.TIMER_E): Transition(_Y, (Action.REPEAT,), again=(Timer.E, Backoff.DOUBLE_UP_TO_T2)),
        (_Y, Input.TIMER_F): _TIMED_OUT,
        (_Y, Input.PROVISIONAL): Transition(_P, (Action.PASS,)),
        (_Y, Input.SUCCESS): _FINAL,
        (_Y, Input.FAILURE): _FINAL,
        (_Y, Input.TRANSPORT_ERROR): _BROKEN,
        (_P, Input.TIMER_E): Transition(_P, (Action.REPEAT,), again=(Timer.E, Backoff.T2)),
        (_P, Input.TIMER_F): _TIMED_OUT,
        (_P, Input.PROVISIONAL): Transition(_P, (Action.PASS,)),
        (_P, Input.SUCCESS): _FINAL,
        (_P, Input.FAILURE): _FINAL,
        (_P, Input.TRANSPORT_ERROR): _BROKEN,
        (_C, Input.TIMER_K): Transition(_T),
    },
)
